"""No normalisation."""

from __future__ import annotations

from torch import nn

from nas.plugin import Norm, plugin


@plugin("none")
class NoNorm(nn.Identity, Norm):
    """x as it is; without a norm the signal of an additive network grows with depth (Zhang et al. 2019, 1901.09321, §2)."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()
