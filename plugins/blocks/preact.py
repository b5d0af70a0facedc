"""Pre-activation blocks: norm and activation before each convolution (He et al. 2016, 1603.05027)."""

from __future__ import annotations

from typing import Literal

from torch import nn

from nas.plugin import Activation, Block, Count, Factory, Norm, UnitContext, plugin, use

from ._layers import Layers, basic_convs, bottleneck_convs, pre_activated, repeated


@plugin("preact_basic")
class PreactBasic(Block):
    """Norm and activation before each of two 3×3 convolutions, nothing after the addition (He et al. 2016, Fig. 4 e).

    `layers` is the number of convolutions that one shortcut spans.
    """

    preactivated = True
    formula = "y = {merge},  F(x) = conv3×3 relu BN conv3×3 (h),  h = relu BN (x)"

    def __init__(
        self,
        context: UnitContext,
        *,
        layers: Layers = 2,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        self.before = nn.Sequential(norm(context.in_channels), activation())
        self.branch = nn.Sequential(*pre_activated(basic_convs(context, context.width, layers), norm, activation))
        self.after = nn.Identity()
        self.out_channels = context.width
        self.num_layers = layers
        self.formula = f"y = {{merge}},  F(x) = {repeated('conv3×3', ' relu BN ', layers)} (h),  h = relu BN (x)"
        self._closing = (norm, activation)

    def closing(self) -> nn.Module:
        """One norm and activation before the pooling."""
        norm, activation = self._closing
        return nn.Sequential(norm(self.unit_channels), activation())


@plugin("preact_bottleneck")
class PreactBottleneck(Block):
    """Norm and activation before each of 1×1, 3×3 and 1×1, nothing after the addition (He et al. 2016, §4.1, ResNet-164)."""

    preactivated = True
    formula = "y = {merge},  F(x) = conv1×1 relu BN conv3×3 relu BN conv1×1 (h),  h = relu BN (x)"
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
        self.before = nn.Sequential(norm(context.in_channels), activation())
        self.branch = nn.Sequential(*pre_activated(convs, norm, activation))
        self.after = nn.Identity()
        self._closing = (norm, activation)

    def closing(self) -> nn.Module:
        """One norm and activation before the pooling."""
        norm, activation = self._closing
        return nn.Sequential(norm(self.unit_channels), activation())
