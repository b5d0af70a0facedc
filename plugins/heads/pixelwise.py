"""The segmentation head: one answer a pixel."""

from __future__ import annotations

from torch import Tensor, nn

from nas.plugin import Head, HeadContext, plugin


@plugin("pixelwise")
class Pixelwise(Head):
    """One 1×1 convolution: the class scores of every pixel (Ronneberger et al. 2015, 1505.04597, §2)."""

    def __init__(self, context: HeadContext) -> None:
        super().__init__()
        self.conv = nn.Conv2d(context.in_channels, context.num_outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_outputs, H, W)."""
        scores: Tensor = self.conv(x)
        return scores
