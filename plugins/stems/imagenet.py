"""Stems for large pictures: they quarter the resolution before the first stage."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from nas.plugin import Activation, Count, Factory, Norm, Stem, StemContext, plugin, use

from ._ending import norm_and_activation

Ending = Literal["auto", "activated"]
"""What stands before the pooling: `auto` leaves norm and activation out where the first block brings its own."""


@plugin("imagenet")
class ImageNet(Stem):
    """A 7×7 convolution of stride 2 with norm and activation, then 3×3 max pooling of stride 2 (He et al. 2015, Table 1).

    `width` is the channels it gives, by default those of the first stage. Before a pre-activation block norm and activation
    are left out, unless `ending: activated` keeps them, as DenseNet does (Huang et al. 2017, 1608.06993, Table 1).
    """

    def __init__(
        self,
        context: StemContext,
        *,
        width: Count | None = None,
        ending: Ending = "auto",
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        self.out_channels = width or context.width
        self.conv = nn.Conv2d(context.in_channels, self.out_channels, 7, 2, padding=3, bias=False)
        self.ending = norm_and_activation(self.out_channels, norm, activation, present=context.activated or ending == "activated")
        self.pool = nn.MaxPool2d(3, 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H/4, W/4)."""
        y: Tensor = self.pool(self.ending(self.conv(x)))
        return y


@plugin("deep")
class Deep(Stem):
    """Three 3×3 convolutions in place of the 7×7, the first of stride 2, then max pooling (He, T. et al. 2018, 1812.01187, ResNet-C).

    The first two have `inner` channels, by default half of `width`, which is by default the first stage's. Before a
    pre-activation block the last norm and activation are left out, unless `ending: activated` keeps them.
    """

    num_layers = 3

    def __init__(
        self,
        context: StemContext,
        *,
        width: Count | None = None,
        inner: Count | None = None,
        ending: Ending = "auto",
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        self.out_channels = width or context.width
        middle = inner or max(1, self.out_channels // 2)
        self.convs = nn.Sequential(
            nn.Conv2d(context.in_channels, middle, 3, 2, padding=1, bias=False),
            norm(middle),
            activation(),
            nn.Conv2d(middle, middle, 3, padding=1, bias=False),
            norm(middle),
            activation(),
            nn.Conv2d(middle, self.out_channels, 3, padding=1, bias=False),
        )
        self.ending = norm_and_activation(self.out_channels, norm, activation, present=context.activated or ending == "activated")
        self.pool = nn.MaxPool2d(3, 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H/4, W/4)."""
        y: Tensor = self.pool(self.ending(self.convs(x)))
        return y
