"""A shortcut: the other path of a unit, and how the two are merged."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from nas.plugin import Shortcut, ShortcutContext, plugin


@plugin("my_plugin")
class MyPlugin(Shortcut):
    """`share` of x beside F(x); where the shape changes, every s-th pixel and zeros for the new channels."""

    formula = "share x + F(x)"

    def __init__(self, context: ShortcutContext, *, share: float = 0.5) -> None:
        super().__init__()
        self.share, self.stride, self.upsample = share, context.stride, context.upsample
        self.connects = share != 0
        self.missing = context.out_channels - context.in_channels
        self.out_channels = context.out_channels

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/s, W/s); h is x behind the block's norm and activation, where it has them there."""
        if self.upsample > 1:
            x = F.interpolate(x, scale_factor=self.upsample)
        x = x[:, :, :: self.stride, :: self.stride]
        return self.share * F.pad(x, (0, 0, 0, 0, 0, self.missing))
