"""Pre-activation blocks: norm and activation before each convolution (He et al. 2016, 1603.05027)."""

from __future__ import annotations

from torch import nn

from nas.plugin import Activation, Block, Factory, Norm, UnitContext, plugin, use


@plugin("preact_basic")
class PreactBasic(Block):
    """Norm and activation before each of two 3×3 convolutions, nothing after the addition (He et al. 2016, Fig. 4 e)."""

    preactivated = True
    formula = "y = {merge},  F(x) = conv3×3 relu BN conv3×3 (h),  h = relu BN (x)"
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
        self.before = nn.Sequential(norm(context.in_channels), activation())
        self.branch = nn.Sequential(
            nn.Conv2d(context.in_channels, width, 3, context.stride, padding=1, bias=False),
            norm(width),
            activation(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
        )
        self.after = nn.Identity()
        self.out_channels = width
        self._closing = (norm, activation)

    def closing(self) -> nn.Module:
        """One norm and activation before the pooling."""
        norm, activation = self._closing
        return nn.Sequential(norm(self.out_channels), activation())
