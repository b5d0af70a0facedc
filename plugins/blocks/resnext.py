"""The ResNeXt block: a bottleneck whose 3×3 convolution is grouped (Xie et al. 2017, 1611.05431)."""

from __future__ import annotations

from torch import nn

from nas.plugin import Activation, Block, Count, Factory, Norm, UnitContext, plugin, use

from ._layers import bottleneck_convs, post_activated


@plugin("resnext")
class ResNeXt(Block):
    """1×1, 3×3 in `cardinality` groups of `base_width` channels, 1×1 to `expansion` times the width (Fig. 3 c).

    `base_width` is a group's width in a stage of width 64 and grows with the stage, as torchvision counts it: 32 and 4
    at widths 64, 128, 256 and 512 are ResNeXt-50 32x4d.
    """

    formula = "y = relu({merge}),  F(x) = BN conv1×1 relu BN grouped3×3 relu BN conv1×1 (x)"
    num_layers = 3

    def __init__(
        self,
        context: UnitContext,
        *,
        cardinality: Count = 32,
        base_width: Count = 4,
        expansion: Count = 4,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        inner = cardinality * max(1, context.width * base_width // 64)
        self.out_channels = context.width * expansion
        self.before = nn.Identity()
        self.branch = nn.Sequential(
            *post_activated(bottleneck_convs(context, inner, self.out_channels, groups=cardinality), norm, activation)
        )
        self.after = activation()
