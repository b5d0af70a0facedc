"""Layer 1: the unit of a residual network: block, shortcut, and how the two are composed."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from nas.plugin.contexts import ShortcutContext, UnitContext
from nas.plugin.declaring import Factory


class Block(nn.Module):
    """The residual branch of a unit and the order of norm and activation around it.

    A unit is `h = before(x); y = after(shortcut.merge(shortcut(x, h), branch(h)))`. A block owns `before` (the shared
    pre-activation; identity elsewhere), `branch` and `after`; it never adds its input itself.
    """

    kind: ClassVar[str] = "block"
    preactivated: ClassVar[bool] = False
    """Whether `before` normalises and activates; the stem then leaves its output raw and `closing` ends the network."""
    upsamples: ClassVar[bool] = False
    """Whether it can raise the resolution by its context's `upsample`."""
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
    """Return the last layer with parameters in a sequence of modules, or () where more than a dropout or average pooling follows."""
    leaves = [module for module in branch.modules() if not any(True for _ in module.children())]
    for module in reversed(leaves):
        if any(True for _ in module.parameters()):
            return (module,)
        if not isinstance(module, nn.Identity | nn.Dropout | nn.Dropout2d | nn.AvgPool2d):
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
    if context.upsample > 1 and not built.upsamples:
        raise ValueError(f"block '{_name(built)}' cannot raise the resolution (by {context.upsample} here); take block generator")
    path = shortcut(
        ShortcutContext(
            in_channels=context.in_channels,
            out_channels=built.out_channels,
            stride=context.stride,
            preactivated=built.preactivated,
            index=context.index,
            num_units=context.num_units,
            upsample=context.upsample,
        )
    )
    _refuse_misfit(built, path)
    return Unit(built, path)


def _refuse_misfit(block: Block, shortcut: Shortcut) -> None:
    names = _name(block), _name(shortcut)
    if block.shortcuts is not None and names[1] not in block.shortcuts:
        raise ValueError(f"block '{names[0]}' runs with the shortcuts {', '.join(block.shortcuts)}; got '{names[1]}'")
    if shortcut.out_channels != block.out_channels and any(True for _ in block.after.parameters()):
        raise ValueError(
            f"block '{names[0]}' has weights after the merge, for {block.out_channels} channels, but shortcut '{names[1]}' makes "
            f"{shortcut.out_channels}; take a block that has none there, or a shortcut that adds"
        )


def _name(part: nn.Module) -> str:
    return str(getattr(type(part), "plugin_name", type(part).__name__))


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
