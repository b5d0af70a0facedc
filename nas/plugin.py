"""Layer 1: what a plugin author imports: one base class a kind, the contexts they are built with, and the decorator.

A plugin is a class that inherits one of the bases below and carries `@plugin("its_name")`. Its keyword-only parameters are
its schema: a space file may set each of them, and only them. Its docstring is its help.

    from nas.plugin import Block, UnitContext, plugin

    @plugin("my_block")
    class MyBlock(Block):
        def __init__(self, context: UnitContext, *, kernel_size: int = 3) -> None: ...
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeVar, Union

import torch
from torch import Tensor, nn

from nas.values.architecture import PluginNode

T = TypeVar("T")
Factory = Callable[..., T]
"""The type of a parameter that takes another plugin: `block: Factory[Block]`. The network calls it once for each instance."""

Each = Union[T, tuple[T, ...]]
"""The type of a parameter that takes one value for all stages or a list with one value a stage."""


@dataclass(frozen=True)
class Bounds:
    """The closed range a number must lie in; None leaves a side open. Used as `Annotated[int, Bounds(1)]`."""

    low: float | None = None
    high: float | None = None


Count = Annotated[int, Bounds(1)]
Positive = Annotated[float, Bounds(0.0)]
Fraction = Annotated[float, Bounds(0.0, 1.0)]


def plugin(name: str) -> Callable[[type[T]], type[T]]:
    """Mark a class as the plugin `name` of its base's kind. Discovery finds it; nothing is registered globally."""

    def mark(cls: type[T]) -> type[T]:
        if not getattr(cls, "kind", ""):
            raise TypeError(f"@plugin({name!r}) on {cls.__name__}: inherit one of the bases of nas.plugin (Block, Shortcut, …)")
        cls.plugin_name = name  # type: ignore[attr-defined]  # the mark that discovery looks for
        return cls

    return mark


def use(name: str, **parameters: Any) -> Any:
    """Name another plugin as the default of a parameter.

    Write it as `norm: Factory[Norm] = use("batch")`.
    """
    return PluginNode(name, tuple(parameters.items()))


@dataclass(frozen=True)
class NetworkContext:
    """What a network knows of its task: the input's shape (C, H, W) and the number of outputs."""

    input_shape: tuple[int, ...]
    num_outputs: int


@dataclass(frozen=True)
class StemContext:
    """What a stem knows: channels in, the first stage's width, and whether to end in norm and activation.

    `activated` is False where the first block is pre-activated and brings its own.
    """

    in_channels: int
    width: int
    activated: bool = True


@dataclass(frozen=True)
class UnitContext:
    """What a unit knows of its place: channels in, its stage's width, its stride, and its index among the network's units."""

    in_channels: int
    width: int
    stride: int = 1
    index: int = 0
    num_units: int = 1
    stage: int = 0


@dataclass(frozen=True)
class ShortcutContext:
    """What a shortcut knows: the channels of x and of F(x), the stride, whether h is pre-activated, and the unit's index."""

    in_channels: int
    out_channels: int
    stride: int = 1
    preactivated: bool = False
    index: int = 0
    num_units: int = 1

    @property
    def same_shape(self) -> bool:
        """Whether x and F(x) have the same shape, so that nothing needs to be matched."""
        return self.stride == 1 and self.in_channels == self.out_channels


@dataclass(frozen=True)
class HeadContext:
    """What a head knows: the channels it is given and the number of outputs."""

    in_channels: int
    num_outputs: int


@dataclass(frozen=True)
class LongSkipContext:
    """What a long skip knows: the channels of the encoder's features and of the decoder's, and the resolution's index."""

    encoder_channels: int
    decoder_channels: int
    stage: int


class Norm(nn.Module):
    """A normalisation of (B, C, H, W) or (B, N, C); built as `norm(num_channels)`."""

    kind: ClassVar[str] = "norm"


class Activation(nn.Module):
    """An elementwise nonlinearity; built as `activation()`."""

    kind: ClassVar[str] = "activation"


class Stem(nn.Module):
    """The layers before the first unit: (B, C, H, W) -> (B, out_channels, H', W')."""

    kind: ClassVar[str] = "stem"
    out_channels: int
    num_layers: int = 1


