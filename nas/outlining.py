"""Layer 3: an architecture as a reader sees it: its units one by one, with shapes, parameters and multiply-accumulates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nas.building import build_without_weights
from nas.faults import naming_the_fault
from nas.plugin import Network, NetworkContext, Shortcut, Unit
from nas.registry import Registry
from nas.values.architecture import Architecture
from nas.values.outline import LayerRow


def outline(architecture: Architecture, registry: Registry, context: NetworkContext) -> tuple[LayerRow, ...]:
    """Return one row for each unit and for each part around them, in the order in which they are applied.

    Raises PluginError where the network cannot be built or run.
    """
    network = build_without_weights(architecture, registry, context)
    parts = dict(_parts(network))
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> None:
            shapes[name] = tuple(output.shape[1:])

        return hook

    for name, module in parts.items():
        module.register_forward_hook(note(name))
    with naming_the_fault(architecture, registry), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.empty(1, *context.input_shape, device="meta"))
    operations = counter.get_flop_counts()
    root = type(network).__name__
    named = _unit_names(parts, shapes)
    return tuple(
        LayerRow(
            name=named.get(name, name),
            kind=_kind(module),
            shortcut=_shortcut(module) if isinstance(module, Unit) else "",
            output=shape,
            parameters=sum(p.numel() for p in module.parameters() if p.requires_grad),
            macs=sum(operations.get(f"{root}.{name}", {}).values()) // 2,
            formula=unit_formula(module) if isinstance(module, Unit) else "",
        )
        for name, shape in shapes.items()
        for module in [parts[name]]
    )


def unit_formula(unit: Unit) -> str:
    """Return what a unit computes, in the notation of the papers."""
    return unit.block.formula.replace("{merge}", unit.shortcut.formula)


def _shortcut(unit: Unit) -> str:
    """Name the shortcut by what it does at its place: a projection that nothing has to project is the identity."""
    bare = unit.shortcut.formula == Shortcut.formula and not any(True for _ in unit.shortcut.parameters())
    return "identity" if bare else str(getattr(unit.shortcut, "plugin_name", ""))


def _parts(network: Network) -> Iterator[tuple[str, nn.Module]]:
    """Yield the units and, beside them, the outermost modules that hold parameters but no unit."""
    units = [path for path, _ in network.units()]

    def visit(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        for name, child in module.named_children():
            inner = f"{path}.{name}" if path else name
            holds_units = any(unit.startswith(f"{inner}.") for unit in units)
            if holds_units and not isinstance(child, Unit):
                yield from visit(inner, child)
            elif any(True for _ in child.parameters()):
                yield inner, child

    yield from visit("", network)


def _unit_names(parts: dict[str, nn.Module], shapes: dict[str, tuple[int, ...]]) -> dict[str, str]:
    """Name units by stage and place: a stage is what stands in one module of the network (`stages.0`) at one resolution."""
    names: dict[str, str] = {}
    places: Counter[int] = Counter()
    stage, before = 0, None
    for name, shape in shapes.items():
        if isinstance(parts[name], Unit):
            here = (name.rpartition(".")[0], shape[1:])
            stage += here != before
            before = here
            places[stage] += 1
            names[name] = f"stage {stage} · unit {places[stage]}"
    return names


def _kind(module: nn.Module) -> str:
    named = module.block if isinstance(module, Unit) else module
    return str(getattr(named, "plugin_name", type(named).__name__))
