"""Numbers for each input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.plugin import MSE, R2, Data, Metric, Task, plugin

_LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": F.mse_loss, "mae": F.l1_loss, "huber": F.huber_loss}


@plugin("regression")
class Regression(Task):
    """D numbers for each input; the score is R², the share of the targets' variance that is explained.

    Targets are standardised by the training part, each of the D by itself, so `mse` and the loss count in its variances: a
    network that always answers the mean has about 1. R² is taken over all D together. A training has failed where it is
    not above 0, which answering the mean gets.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (R2, MSE)

    def __init__(
        self, *, loss: Literal["mse", "mae", "huber"] = "mse", chance: float | None = None, failure_score: float | None = None
    ) -> None:
        super().__init__(chance=chance, failure_score=failure_score)
        self.loss_name = loss

    def check(self, data: Data) -> None:
        """Targets are float32 (N, D)."""
        if data.targets.dim() != 2 or not data.targets.is_floating_point():
            raise ValueError(f"needs numbers for each input, float32 (N, D), got {data.targets.dtype} {tuple(data.targets.shape)}")

    def output_shape(self, data: Data) -> tuple[int, ...]:
        """D numbers."""
        return (data.targets.shape[1],)

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """(B, D), (B, D) -> ()."""
        return _LOSSES[self.loss_name](outputs, targets)

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Squared errors, squared targets, how many of each, examples, and the targets by column: (B, D), (B, D) -> (D + 4,)."""
        error, square = (outputs - targets).square().sum(), targets.square().sum()
        counts = (torch.full_like(error, count) for count in (targets.numel(), len(targets)))
        return torch.cat((torch.stack((error, square, *counts)), targets.sum(0)))

    def figures(self, tally: Tensor) -> Mapping[str, float]:
        """R² over all columns, and the mean squared error."""
        error, square, numbers, examples, *sums = tally.double().tolist()
        variance = square - sum(column**2 for column in sums) / examples
        return {"r2": 1 - error / variance if variance > 0 else float("-inf"), "mse": error / numbers}

    def constant(self, targets: Tensor, output_shape: tuple[int, ...]) -> Mapping[str, float]:
        """The mean of each column."""
        mean = targets.mean(0, keepdim=True).expand_as(targets)
        return {"r2": 0.0, "mse": float(F.mse_loss(mean, targets)), "loss": float(self.loss(mean, targets))}
