"""A norm: built as norm(num_channels), keeps the shape."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.plugin import Norm, Positive, plugin


@plugin("my_plugin")
class MyPlugin(Norm):
    """Each pixel divided by the root of the mean square over its channels, with a learned scale a channel."""

    def __init__(self, num_channels: int, *, eps: Positive = 1e-6) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(num_channels, 1, 1))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.scale * x * (x.square().mean(dim=1, keepdim=True) + self.eps).rsqrt()
