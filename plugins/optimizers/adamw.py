"""Adam with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from nas.plugin import Fraction, Optimizer, Positive, plugin

from ._fused import fits_fused


@plugin("adamw")
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, 1711.05101)."""

    def __init__(self, *, lr: Positive = 1e-3, beta1: Fraction = 0.9, beta2: Fraction = 0.999, weight_decay: Positive = 1e-2) -> None:
        self.lr, self.betas, self.weight_decay = lr, (beta1, beta2), weight_decay

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer over `parameters`."""
        given = list(parameters)
        return torch.optim.AdamW(given, self.lr, betas=self.betas, weight_decay=self.weight_decay, fused=fits_fused(given))
