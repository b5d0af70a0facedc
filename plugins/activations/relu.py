"""The rectified linear unit."""

from __future__ import annotations

from torch import nn

from nas.plugin import Activation, plugin


@plugin("relu")
class ReLU(nn.ReLU, Activation):
    """max(0, x) (Nair and Hinton 2010)."""

    def __init__(self) -> None:
        super().__init__()
