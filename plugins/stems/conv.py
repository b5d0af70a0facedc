"""Stems of one convolution: the CIFAR stem, its 1×1 form for vectors, and patches."""

from __future__ import annotations

from torch import Tensor, nn

from nas.plugin import Activation, Count, Factory, Norm, Stem, StemContext, plugin, use

from ._ending import norm_and_activation


@plugin("conv3x3")
class Conv3x3(Stem):
    """One 3×3 convolution with norm and activation, at full resolution (He et al. 2015, §4.2).

    `width` is the channels it gives, by default those of the first stage. Before a pre-activation block it ends after the
    convolution, since the block brings norm and activation. With `stride: 2` it is MobileNetV2's stem.
    """

    def __init__(
        self,
        context: StemContext,
        *,
        width: Count | None = None,
        stride: Count = 1,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        self.out_channels = width or context.width
        self.conv = nn.Conv2d(context.in_channels, self.out_channels, 3, stride, padding=1, bias=False)
        self.ending = norm_and_activation(self.out_channels, norm, activation, present=context.activated)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H/s, W/s)."""
        y: Tensor = self.ending(self.conv(x))
        return y


@plugin("conv1x1")
class Conv1x1(Stem):
    """One 1×1 convolution with norm and activation: on vectors (B, C, 1, 1) a fully connected layer.

    `width` is the channels it gives, by default those of the first stage. Before a pre-activation block it ends after the
    convolution.
    """

    def __init__(
        self,
        context: StemContext,
        *,
        width: Count | None = None,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        self.out_channels = width or context.width
        self.conv = nn.Conv2d(context.in_channels, self.out_channels, 1, bias=False)
        self.ending = norm_and_activation(self.out_channels, norm, activation, present=context.activated)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H, W)."""
        y: Tensor = self.ending(self.conv(x))
        return y


@plugin("patchify")
class Patchify(Stem):
    """Cuts the picture into `size`×`size` patches, each projected by one linear layer, then a norm.

    With 4×4 patches and layer norm it is ConvNeXt's stem (Liu et al. 2022, 2201.03545, §2.2), with 16×16 patches and no
    norm that of the transformers (Dosovitskiy et al. 2021, 2010.11929, §3.1). Pixels beyond the last whole patch are not
    read. Before a pre-activation block it ends without norm.
    """

    def __init__(self, context: StemContext, *, size: Count = 4, width: Count | None = None, norm: Factory[Norm] = use("layer")) -> None:
        super().__init__()
        self.out_channels = width or context.width
        self.conv = nn.Conv2d(context.in_channels, self.out_channels, size, size)
        self.norm = norm(self.out_channels) if context.activated else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H/size, W/size)."""
        y: Tensor = self.norm(self.conv(x))
        return y
