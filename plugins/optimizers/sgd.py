"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from nas.plugin import Fraction, Optimizer, Positive, plugin

from ._fused import fits_fused


@plugin("sgd")
class SGD(Optimizer):
    """Stochastic gradient descent with momentum and weight decay, the residual papers' optimizer."""

    def __init__(self, *, lr: Positive = 0.1, momentum: Fraction = 0.9, weight_decay: Positive = 1e-4, nesterov: bool = False) -> None:
        self.lr, self.momentum, self.weight_decay, self.nesterov = lr, momentum, weight_decay, nesterov

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer over `parameters`."""
        given = list(parameters)
        return torch.optim.SGD(
            given, self.lr, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=self.nesterov, fused=fits_fused(given)
        )