class Block(nn.Module):
    """The residual branch of a unit and the order of norm and activation around it.

    A unit is `h = before(x); y = after(shortcut.merge(shortcut(x, h), branch(h)))`. A block owns `before` (the shared
    pre-activation; identity elsewhere), `branch` and `after`; it never adds its input itself.
    """

    kind: ClassVar[str] = "block"
    preactivated: ClassVar[bool] = False
    """Whether `before` normalises and activates; the stem then leaves its output raw and `closing` ends the network."""
    shortcuts: ClassVar[tuple[str, ...] | None] = None
    """The names of the shortcuts it can run with; None for any."""
    formula: str = ""
    """One line in the notation of the papers, with `{merge}` where the shortcut's own formula goes.

    On the class it is that of the default parameters; an instance may set its own.
    """

    before: nn.Module
    branch: nn.Module
    after: nn.Module
    out_channels: int
    """Channels of F(x)."""
    unit_channels: int
    """Channels that leave its unit, set by the unit: more than `out_channels` under a shortcut that concatenates."""
    num_layers: int
    """Weight layers on the branch's longest path."""

    def closing(self) -> nn.Module:
        """Return what follows the last unit before the head, built anew: a norm and activation where `after` has none.

        It is called once the block is part of a unit, and is given `unit_channels` channels.
        """
        return nn.Identity()

    def last_layers(self) -> tuple[nn.Module, ...]:
        """Return the layers that end the branch: with their parameters at zero, F(x) = 0 and they still learn.

        Empty where an activation ends the branch, since nothing would flow back through its zero.
        """
        return last_layer(self.branch)


def last_layer(branch: nn.Module) -> tuple[nn.Module, ...]:
    """Return the last layer with parameters in a sequence of modules, or () where something else than a dropout follows it."""
    leaves = [module for module in branch.modules() if not any(True for _ in module.children())]
    for module in reversed(leaves):
        if any(True for _ in module.parameters()):
            return (module,)
        if not isinstance(module, nn.Identity | nn.Dropout | nn.Dropout2d):
            break
    return ()


