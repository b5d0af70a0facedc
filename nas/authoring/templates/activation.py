"""An activation: elementwise, built as activation()."""

from __future__ import annotations

import torch
from torch import Tensor

from nas.plugin import Activation, plugin


@plugin("my_plugin")
class MyPlugin(Activation):
    """x σ(`slope` x)."""

    def __init__(self, *, slope: float = 1.0) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """(B, …) -> (B, …), each value by itself."""
        return x * torch.sigmoid(self.slope * x)
