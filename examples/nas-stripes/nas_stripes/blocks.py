"""A block of two one-dimensional convolutions."""

from __future__ import annotations

from torch import nn

from nas.plugin import Activation, Block, Count, Factory, Norm, UnitContext, plugin, use


@plugin("crossed")
class Crossed(Block):
    """A convolution down the columns, then one along the rows."""

    formula = "y = relu({merge}),  F(x) = BN conv1×k relu BN convk×1 (x)"
    num_layers = 2

    def __init__(
        self,
        context: UnitContext,
        *,
        reach: Count = 1,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        width, size = context.width, 2 * reach + 1
        self.before = nn.Identity()
        self.branch = nn.Sequential(
            nn.Conv2d(context.in_channels, width, (size, 1), (context.stride, 1), (reach, 0), bias=False),
            norm(width),
            activation(),
            nn.Conv2d(width, width, (1, size), (1, context.stride), (0, reach), bias=False),
            norm(width),
        )
        self.after = activation()
        self.out_channels = width
