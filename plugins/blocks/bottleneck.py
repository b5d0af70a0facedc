"""The bottleneck block: 1×1, 3×3, 1×1 (He et al. 2015, 1512.03385, Fig. 5 right)."""

from __future__ import annotations

from typing import Literal

from torch import nn

from nas.plugin import Activation, Block, Count, Factory, Norm, UnitContext, plugin, use

from ._layers import bottleneck_convs, post_activated


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
        self.out_channels = context.width * expansion
        convs = bottleneck_convs(context, context.width, self.out_channels, stride_in=stride_in)
        self.before = nn.Identity()
        self.branch = nn.Sequential(*post_activated(convs, norm, activation))
        self.after = activation()
