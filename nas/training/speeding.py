"""Layer 3: what a recipe asks for so that a step takes less time: compiled code, and channels last in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from nas.recipe import Recipe

MOST_PROGRAMS = 8
"""Torch compiles a function for so many networks, and leaves it uncompiled for the next one."""

MOST_RECORDED = 64
"""For so many networks the passes of a step are recorded as CUDA graphs; then all are let go. Each takes memory, and from 128 on
some versions of torch record no more of them."""

_built: set[str] = set()
_recorded: list[str] = []


def lay_out(network: nn.Module, recipe: Recipe, sample: Callable[[], Tensor]) -> Callable[[Tensor], Tensor]:
    """Lay a network's weights as the recipe says, in place, and return what lays pictures (B, C, H, W) so.

    `sample` gives a few inputs on the network's device. On a CPU a network with a convolution that oneDNN gets wrong stays as it is.
    """
    if recipe.memory_format == "contiguous" or _is_unsafe(network, sample()):
        return lambda inputs: inputs
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own stubs leave it out
    return lambda inputs: inputs.contiguous(memory_format=torch.channels_last) if inputs.dim() == 4 else inputs


class _Convolutions(TorchFunctionMode):
    """Notes whether a strided 1×1 convolution is computed, as a module or as a function.

    With the channels last and few of them oneDNN writes beyond the ends of its memory in the gradient of such a one
    (https://github.com/uxlfoundation/oneDNN/issues/6035), seen with torch 2.13.
    """

    found: bool = False

    def __torch_function__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None) -> Any:
        if func is torch.conv2d:
            given = dict(zip(("input", "weight", "bias", "stride"), args, strict=False)) | (kwargs or {})
            stride = given.get("stride", 1)
            is_pointwise: bool = given["weight"].shape[2:] == (1, 1)
            self.found = self.found or (is_pointwise and stride not in (1, (1,), (1, 1)))
        return func(*args, **(kwargs or {}))


def _is_unsafe(network: nn.Module, sample: Tensor) -> bool:
    if sample.device.type != "cpu":
        return False
    was_training = network.training
    with torch.no_grad(), torch.random.fork_rng(devices=[]), (seen := _Convolutions()):
        network.eval()(sample)
    network.train(was_training)
    return seen.found


def compiled(network: nn.Module, recipe: Recipe) -> Callable[[Tensor], Tensor]:
    """Return what computes the network's outputs in a training step: the network itself, or a program that torch compiled of it.

    That is of one batch's shape; a shorter last batch goes through the network itself. Networks built alike share a program.
    """
    if recipe.compile == "none":
        return network
    built = repr(network)
    if (built not in _built and len(_built) == MOST_PROGRAMS) or len(_recorded) == MOST_RECORDED:
        torch.compiler.reset()
        _built.clear()
        _recorded.clear()
    _built.add(built)
    if recipe.compile == "reduce-overhead":
        _recorded.append(built)
    program: Callable[[Tensor], Tensor] = torch.compile(network, dynamic=False, mode=recipe.compile)
    alone: Callable[[Tensor], Tensor] = network
    shape: list[torch.Size] = []

    def step(inputs: Tensor) -> Tensor:
        if not shape:
            shape.append(inputs.shape)
        if inputs.shape != shape[0]:
            return alone(inputs)
        torch.compiler.cudagraph_mark_step_begin()
        return program(inputs)

    return step
