"""The parameter-free shortcut, option A of He et al. 2015."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from nas.plugin import Shortcut, ShortcutContext, plugin

from ._match import enlarged


@plugin("identity")
class Identity(Shortcut):
    """x itself; where the shape changes, every s-th pixel and zeros for the new channels (He et al. 2015, option A).

    The zeros stand on both sides of the channels, as in the published CIFAR code. Where the resolution rises every pixel
    is repeated. It adds no parameters.
    """

    formula = "x + F(x)"

    def __init__(self, context: ShortcutContext) -> None:
        super().__init__()
        self.stride, self.upsample = context.stride, context.upsample
        # A negative pad drops channels from both ends: a bottleneck may narrow its input.
        missing = context.out_channels - context.in_channels
        self.padding = (missing // 2, missing - missing // 2)
        self.out_channels = context.out_channels

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/s, W/s)."""
        x = enlarged(x, self.upsample)
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, *self.padding)) if any(self.padding) else x
