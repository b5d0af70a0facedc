"""Stems of one convolution: the CIFAR stem."""

from __future__ import annotations

from torch import Tensor, nn

from nas.plugin import Activation, Count, Factory, Norm, Stem, StemContext, plugin, use


@plugin("conv3x3")
class Conv3x3(Stem):
    """One 3×3 convolution with norm and activation, at full resolution (He et al. 2015, §4.2).

    `width` is the channels it gives, by default those of the first stage. Before a pre-activation block it ends after the
    convolution, since the block brings norm and activation.
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
        self.conv = nn.Conv2d(context.in_channels, self.out_channels, 3, padding=1, bias=False)
        self.norm = norm(self.out_channels) if context.activated else nn.Identity()
        self.activation = activation() if context.activated else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H, W)."""
        y: Tensor = self.activation(self.norm(self.conv(x)))
        return y
