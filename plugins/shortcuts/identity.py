"""The parameter-free shortcut, option A of He et al. 2015."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from nas.plugin import Shortcut, ShortcutContext, plugin


@plugin("identity")
class Identity(Shortcut):
    """x itself; where the shape changes, every s-th pixel and zeros for the new channels (He et al. 2015, option A).

    The zeros stand on both sides of the channels, as in the published CIFAR code. It adds no parameters.
    """

    formula = "x + F(x)"

    def __init__(self, context: ShortcutContext) -> None:
        super().__init__()
        self.stride = context.stride
        # A negative pad drops channels from both ends: a bottleneck may narrow its input.
        missing = context.out_channels - context.in_channels
        self.padding = (missing // 2, missing - missing // 2)
        self.out_channels = context.out_channels

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/s, W/s)."""
        if self.stride > 1:
            x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, *self.padding)) if any(self.padding) else x
