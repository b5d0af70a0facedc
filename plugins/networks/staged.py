"""The staged residual network: a stem, stages of equal units at falling resolution, a head."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn

from nas.plugin import (
    Block,
    Count,
    Each,
    Factory,
    Head,
    HeadContext,
    Initialisation,
    Network,
    NetworkContext,
    Shortcut,
    Stem,
    StemContext,
    UnitContext,
    make_unit,
    plugin,
    use,
)

T = TypeVar("T")


@plugin("staged")
class Staged(Network):
    """A stem, then stages of `depth` units each, then a head (He et al. 2015, 1512.03385, §4.2).

    The first unit of every stage but the first halves the resolution. `widths` has one entry a stage; `depth`, `block`
    and `shortcut` are one value for all stages or a list with one value a stage.
    """

    def __init__(
        self,
        context: NetworkContext,
        *,
        stem: Factory[Stem] = use("conv3x3"),
        widths: tuple[Count, ...] = (16, 32, 64),
        depth: Each[Count] = 3,
        block: Each[Factory[Block]] = use("basic"),
        shortcut: Each[Factory[Shortcut]] = use("identity"),
        head: Factory[Head] = use("linear"),
        init: Factory[Initialisation] = use("kaiming"),
    ) -> None:
        super().__init__()
        depths = _each("depth", depth, len(widths))
        blocks = _each("block", block, len(widths))
        shortcuts = _each("shortcut", shortcut, len(widths))
        # The stem has to know whether the first block brings its own norm and activation; a plugin says so itself.
        probe = blocks[0](UnitContext(in_channels=widths[0], width=widths[0]))
        self.stem = stem(StemContext(context.input_shape[0], widths[0], activated=not probe.preactivated))
        channels = self.stem.out_channels
        units: list[nn.Module] = []
        for stage, width in enumerate(widths):
            for position in range(depths[stage]):
                place = UnitContext(
                    in_channels=channels,
                    width=width,
                    stride=2 if stage > 0 and position == 0 else 1,
                    index=len(units),
                    num_units=sum(depths),
                    stage=stage,
                )
                unit = make_unit(blocks[stage], shortcuts[stage], place)
                channels = unit.out_channels
                units.append(unit)
        self.body = nn.Sequential(*units)
        self.closing = unit.block.closing()
        self.head = head(HeadContext(channels, context.num_outputs))
        self.initialisation = init()
        self.num_layers = self.stem.num_layers + self.head.num_layers + sum(u.block.num_layers for _, u in self.units())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_outputs)."""
        logits: Tensor = self.head(self.closing(self.body(self.stem(x))))
        return logits


def _each(name: str, value: Each[T], num_stages: int) -> tuple[T, ...]:
    values = value if isinstance(value, tuple) else (value,) * num_stages
    if len(values) != num_stages:
        raise ValueError(f"{name} lists {len(values)} values for {num_stages} stages (one for each of `widths`)")
    return values
