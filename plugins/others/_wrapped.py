"""What the networks of other packages share: finding the package, keeping its initial values, counting its layers."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

PROJECT = "nas-ablation"


def needed(package: str) -> Any:
    """Import an optional package. Raises ValueError that says what to install where there is none."""
    if importlib.util.find_spec(package) is None:
        raise ValueError(f"the package {package} is not installed; install it with: pip install '{PROJECT}[{package}]'")
    return importlib.import_module(package)


def known(model: str, models: Iterable[str], package: str) -> str:
    """Return `model` where the package has it. Raises ValueError with the nearest names where it has not."""
    names = tuple(models)
    if model in names:
        return model
    close = difflib.get_close_matches(model, names, n=3)
    hint = f"did you mean {' or '.join(repr(name) for name in close)}?" if close else f"it has {len(names)}, such as '{names[0]}'"
    raise ValueError(f"{package} has no classification model '{model}'; {hint}")


def built(make: Callable[[], Any]) -> nn.Module:
    """Build a model, on the meta device too where its constructor reads numbers out of tensors, which have none there."""
    try:
        model = make()
    except NotImplementedError:
        with torch.device("cpu"):
            model = make()
        model = model.to(torch.get_default_device())
    assert isinstance(model, nn.Module)
    return model


def post_activated_parts(theirs: nn.Module, num_layers: int) -> nn.Sequential:
    """Return the layers of another package's ResNet block in a row: conv1, bn1, relu, conv2, bn2 …, nothing after the last norm.

    The activations are new ones that leave their input as it is: theirs overwrite it, which a reader of it would not expect.
    """
    layers: list[nn.Module] = []
    for number in range(1, num_layers + 1):
        layers += ([nn.ReLU()] if number > 1 else []) + [theirs.get_submodule(f"conv{number}"), theirs.get_submodule(f"bn{number}")]
    return nn.Sequential(*layers)


def logits_of(answer: Any, model: str) -> Tensor:
    """Return a model's answer where it is one tensor. Raises ValueError for the models that answer with several."""
    if not isinstance(answer, Tensor):
        raise ValueError(f"model '{model}' answers with {type(answer).__name__} and not with one tensor of scores; take another")
    return answer


@torch.no_grad()
def longest_path(network: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Count the weight layers on the longest path from an input (C, H, W) to the output, by following one through."""
    was_training = network.training
    tracker = _LayerTracker(network)
    with tracker:
        answer = network.eval()(torch.zeros(1, *input_shape, device=next(network.parameters()).device))
    network.train(was_training)
    return tracker.depth_of(logits_of(answer, type(network).__name__))


class _LayerTracker(TorchDispatchMode):
    """Notes for every tensor how many weight layers lie behind it: convolutions and products with a parameter."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        # The tensors are kept, so that no id is given twice. A depth of −1 marks parameters and views of them.
        self.noted: dict[int, tuple[Tensor, int]] = {id(p): (p, -1) for p in network.parameters()}

    def depth_of(self, tensor: Tensor) -> int:
        return self.noted[id(tensor)][1] if id(tensor) in self.noted else 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        read = [self.depth_of(value) for value in _tensors((args, kwargs or {}))]
        depth = max(read, default=0)
        if depth >= 0 and -1 in read and func.overloadpacket in flop_registry:
            depth += 1
        for tensor in _tensors(output):
            self.noted[id(tensor)] = (tensor, depth)
        return output


def _tensors(value: Any) -> Iterable[Tensor]:
    return (leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, Tensor))
