"""An optimizer: build(parameters) returns a torch.optim.Optimizer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from nas.plugin import Fraction, Optimizer, Positive, plugin


@plugin("my_plugin")
class MyPlugin(Optimizer):
    """RMSprop, each step divided by a running root mean square of the gradient."""

    def __init__(self, *, lr: Positive = 1e-3, alpha: Fraction = 0.99) -> None:
        self.lr, self.alpha = lr, alpha

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer over `parameters`."""
        return torch.optim.RMSprop(parameters, self.lr, alpha=self.alpha)
