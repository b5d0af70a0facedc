"""Layer 5: a plugin as a small drawing in text: the unit or the part of a network that it makes, layer by layer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from torch import nn

from nas.authoring.example import example_space
from nas.building import build_without_weights, make
from nas.outlining import outline
from nas.plugin import Network, NetworkContext, Unit
from nas.registry import PluginInfo, Registry
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.values.architecture import Configuration, PluginNode
from nas.values.outline import LayerRow

INPUT = NetworkContext((3, 32, 32), 10)
"""What the drawn networks take: a picture of three channels, ten classes."""
BARS = "▁▂▃▄▅▆▇█"
NUM_STEPS = 48


def drawing(info: PluginInfo, registry: Registry) -> tuple[str, ...]:
    """Draw a plugin as it stands in its example; () for a kind of which there is nothing to draw.

    Raises PluginError, with the plugin's file, where it cannot be built.
    """
    draw = _DRAWINGS.get(info.kind)
    return tuple(draw(info, registry)) if draw else ()


def example_rows(info: PluginInfo, registry: Registry) -> tuple[LayerRow, ...]:
    """Return the units of a network plugin with its default parameters. Raises PluginError where it cannot be built or run."""
    return outline(_decided(info, registry).architecture, registry, INPUT)


def _block(info: PluginInfo, registry: Registry) -> Iterator[str]:
    unit = next(unit for _, unit in _network(info, registry).units() if _is(unit.block, info))
    yield from _unit(unit, [*_layers(unit.block.before), *_layers(unit.block.branch)], [_name(unit.shortcut)])


def _shortcut(info: PluginInfo, registry: Registry) -> Iterator[str]:
    """Draw the unit in which the shortcut has most to do: one where the shape changes."""
    units = [unit for _, unit in _network(info, registry).units() if _is(unit.shortcut, info)]
    unit = max(units, key=lambda unit: sum(1 for _ in unit.shortcut.modules()))
    own = [line for child in unit.shortcut.children() for line in _layers(child)]
    yield from _unit(unit, ["F(x)"], [info.name, *own])


def _unit(unit: Unit, left: Sequence[str], right: Sequence[str]) -> Iterator[str]:
    formula = unit.shortcut.formula
    paths = _two_paths(left, right, "⊕" if "+" in formula else "○", formula) if unit.shortcut.connects else left
    yield from ("x", *paths, *_layers(unit.block.after), "y")


def _long_skip(info: PluginInfo, _: Registry) -> Iterator[str]:
    connects = bool(getattr(info.cls, "connects", True))
    deeper = ["deeper stages"]
    yield from ("encoder", *(_two_paths(deeper, [info.name], "○", "") if connects else deeper), "decoder")


def _two_paths(left: Sequence[str], right: Sequence[str], merge: str, formula: str) -> Iterator[str]:
    """Draw two paths beside each other, from where they part to where they merge."""
    height = max(len(left), len(right) + 2)
    above = (height - len(right)) // 2
    left = [*left, *["│"] * (height - len(left))]
    right = [*["│"] * above, *right, *["│"] * (height - above - len(right))]
    start = max(map(len, left)) + 3
    turn = start + max(map(len, right)) // 2
    yield f"├{'─' * (turn - 1)}╮"
    for one, other in zip(left, right, strict=True):
        yield f"{one:<{turn - len(other) // 2}}{other}"
    yield f"{merge}{'─' * (turn - 1)}╯  {formula}".rstrip()


def _chain(info: PluginInfo, registry: Registry) -> Iterator[str]:
    """Draw a part of the network as its layers, one below the other."""
    part = next(module for module in _network(info, registry).modules() if _is(module, info))
    yield from ("x", *(line for child in part.children() for line in _layers(child)), "y")


def _schedule(info: PluginInfo, registry: Registry) -> Iterator[str]:
    """Draw the factor over a training as bars."""
    node = _decided(info, registry).train["schedule"]
    assert isinstance(node, PluginNode), "the recipe's schedule is a plugin"
    schedule = make("schedule", node, registry)
    factors = [schedule.factor(step, NUM_STEPS) for step in range(NUM_STEPS)]
    most = max(*factors, 1e-12)
    yield "".join(BARS[min(int(factor / most * len(BARS)), len(BARS) - 1)] for factor in factors)
    yield f"first step{'last step':>{NUM_STEPS - len('first step')}}"


_DRAWINGS: Mapping[str, Callable[[PluginInfo, Registry], Iterator[str]]] = {
    "block": _block,
    "shortcut": _shortcut,
    "long_skip": _long_skip,
    "stem": _chain,
    "head": _chain,
    "schedule": _schedule,
}


def _decided(info: PluginInfo, registry: Registry) -> Configuration:
    space = parse_space(example_space(info, registry), f"the example of {info.kind} '{info.name}'", registry)
    return sample(space, first_choice).configuration


def _network(info: PluginInfo, registry: Registry) -> Network:
    return build_without_weights(_decided(info, registry).architecture, registry, INPUT)


def _is(module: nn.Module, info: PluginInfo) -> bool:
    return type(module) is info.cls


def _layers(module: nn.Module) -> list[str]:
    """Name the layers of a module in the order in which they are applied; what is no sequence is one layer of its own name."""
    if isinstance(module, nn.Identity):
        return []
    if type(module) is nn.Sequential:
        return [line for child in module for line in _layers(child)]
    return [_name(module)]


def _name(module: nn.Module) -> str:
    if name := getattr(type(module), "plugin_name", ""):
        return f"{name} norm" if getattr(module, "kind", "") == "norm" else str(name)
    if isinstance(module, nn.modules.conv._ConvNd):
        return _convolution(module)
    if isinstance(module, nn.Linear):
        return f"linear {module.in_features}→{module.out_features}"
    return " ".join(re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", type(module).__name__)).lower()


def _convolution(conv: nn.modules.conv._ConvNd) -> str:
    stride = f" /{conv.stride[0]}" if max(conv.stride) > 1 else ""
    form = "depthwise " if 1 < conv.groups == conv.in_channels else "transposed " if conv.transposed else ""
    groups = f" in {conv.groups} groups" if conv.groups > 1 and not form else ""
    return f"{form}conv {'×'.join(map(str, conv.kernel_size))}{stride} {conv.in_channels}→{conv.out_channels}{groups}"
