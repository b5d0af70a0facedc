"""Layer 3: a network's units looked at and taken out: their order, their stages, deletion, and its weight layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.plugin import Network, Unit

BATCH = 512


class Deleted(nn.Module):
    """A unit whose branch is taken out: y = after(merge(shortcut(x), 0)), (B, C, H, W) -> (B, C', H/s, W/s).

    Where nothing is carried beside the branch, as in a plain network, x itself goes on: every s-th pixel of it, and zeros for
    channels that it does not have (He et al. 2015, option A).
    """

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        self.unit = unit

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/s, W/s)."""
        block, shortcut = self.unit.block, self.unit.shortcut
        h = block.before(x)
        residual = torch.zeros_like(block.branch(h))  # its shape is the branch's own business
        merged = shortcut.merge(shortcut(x, h), residual) if shortcut.connects else _brought_to(x, residual.shape)
        y: Tensor = block.after(merged)
        return y


def units_of(network: Network) -> tuple[tuple[str, Unit], ...]:
    """Return the units with their paths in the order of application. Raises ValueError where there are none."""
    units = tuple(network.units())
    if not units:
        raise ValueError(f"the network {type(network).__name__} has no units")
    return units


@contextmanager
def without(network: Network, paths: Sequence[str]) -> Iterator[Network]:
    """Take the branches of the units at `paths` out of `network` for a while (Veit et al. 2016, 1605.06431, §4.1)."""
    units = [network.get_submodule(path) for path in paths]
    for path, unit in zip(paths, units, strict=True):
        assert isinstance(unit, Unit), "paths come from units_of"
        put(network, path, Deleted(unit))
    try:
        yield network
    finally:
        for path, unit in zip(paths, units, strict=True):
            put(network, path, unit)


def delete_units(network: Network, paths: Sequence[str]) -> Network:
    """Take the branches of the units at `paths` out of `network` for good; return it."""
    for path in paths:
        unit = network.get_submodule(path)
        assert isinstance(unit, Unit), "paths come from units_of"
        put(network, path, Deleted(unit))
    return network


@torch.no_grad()
def outputs_of(network: nn.Module, inputs: Tensor, *, batch: int = BATCH) -> Tensor:
    """Return the network's outputs in the mode that it is in, batch by batch, without gradients: (N, …)."""
    return torch.cat([network(inputs[i : i + batch]) for i in range(0, len(inputs), batch)])


def shapes_of(network: Network, inputs: Tensor) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Return the shapes (C, H, W) that go into and come out of each unit."""
    shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def note(_unit: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        shapes.append((tuple(given[0].shape[1:]), tuple(made.shape[1:])))

    handles = [unit.register_forward_hook(note) for _, unit in units_of(network)]
    try:
        outputs_of(network, inputs[:2])
    finally:
        for handle in handles:
            handle.remove()
    return tuple(shapes)


def stages_of(network: Network) -> tuple[int, ...]:
    """Return the stage of each unit, counted from 0: the units of one stage stand in one module."""
    owners = [path.rpartition(".")[0] for path, _ in units_of(network)]
    places = {owner: stage for stage, owner in enumerate(dict.fromkeys(owners))}
    return tuple(places[owner] for owner in owners)


def same_shape_groups(network: Network, inputs: Tensor) -> tuple[tuple[str, ...], ...]:
    """Return the paths of the units that give the shape they are given, those of one shape together, in their order."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for (path, _), (given, made) in zip(units_of(network), shapes_of(network, inputs), strict=True):
        if given == made:
            groups.setdefault(given, []).append(path)
    return tuple(map(tuple, groups.values()))


def weight_layers(network: nn.Module, inputs: Tensor) -> tuple[tuple[str, nn.Parameter], ...]:
    """Return the weights of convolutions and linear layers with their paths, in the order in which they are used."""
    used: dict[str, nn.Parameter] = {}

    def note(path: str, weight: nn.Parameter) -> None:
        used.setdefault(path, weight)

    handles = []
    for path, module in network.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.dim() > 1:
            handles.append(module.register_forward_pre_hook(lambda _m, _x, path=path, weight=weight: note(f"{path}.weight", weight)))
    try:
        outputs_of(network, inputs[:2])
    finally:
        for handle in handles:
            handle.remove()
    return tuple(used.items())


def put(network: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module in the place of the one at `path`."""
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module)


def _brought_to(x: Tensor, shape: torch.Size) -> Tensor:
    if x.shape == shape:
        return x
    if x.dim() == 4:
        steps = [-(-have // want) for have, want in zip(x.shape[2:], shape[2:], strict=True)]
        x = x[:, :, :: steps[0], :: steps[1]]
    missing = shape[1] - x.shape[1]
    return F.pad(x, (0, 0, 0, 0, missing // 2, missing - missing // 2)) if missing else x
