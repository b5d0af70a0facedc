"""Layer 1: what a network is trained with: optimizers and schedules."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import nn


class Optimizer:
    """A recipe for a `torch.optim.Optimizer`: `build(parameters)`."""

    kind: ClassVar[str] = "optimizer"

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer over `parameters`."""
        raise NotImplementedError(f"optimizer {type(self).__name__} defines no build(parameters)")


class Schedule:
    """How the learning rate moves over a training: `factor(step, num_steps)` multiplies it."""

    kind: ClassVar[str] = "schedule"

    def factor(self, step: int, num_steps: int) -> float:
        """Return the factor at optimizer step `step` of `num_steps`, counted from 0."""
        raise NotImplementedError(f"schedule {type(self).__name__} defines no factor(step, num_steps)")
