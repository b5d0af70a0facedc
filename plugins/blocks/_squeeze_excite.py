"""Squeeze-and-excitation, shared by the blocks that use it (Hu et al. 2018, 1709.01507)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nas.plugin import Activation, Factory


class SqueezeExcite(nn.Module):
    """Scale each channel by what the whole picture says: s = σ(W₂ act(W₁ mean(x))), x ⊙ s.

    Its hidden layer has `hidden` units, but at least four: the papers' have no fewer, and one rectifier alone may never open.
    Its two layers gate the branch and are not counted among its weight layers: SE-ResNet-50 is the 50-layer network.
    """

    def __init__(self, channels: int, hidden: int, activation: Factory[Activation]) -> None:
        super().__init__()
        hidden = max(4, hidden)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.activation = activation()
        self.expand = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        squeezed = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.expand(self.activation(self.reduce(squeezed))))
