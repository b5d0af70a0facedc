"""Batch normalisation."""

from __future__ import annotations

from torch import nn

from nas.plugin import Fraction, Norm, Positive, plugin


@plugin("batch")
class Batch(nn.BatchNorm2d, Norm):
    """Batch normalisation over (B, C, H, W), a scale and a shift a channel (Ioffe and Szegedy 2015, 1502.03167)."""

    def __init__(self, num_channels: int, *, momentum: Fraction = 0.1, eps: Positive = 1e-5) -> None:
        super().__init__(num_channels, momentum=momentum, eps=eps)
