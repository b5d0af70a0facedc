"""Layer 3: what a recipe asks for so that a step takes less time: compiled code, and channels last in memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nas.recipe import Recipe

MOST_PROGRAMS = 8
"""Torch compiles a function for so many networks, and leaves it uncompiled for the next one."""

_built: set[str] = set()


def lay_out(network: nn.Module, recipe: Recipe, device: torch.device) -> Callable[[Tensor], Tensor]:
    """Lay a network's weights as the recipe says, in place, and return what lays pictures (B, C, H, W) so.

    On a CPU all stays as it is: there torch 2.13 corrupts memory where pictures have four channels, channels last.
    """
    if recipe.memory_format == "contiguous" or device.type == "cpu":
        return lambda inputs: inputs
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own stubs leave it out
    return lambda inputs: inputs.contiguous(memory_format=torch.channels_last) if inputs.dim() == 4 else inputs


def compiled(network: nn.Module, recipe: Recipe) -> Callable[[Tensor], Tensor]:
    """Return what computes the network's outputs in a training step: the network itself, or a program that torch compiled of it.

    That is of one batch's shape; a shorter last batch goes through the network itself. Networks built alike share a program.
    """
    if recipe.compile == "none":
        return network
    built = repr(network)
    if built not in _built and len(_built) == MOST_PROGRAMS:
        torch.compiler.reset()
        _built.clear()
    _built.add(built)
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
