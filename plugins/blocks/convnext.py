"""The ConvNeXt block (Liu et al. 2022, 2201.03545)."""

from __future__ import annotations

from torch import nn

from nas.plugin import Activation, Block, Count, Factory, Norm, UnitContext, plugin, use

from ._layers import Pointwise, conv


@plugin("convnext")
class ConvNeXt(Block):
    """Depthwise 7×7, layer norm over channels, an MLP of `expansion` times the width pixel by pixel (Fig. 4 right).

    Its γ is the shortcut's: `layer_scale`. Where the shape changes, the depthwise convolution strides and the MLP
    changes the channels; the paper has layers of their own there.
    """

    formula = "y = {merge},  F(x) = conv1×1 gelu conv1×1 LN depthwise7×7 (x)"
    num_layers = 3

    def __init__(
        self,
        context: UnitContext,
        *,
        expansion: Count = 4,
        norm: Factory[Norm] = use("layer"),
        activation: Factory[Activation] = use("gelu"),
    ) -> None:
        super().__init__()
        channels, width = context.in_channels, context.width
        self.before = nn.Identity()
        self.branch = nn.Sequential(
            conv(channels, channels, 7, context.stride, groups=channels, bias=True),
            norm(channels),
            Pointwise(channels, expansion * width),
            activation(),
            Pointwise(expansion * width, width),
        )
        self.after = nn.Identity()
        self.out_channels = width
        self._norm = (norm,)

    def closing(self) -> nn.Module:
        """One norm before the pooling: nothing follows the addition."""
        return self._norm[0](self.unit_channels)
