"""One class for each input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.plugin import ACCURACY, Data, Metric, Task, above_chance, plugin


@plugin("classification")
class Classification(Task):
    """One class for each input, by cross-entropy; the score is the accuracy.

    A training has failed where its accuracy is not above the majority class's share by an exact one-sided binomial test at
    .01; it then scores that share, or in the loss what a uniform guess has.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (ACCURACY,)
    smooths_labels: ClassVar[bool] = True

    def check(self, data: Data) -> None:
        """Targets are int64 (N,), of at least two classes."""
        if data.targets.dim() != 1 or data.targets.is_floating_point():
            raise ValueError(f"needs one class index for each input, int64 (N,), got {data.targets.dtype} {tuple(data.targets.shape)}")

    def output_shape(self, data: Data) -> tuple[int, ...]:
        """One score a class."""
        return (data.num_classes,)

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """(B, C), (B,) -> ()."""
        return F.cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Right answers and answers: (B, C), (B,) -> (2,)."""
        correct = (outputs.argmax(1) == targets).sum()
        return torch.stack((correct, torch.full_like(correct, len(targets))))

    def figures(self, tally: Tensor) -> Mapping[str, float]:
        """The share of right answers."""
        correct, count = tally.tolist()
        return {"accuracy": correct / count}

    def constant(self, targets: Tensor, output_shape: tuple[int, ...]) -> Mapping[str, float]:
        """The majority class's share, and the loss of a uniform guess."""
        return {"accuracy": float(targets.bincount().max()) / len(targets), "loss": math.log(output_shape[0])}

    def learned_nothing(self, tally: Tensor, chance: float) -> str:
        """Test the right answers against `chance`."""
        correct, count = (int(number) for number in tally.tolist())
        if above_chance(correct, count, chance):
            return ""
        level = f"the chance level {chance:.1%}" if self.chance is not None else f"the majority class's {chance:.1%}"
        return f"{correct} of {count} right is not above {level}"
