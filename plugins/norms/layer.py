"""Layer normalisation over channels."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from nas.plugin import Norm, Positive, plugin


@plugin("layer")
class Layer(nn.LayerNorm, Norm):
    """Normalisation over the channels of each pixel or token (Ba et al. 2016, 1607.06450; in ConvNeXt 2201.03545, §2.6)."""

    def __init__(self, num_channels: int, *, eps: Positive = 1e-6) -> None:
        super().__init__(num_channels, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same, or (B, N, C) -> the same."""
        if x.dim() != 4:
            return super().forward(x)
        last = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return last.permute(0, 3, 1, 2)
