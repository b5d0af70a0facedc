"""Fully connected residual networks for vectors."""

from __future__ import annotations

import math
from typing import Annotated

from torch import Tensor, nn

from nas.plugin import (
    Activation,
    Block,
    Bounds,
    Count,
    Each,
    Factory,
    Head,
    HeadContext,
    Initialisation,
    Network,
    NetworkContext,
    Norm,
    Shortcut,
    Stem,
    StemContext,
    UnitContext,
    plugin,
    use,
)

from ._line import Line, layers_in, per_stage, per_unit, suited


@plugin("fully_connected")
class FullyConnected(Block):
    """`layers` fully connected layers, each with a norm; the activation follows the addition.

    It is the basic block (He et al. 2015, Fig. 5 left) with 1×1 convolutions, which treat every pixel by itself; a vector
    is a picture of one pixel, (B, F, 1, 1). Where the resolution falls, the first one is strided.
    """

    formula = "y = relu({merge}),  F(x) = BN W relu BN W (x)"

    def __init__(
        self,
        context: UnitContext,
        *,
        layers: Annotated[int, Bounds(1, 5)] = 2,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        width = context.width
        parts: list[nn.Module] = [nn.Conv2d(context.in_channels, width, 1, context.stride, bias=False), norm(width)]
        for _ in range(layers - 1):
            parts += [activation(), nn.Conv2d(width, width, 1, bias=False), norm(width)]
        self.before = nn.Identity()
        self.branch = nn.Sequential(*parts)
        self.after = activation()
        self.out_channels = width
        self.num_layers = layers
        self.formula = f"y = relu({{merge}}),  F(x) = {' relu '.join(['BN W'] * layers)} (x)"


@plugin("mlp")
class MLP(Network):
    """Reads any input as one vector: a layer to the first width, stages of `depth` fully connected units, a linear layer.

    `widths` has one entry a stage; `depth` is one value or one a stage, `block` and `shortcut` may also list one a unit.
    Vectors travel as (B, F, 1, 1), so that every block, shortcut and norm of the picture networks fits.
    """

    def __init__(
        self,
        context: NetworkContext,
        *,
        stem: Factory[Stem] = use("conv1x1"),
        widths: tuple[Count, ...] = (64,),
        depth: Each[Count] = 3,
        block: Each[Factory[Block]] = use("fully_connected"),
        shortcut: Each[Factory[Shortcut]] = use("identity"),
        head: Factory[Head] = use("linear"),
        init: Factory[Initialisation] = use("kaiming"),
    ) -> None:
        super().__init__()
        depths = per_stage("depth", depth, len(widths))
        blocks, shortcuts = per_unit("block", block, depths), per_unit("shortcut", shortcut, depths)
        place = StemContext(math.prod(context.input_shape), widths[0])
        self.stem = stem(place)
        line = Line(self.stem.out_channels, num_units=sum(depths))
        self.stages = nn.Sequential(
            *(line.stage(blocks[stage], shortcuts[stage], width=width, stage=stage) for stage, width in enumerate(widths))
        )
        self.stem = suited(stem, place, self.stem, self.stages)
        self.closing = line.closing()
        self.head = head(HeadContext(line.channels, context.num_outputs))
        self.initialisation = init()
        self.num_layers = layers_in(*self.children())

    def forward(self, x: Tensor) -> Tensor:
        """(B, …) -> (B, num_outputs)."""
        vectors = x.flatten(1)[:, :, None, None]
        logits: Tensor = self.head(self.closing(self.stages(self.stem(vectors))))
        return logits
