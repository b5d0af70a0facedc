"""The bottleneck block: 1×1, 3×3, 1×1 (He et al. 2015, 1512.03385, Fig. 5 right)."""

from __future__ import annotations

from typing import Literal

from torch import nn

from nas.plugin import Activation, Block, Count, Factory, Norm, UnitContext, plugin, use


@plugin("bottleneck")
class Bottleneck(Block):
    """1×1 to the width, 3×3, 1×1 to `expansion` times the width (He et al. 2015, Fig. 5 right).

    The paper strides the first 1×1; most later code, torchvision's too, strides the 3×3, which is the default here.
    """

    formula = "y = relu({merge}),  F(x) = BN conv1×1 relu BN conv3×3 relu BN conv1×1 (x)"
    num_layers = 3

    def __init__(
        self,
        context: UnitContext,
        *,
        expansion: Count = 4,
        stride_in: Literal["3x3", "1x1"] = "3x3",
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        width, out = context.width, context.width * expansion
        first, second = (context.stride, 1) if stride_in == "1x1" else (1, context.stride)
        self.before = nn.Identity()
        self.branch = nn.Sequential(
            nn.Conv2d(context.in_channels, width, 1, first, bias=False),
            norm(width),
            activation(),
            nn.Conv2d(width, width, 3, second, padding=1, bias=False),
            norm(width),
            activation(),
            nn.Conv2d(width, out, 1, bias=False),
            norm(out),
        )
        self.after = activation()
        self.out_channels = out
