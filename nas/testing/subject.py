"""Layer 5: the plugin under test: built from its defaults, placed in a unit or a network, on inputs of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn, cast

import torch
from torch import Tensor, nn

from nas.building import make
from nas.errors import NasError
from nas.plugin import Block, Initialisation, Shortcut, Unit, UnitContext, make_unit
from nas.registry import PluginInfo, Registry
from nas.registry.signature import ParameterType, kind_in, members_of
from nas.values.architecture import PluginNode, Value
from nas.values.seeds import derive

SAME = UnitContext(in_channels=8, width=8, index=1, num_units=4)
"""A unit in the middle of a stage."""
PLACES = (
    SAME,
    UnitContext(in_channels=8, width=16, index=1, num_units=4),
    UnitContext(in_channels=8, width=8, stride=2, index=1, num_units=4),
    UnitContext(in_channels=8, width=16, stride=2, index=1, num_units=4, stage=1),
    UnitContext(in_channels=16, width=8, index=0, num_units=1),
)
"""Units of every stride and change of width that a staged network has."""
RESOLUTION = 8
BATCH = 4


class ContractError(AssertionError):
    """A plugin does not keep the contract; the message says which rule and what was seen."""


@dataclass(frozen=True)
class CheckResult:
    """What one check of the contract found; `detail` says why it failed."""

    name: str
    passed: bool
    detail: str = ""


def broken(message: str) -> NoReturn:
    """Raise ContractError."""
    raise ContractError(message)


@dataclass(frozen=True)
class Subject:
    """One registered plugin with the parameters to test it with (its defaults unless given), and an input's shape for networks."""

    registry: Registry
    kind: str
    name: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    input_shape: tuple[int, ...] | None = None

    @property
    def info(self) -> PluginInfo:
        """Its entry in the registry."""
        return self.registry.find(self.kind, self.name)

    @property
    def node(self) -> PluginNode:
        """The plugin with every parameter decided."""
        return completed(self.registry, self.kind, PluginNode(self.name, tuple(self.parameters.items())))

    def built(self, *context: Any) -> Any:
        """Build the plugin itself."""
        return make(self.kind, self.node, self.registry, *context)

    def with_parameters(self, **parameters: Value) -> Subject:
        """Return the same plugin with some parameters set otherwise."""
        return replace(self, parameters={**self.parameters, **parameters})

    def options(self) -> Iterator[Subject]:
        """Yield the plugin with each written option of each of its parameters."""
        for parameter in self.info.parameters:
            for member in members_of(parameter.type):
                for value in getattr(member, "values", ()):
                    yield self.with_parameters(**{parameter.name: value})

    def units(self, place: UnitContext = SAME) -> Iterator[tuple[str, Callable[..., Unit]]]:
        """Yield the units to test it in, each with its name and a builder from a seed: a block under each of its shortcuts."""
        if self.kind == "block":
            declared = cast(type[Block], self.info.cls).shortcuts or self.registry.names("shortcut")
            for shortcut in sorted(declared, key=lambda name: (name != "identity", name)):
                yield f"shortcut '{shortcut}'", self._unit(self.node, PluginNode(shortcut), place)
        elif self.kind == "shortcut":
            for block in ("basic", "preact_basic"):
                yield f"block '{block}'", self._unit(PluginNode(block), self.node, place)
        else:
            block_node = PluginNode("basic", ((self.kind, self.node),))
            yield "block 'basic'", self._unit(block_node, PluginNode("identity"), place)

    def unit_with(self, shortcut: str, place: UnitContext = SAME, *, seed: int = 0) -> Unit:
        """Return a block's unit with the shortcut of that name. Raises PluginError or ValueError where they refuse each other."""
        return self._unit(self.node, PluginNode(shortcut), place)(seed)

    def unit(self, place: UnitContext = SAME, *, seed: int = 0) -> Unit:
        """Return the first of the units that can be built, in evaluation, with initial values keyed by `seed`."""
        refusals = []
        for name, build in self.units(place):
            try:
                return build(seed)
            except (NasError, ValueError) as error:
                refusals.append(f"with {name}: {error}")
        broken(f"none of {len(refusals)} units can be built at {place}; {refusals[0]}")

    def _unit(self, block: PluginNode, shortcut: PluginNode, place: UnitContext) -> Callable[..., Unit]:
        def build(seed: int = 0) -> Unit:
            nodes = completed(self.registry, "block", block), completed(self.registry, "shortcut", shortcut)
            with quiet_random(seed):
                unit = make_unit(
                    lambda context: cast(Block, make("block", nodes[0], self.registry, context)),
                    lambda context: cast(Shortcut, make("shortcut", nodes[1], self.registry, context)),
                    place,
                )
            kaiming(self.registry).apply(unit, generator_for(seed))
            return unit.eval()

        return build


def completed(registry: Registry, kind: str, node: PluginNode) -> PluginNode:
    """Fill in the defaults of a node and of the plugins inside it."""

    def value_of(value: Value, expected: ParameterType) -> Value:
        if isinstance(value, PluginNode):
            return completed(registry, kind_in(expected), value)
        return tuple(value_of(item, expected) for item in value) if isinstance(value, tuple) else value

    given = dict(node.parameters)
    declared = registry.find(kind, node.name).parameters
    missing = [p.name for p in declared if p.required and p.name not in given]
    if missing:
        broken(f"{kind} '{node.name}' has no default for {', '.join(missing)}; give the contract `parameters = {{…}}`")
    return PluginNode(node.name, tuple((p.name, value_of(given.get(p.name, p.default), p.type)) for p in declared))


def kaiming(registry: Registry) -> Initialisation:
    """Return the default initialisation."""
    return cast(Initialisation, make("initialisation", completed(registry, "initialisation", PluginNode("kaiming")), registry))


def generator_for(seed: int) -> Callable[[str], torch.Generator]:
    """Return the generators that belong to the parameters' paths, as the builder keys them."""
    return lambda path: torch.Generator().manual_seed(derive(seed, "init", path))


@contextmanager
def quiet_random(seed: int) -> Iterator[None]:
    """Set torch's random state for a while and put it back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def example(channels: int = SAME.in_channels) -> Tensor:
    """Return an input for a unit, (B, C, H, W)."""
    return torch.randn(BATCH, channels, RESOLUTION, RESOLUTION, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def perturb(module: nn.Module, seed: int = 2) -> None:
    """Move every parameter at random, so that nothing is zero by its initial value."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def weighted_sum(y: Tensor, seed: int = 3) -> Tensor:
    """Return a loss whose gradient is different at every output, so that no norm cancels it."""
    return (y * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=y.dtype)).sum()


def equal_states(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules hold the same tensors, bit for bit."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[path], second[path]) for path in first)
