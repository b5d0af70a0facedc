"""What the networks share: values given by stage or by unit, and units built one after another."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from torch import Tensor, nn

from nas.plugin import Block, Each, Factory, Shortcut, Stem, StemContext, Unit, UnitContext, make_unit

T = TypeVar("T")


def per_stage(name: str, value: Each[T], num_stages: int) -> tuple[T, ...]:
    """Return one value a stage. Raises ValueError where a list has another length."""
    if num_stages < 1:
        raise ValueError("there must be at least one stage: give `widths` (or `stages`) at least one")
    values = value if isinstance(value, tuple) else (value,) * num_stages
    if len(values) != num_stages:
        raise ValueError(f"{name} lists {_count(values, 'value')} for {num_stages} stages; give one value, or one for each stage")
    return values


def per_unit(name: str, value: Each[T], depths: tuple[int, ...]) -> tuple[tuple[T, ...], ...]:
    """Return the values of each stage's units, from one value for all, one a stage or one a unit.

    Raises ValueError where a list has another length.
    """
    num_units = sum(depths)
    if isinstance(value, tuple) and len(value) == num_units:
        values = iter(value)
        return tuple(tuple(next(values) for _ in range(depth)) for depth in depths)
    if isinstance(value, tuple) and len(value) != len(depths):
        raise ValueError(
            f"{name} lists {_count(value, 'value')} for {len(depths)} stages of {num_units} units in all; "
            "give one value, one for each stage, or one for each unit"
        )
    return tuple((each,) * depth for each, depth in zip(per_stage(name, value, len(depths)), depths, strict=True))


def _count(values: tuple[object, ...], noun: str) -> str:
    return f"{len(values)} {noun}{'' if len(values) == 1 else 's'}"


@dataclass
class Line:
    """Builds units one after another: each is told its index and the channels that the one before it gives.

    It grows as they are built, and lives no longer than a network's constructor.
    """

    channels: int
    num_units: int
    index: int = 0
    last: Block | None = None
    place: Callable[..., UnitContext] = UnitContext

    def stage(
        self,
        blocks: tuple[Factory[Block], ...],
        shortcuts: tuple[Factory[Shortcut], ...],
        *,
        width: int,
        stride: int = 1,
        upsample: int = 1,
        stage: int = 0,
        transition: Factory[Block] | None = None,
    ) -> nn.Sequential:
        """Build a stage of one unit for each of `blocks`; the transition before them strides, or else the first unit does.

        The first unit raises the resolution by `upsample`.
        Between a unit that hands on bare sums and one that wants them normalised and activated stands the former's closing.
        Raises ValueError where a block and its shortcut do not go together.
        """
        parts: OrderedDict[str, nn.Module] = OrderedDict()
        if transition is not None:
            parts["transition"] = self._transition(transition(self._place(width, stage, stride)))
            stride = 1
        for position, (block, shortcut) in enumerate(zip(blocks, shortcuts, strict=True), start=1):
            place = self._place(width, stage, stride, upsample) if position == 1 else self._place(width, stage)
            unit = make_unit(block, shortcut, place)
            if self.last is not None and hands_on_sums(self.last) and not hands_on_sums(unit.block):
                parts[f"bridge{position}"] = self.last.closing()
            parts[f"unit{position}"] = unit
            self.channels, self.index, self.last = unit.out_channels, self.index + 1, unit.block
        return nn.Sequential(parts)

    def closing(self) -> nn.Module:
        """Build what follows the last unit."""
        return self.last.closing() if self.last is not None else nn.Identity()

    def goes_on_behind(self, channels: int) -> None:
        """Take note of a layer of another sort that stands behind the units so far and gives `channels` channels."""
        self.channels, self.last = channels, None

    def _transition(self, block: Block) -> Transition:
        self.goes_on_behind(block.out_channels)
        return Transition(block)

    def _place(self, width: int, stage: int, stride: int = 1, upsample: int = 1) -> UnitContext:
        return self.place(
            in_channels=self.channels, width=width, stride=stride, index=self.index, num_units=self.num_units, stage=stage,
            upsample=upsample,
        )  # fmt: skip


class Transition(nn.Module):
    """A block between two stages, alone: no shortcut goes round it, so it is no unit."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block
        self.num_layers = block.num_layers

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/s, W/s)."""
        y: Tensor = self.block.after(self.block.branch(self.block.before(x)))
        return y


def hands_on_sums(block: Block) -> bool:
    """Whether a block hands on bare sums, which is why it needs closing. Units of its kind follow each other: it reads such sums too."""
    return type(block).closing is not Block.closing


def suited(stem: Factory[Stem], context: StemContext, built: Stem, stages: nn.Module) -> Stem:
    """Return the stem that the first unit needs: `built`, or one without its ending where that unit is pre-activated.

    A block can be asked only once it is built, and it is built for the channels that the stem gives: so the stem comes
    first, and again in the rarer case.
    """
    first = next(module for module in stages.modules() if isinstance(module, Unit))
    return stem(replace(context, activated=False)) if first.block.preactivated else built


def layers_in(*parts: nn.Module) -> int:
    """Count the weight layers of stems, transitions, units and heads put in a row."""
    total = 0
    for part in parts:
        own = part.block.num_layers if isinstance(part, Unit) else getattr(part, "num_layers", None)
        total += own if isinstance(own, int) else layers_in(*part.children())
    return total
