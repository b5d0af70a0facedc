"""Inverted residuals: narrow ends, a wide middle, a linear last layer (Sandler et al. 2018, 1801.04381)."""

from __future__ import annotations

from torch import nn

from nas.plugin import Activation, Block, Count, Factory, Fraction, Norm, UnitContext, plugin, use

from ._layers import conv, post_activated
from ._squeeze_excite import SqueezeExcite


@plugin("inverted_residual")
class InvertedResidual(Block):
    """1×1 to `expansion` times the input's channels, depthwise 3×3, linear 1×1 (MobileNetV2, Fig. 3 b).

    With `expansion: 1` there is no first 1×1. The paper has no shortcut where the shape changes: shortcut `same_shape`.
    """

    formula = "y = {merge},  F(x) = BN conv1×1 relu6 BN depthwise3×3 relu6 BN conv1×1 (x)"

    def __init__(
        self,
        context: UnitContext,
        *,
        expansion: Count = 6,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu6"),
    ) -> None:
        super().__init__()
        convs = _convs(context, expansion)
        self.before = nn.Identity()
        self.branch = nn.Sequential(*post_activated(convs, norm, activation))
        self.after = nn.Identity()
        self.out_channels, self.num_layers = context.width, len(convs)


@plugin("mbconv")
class MBConv(Block):
    """The inverted residual with squeeze-and-excitation behind the depthwise convolution (Tan and Le 2019, 1905.11946).

    The gate's hidden layer has `squeeze` times the channels that the block is given.
    """

    formula = "y = {merge},  F(x) = BN conv1×1 SE silu BN depthwise3×3 silu BN conv1×1 (x)"

    def __init__(
        self,
        context: UnitContext,
        *,
        expansion: Count = 6,
        squeeze: Fraction = 0.25,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("silu"),
    ) -> None:
        super().__init__()
        convs = _convs(context, expansion)
        *opening, last, last_norm = post_activated(convs, norm, activation)
        gate = SqueezeExcite(convs[-1].in_channels, int(squeeze * context.in_channels), activation)
        self.before = nn.Identity()
        self.branch = nn.Sequential(*opening, gate, last, last_norm)
        self.after = nn.Identity()
        self.out_channels, self.num_layers = context.width, len(convs)


@plugin("fused_mbconv")
class FusedMBConv(Block):
    """The inverted residual with its first 1×1 and its depthwise convolution fused to one 3×3 (Tan and Le 2021, 2104.00298)."""

    formula = "y = {merge},  F(x) = BN conv1×1 silu BN conv3×3 (x)"
    num_layers = 2

    def __init__(
        self,
        context: UnitContext,
        *,
        expansion: Count = 4,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("silu"),
    ) -> None:
        super().__init__()
        wide = context.in_channels * expansion
        convs = [conv(context.in_channels, wide, 3, context.stride), conv(wide, context.width, 1)]
        self.before = nn.Identity()
        self.branch = nn.Sequential(*post_activated(convs, norm, activation))
        self.after = nn.Identity()
        self.out_channels = context.width


def _convs(context: UnitContext, expansion: int) -> list[nn.Conv2d]:
    wide = context.in_channels * expansion
    expand = [conv(context.in_channels, wide, 1)] if expansion > 1 else []
    return [*expand, conv(wide, wide, 3, context.stride, groups=wide), conv(wide, context.width, 1)]