class Shortcut(nn.Module):
    """The other path of a unit, and how the two are merged. Changes of shape are its business."""

    kind: ClassVar[str] = "shortcut"
    formula: str = "x + F(x)"
    connects: bool = True
    """Whether the input reaches the output beside the branch; False for the plain network's `none`."""
    silences: bool = False
    """Whether `merge` multiplies F(x) by zero at the start (ReZero): an initialisation must then not zero F(x) as well."""

    out_channels: int

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Carry the unit's input past the branch: x (B, C, H, W), h = before(x) -> (B, C', H/s, W/s)."""
        raise NotImplementedError(f"shortcut {type(self).__name__} defines no forward(x, h)")

    def merge(self, shortcut: Tensor, residual: Tensor) -> Tensor:
        """Join the two paths, each (B, C', H', W'); addition unless a shortcut says otherwise."""
        return shortcut + residual


class Head(nn.Module):
    """The layers after the last unit: (B, C, H, W) -> (B, num_outputs)."""

    kind: ClassVar[str] = "head"
    num_layers: int = 1


class LongSkip(nn.Module):
    """Joins an encoder's features to the decoder's of the same size: (B, E, H, W), (B, D, H, W) -> (B, out_channels, H, W).

    The second kind of skip connection: over the whole depth of an encoder and decoder instead of one unit (U-Net).
    """

    kind: ClassVar[str] = "long_skip"
    connects: ClassVar[bool] = True
    """Whether the encoder's features reach the decoder beside the path through the deeper stages."""
    out_channels: int

    def forward(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        """Join the two."""
        raise NotImplementedError(f"long_skip {type(self).__name__} defines no forward(encoded, decoded)")


class Unit(nn.Module):
    """One unit of a network: a block and its shortcut, composed as the contract says."""

    def __init__(self, block: Block, shortcut: Shortcut) -> None:
        super().__init__()
        self.block = block
        self.shortcut = shortcut
        self.out_channels = shortcut.out_channels
        block.unit_channels = shortcut.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/s, W/s)."""
        h = self.block.before(x)
        y: Tensor = self.block.after(self.shortcut.merge(self.shortcut(x, h), self.block.branch(h)))
        return y


def make_unit(block: Factory[Block], shortcut: Factory[Shortcut], context: UnitContext) -> Unit:
    """Build one unit at its place; the shortcut learns from the built block how many channels it has to match.

    Raises ValueError where the two do not go together.
    """
    built = block(context)
    path = shortcut(
        ShortcutContext(
            in_channels=context.in_channels,
            out_channels=built.out_channels,
            stride=context.stride,
            preactivated=built.preactivated,
            index=context.index,
            num_units=context.num_units,
        )
    )
    _refuse_misfit(built, path)
    return Unit(built, path)


def _refuse_misfit(block: Block, shortcut: Shortcut) -> None:
    names = tuple(getattr(type(part), "plugin_name", type(part).__name__) for part in (block, shortcut))
    if block.shortcuts is not None and names[1] not in block.shortcuts:
        raise ValueError(f"block '{names[0]}' runs with the shortcuts {', '.join(block.shortcuts)}; got '{names[1]}'")
    if shortcut.out_channels != block.out_channels and any(True for _ in block.after.parameters()):
        raise ValueError(
            f"block '{names[0]}' has weights after the merge, for {block.out_channels} channels, but shortcut '{names[1]}' makes "
            f"{shortcut.out_channels}; take a block that has none there, or a shortcut that adds"
        )


GeneratorFor = Callable[[str], torch.Generator]
"""Gives the random generator that belongs to one parameter's path."""


class Initialisation:
    """How a network's parameters get their first values: `apply(network, generator_for)` writes them in place.

    Each random tensor must be drawn from `generator_for(its path)`, so that the tensors two networks share start equal.
    """

    kind: ClassVar[str] = "initialisation"

    def prepare(self, network: nn.Module) -> None:
        """Add the parameters that the initialisation needs, before any is counted; most need none.

        The builder calls it on every built network, with or without weights. Raises ValueError for a network that the
        initialisation does not fit.
        """

    def reinitialises(self, network: nn.Module) -> frozenset[str]:
        """Return the paths of the tensors that start otherwise than under `kaiming`: twins may differ there and nowhere else."""
        return frozenset()

    def apply(self, network: nn.Module, generator_for: GeneratorFor) -> None:
        """Write the initial values into `network`'s parameters."""
        raise NotImplementedError(f"initialisation {type(self).__name__} defines no apply(network, generator_for)")


class Network(nn.Module):
    """A whole network, (B, C, H, W) -> (B, num_outputs); built from a `NetworkContext` and its decided parameters."""

    kind: ClassVar[str] = "network"

    initialisation: Initialisation
    num_layers: int
    """Weight layers on the longest path from input to output: 6n+2 for the CIFAR ResNets (He et al. 2015, §4.2)."""

    def units(self) -> Iterator[tuple[str, Unit]]:
        """Yield the units with their module paths, in the order in which they are applied."""
        for path, module in self.named_modules():
            if isinstance(module, Unit):
                yield path, module


@dataclass(frozen=True)
class Data:
    """A data set in memory: `inputs` (N, C, H, W) float32, `targets` (N,) int64, and the classes' names."""

    inputs: Tensor
    targets: Tensor
    classes: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape (C, H, W) of one input."""
        return tuple(self.inputs.shape[1:])

    def fingerprint(self) -> str:
        """Hash inputs and targets to 16 hexadecimal digits: equal data, equal fingerprint."""
        digest = hashlib.sha256()
        for tensor in (self.inputs, self.targets):
            digest.update(str((tuple(tensor.shape), tensor.dtype)).encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


class DataSet:
    """A source of data: `load()` returns all of it; splitting and normalising are the framework's work."""

    kind: ClassVar[str] = "data"

    def load(self) -> Data:
        """Return the whole data set."""
        raise NotImplementedError(f"data set {type(self).__name__} defines no load()")


class Optimizer:
    """A recipe for a `torch.optim.Optimizer`: `build(parameters)`."""

    kind: ClassVar[str] = "optimizer"

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer over `parameters`."""
        raise NotImplementedError(f"optimizer {type(self).__name__} defines no build(parameters)")


class Schedule:
    """How the learning rate moves over a training: `factor(step, num_steps)` multiplies it."""

    kind: ClassVar[str] = "schedule"

    def factor(self, step: int, num_steps: int) -> float:
        """Return the factor at optimizer step `step` of `num_steps`, counted from 0."""
        raise NotImplementedError(f"schedule {type(self).__name__} defines no factor(step, num_steps)")


BASES: tuple[type, ...] = (
    Network, Block, Shortcut, Stem, Head, LongSkip, Norm, Activation, Initialisation, DataSet, Optimizer, Schedule,
)  # fmt: skip
"""Every kind of plugin, by its base class."""
