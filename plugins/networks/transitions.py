"""The layers that some families put between two stages."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from nas.plugin import Activation, Bounds, Factory, Norm, plugin, use

from ._transition import Transition, TransitionContext

AboveZero = Annotated[float, Bounds(0.01, 1.0)]


@plugin("norm_conv")
class NormConv(Transition):
    """A norm, then a convolution as large as its stride to the next stage's width: ConvNeXt's (2201.03545, §2.6)."""

    def __init__(self, context: TransitionContext, *, norm: Factory[Norm] = use("layer")) -> None:
        super().__init__()
        self.norm = norm(context.in_channels)
        self.conv = nn.Conv2d(context.in_channels, context.width, context.stride, context.stride)
        self.out_channels = context.width

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H/s, W/s)."""
        y: Tensor = self.conv(self.norm(x))
        return y


@plugin("compress")
class Compress(Transition):
    """Norm, activation, a 1×1 convolution to `compression` times the channels, average pooling: DenseNet's (1608.06993, §3)."""

    def __init__(
        self,
        context: TransitionContext,
        *,
        compression: AboveZero = 1.0,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        self.out_channels = max(1, int(compression * context.in_channels))
        self.layers = nn.Sequential(
            norm(context.in_channels),
            activation(),
            nn.Conv2d(context.in_channels, self.out_channels, 1, bias=False),
            nn.AvgPool2d(context.stride) if context.stride > 1 else nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, compression · C, H/s, W/s)."""
        y: Tensor = self.layers(x)
        return y
