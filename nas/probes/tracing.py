"""Layer 3: what passes through a network: each unit's input, output and what its branch adds, each layer's response."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nas.plugin import Network, Norm, Unit
from nas.probes.units import units_of

NORMS = (_BatchNorm, nn.GroupNorm, nn.LayerNorm, Norm)


@dataclass(frozen=True)
class Visit:
    """One unit as a forward pass went through it: `x` in, `y` out, (B, C, H, W) each, with their graph where there is one."""

    path: str
    unit: Unit
    x: Tensor
    y: Tensor

    @property
    def keeps_shape(self) -> bool:
        """Whether what comes out has the shape of what went in."""
        return self.x.shape == self.y.shape


def trace(network: Network, inputs: Tensor) -> tuple[Tensor, tuple[Visit, ...]]:
    """Run the network in the mode that it is in; return its outputs and its units in the order in which they were run."""
    visits: list[Visit] = []
    names = {unit: path for path, unit in units_of(network)}

    def note(unit: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        assert isinstance(unit, Unit), "the hook is on units alone"
        visits.append(Visit(names[unit], unit, given[0], made))

    with _hooked(list(names), note):
        outputs = network(inputs)
    return outputs, tuple(visits)


def added_by_branch(unit: Unit, x: Tensor) -> Tensor:
    """Return what the branch adds before `after`: merge(S(x), F(x)) − merge(S(x), 0), (B, C, H, W) -> (B, C', H/s, W/s).

    It is F(x) where the two are added, αF(x) under a learned scale, gF(x) under a gate.
    """
    h = unit.block.before(x)
    residual, carried = unit.block.branch(h), unit.shortcut(x, h)
    added: Tensor = unit.shortcut.merge(carried, residual) - unit.shortcut.merge(carried, torch.zeros_like(residual))
    return added


@torch.no_grad()
def responses(network: nn.Module, inputs: Tensor) -> tuple[tuple[str, Tensor], ...]:
    """Return the response of each weight layer, with its path, in the order of use: after its norm, before anything else.

    This is what He et al. 2015, 1512.03385, Fig. 7, look at. A layer without a norm behind it responds by its own output.
    """
    found: list[tuple[str, Tensor]] = []
    names = {module: path for path, module in network.named_modules()}

    def note(module: nn.Module, given: tuple[Tensor, ...], made: Tensor) -> None:
        if isinstance(module, NORMS):
            for i, (path, response) in enumerate(found):
                if response is given[0]:
                    found[i] = (path, made)
        else:
            found.append((names[module], made))

    layers = [m for m in names if _is_weight_layer(m) or isinstance(m, NORMS)]
    with _hooked(layers, note):
        network(inputs)
    return tuple(found)


def _is_weight_layer(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, nn.Parameter) and weight.dim() > 1


@contextmanager
def _hooked(modules: list[Any], note: Any) -> Iterator[None]:
    handles = [module.register_forward_hook(note) for module in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
