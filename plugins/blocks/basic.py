"""The basic block: two 3×3 convolutions (He et al. 2015, 1512.03385, Fig. 5 left)."""

from __future__ import annotations

from torch import nn

from nas.plugin import Activation, Block, Factory, Norm, UnitContext, plugin, use


@plugin("basic")
class Basic(Block):
    """Two 3×3 convolutions, each with a norm; the activation follows the addition (He et al. 2015, Fig. 5 left)."""

    formula = "y = relu({merge}),  F(x) = BN conv3×3 relu BN conv3×3 (x)"
    num_layers = 2

    def __init__(
        self,
        context: UnitContext,
        *,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        width = context.width
        self.before = nn.Identity()
        self.branch = nn.Sequential(
            nn.Conv2d(context.in_channels, width, 3, context.stride, padding=1, bias=False),
            norm(width),
            activation(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            norm(width),
        )
        self.after = activation()
        self.out_channels = width
