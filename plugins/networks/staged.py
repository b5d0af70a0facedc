"""The staged residual network: a stem, stages of units at falling resolution, a head."""

from __future__ import annotations

from typing import Literal

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
    plugin,
    use,
)

from ._line import Line, layers_in, per_stage, per_unit, suited


@plugin("staged")
class Staged(Network):
    """A stem, then stages of `depth` units each, then a head (He et al. 2015, 1512.03385, §4.2).

    `widths` has one entry a stage. `depth` is one value for all stages or a list with one a stage; `block` and `shortcut`
    may also list one a unit. `strides` says by how much the resolution falls into each stage: by default not into the
    first and by 2 into every other. The stage's first unit does that, unless a `transition` stands before it (ConvNeXt).

    Blocks may be mixed: between a pre-activation unit and a post-activation one stands the norm and activation that the
    former leaves to its follower.
    `closing: none` leaves out the last block's norm and activation before the head, for a head that brings its own.
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
        strides: tuple[Count, ...] | None = None,
        transition: Factory[Block] | None = None,
        closing: Literal["block", "none"] = "block",
        head: Factory[Head] = use("linear"),
        init: Factory[Initialisation] = use("kaiming"),
    ) -> None:
        super().__init__()
        depths = per_stage("depth", depth, len(widths))
        blocks, shortcuts = per_unit("block", block, depths), per_unit("shortcut", shortcut, depths)
        falling: Each[int] = strides or (1, *(2 for _ in widths[1:]))
        steps = per_stage("strides", falling, len(widths))
        place = StemContext(context.input_shape[0], widths[0])
        self.stem = stem(place)
        line = Line(self.stem.out_channels, num_units=sum(depths))
        self.stages = nn.Sequential()
        for stage, (width, stride) in enumerate(zip(widths, steps, strict=True)):
            between = transition if stage > 0 else None
            self.stages.append(line.stage(blocks[stage], shortcuts[stage], width=width, stride=stride, stage=stage, transition=between))
        self.stem = suited(stem, place, self.stem, self.stages)
        self.closing = line.closing() if closing == "block" else nn.Identity()
        self.head = head(HeadContext(line.channels, context.num_outputs))
        self.initialisation = init()
        self.num_layers = layers_in(*self.children())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_outputs)."""
        logits: Tensor = self.head(self.closing(self.stages(self.stem(x))))
        return logits
