"""A task: the loss, the figures, and when a training counts as failed. A data set serves it that names it in `tasks`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.plugin import Data, Metric, Task, plugin


@plugin("my_plugin")
class MyPlugin(Task):
    """One class for each input, by cross-entropy; the score is the share of inputs whose class is among the two most likely."""

    metrics: ClassVar[tuple[Metric, ...]] = (Metric("top_two", is_share=True),)
    smooths_labels: ClassVar[bool] = True

    def __init__(self, *, chance: float | None = None, failure_score: float | None = None) -> None:
        super().__init__(chance=chance, failure_score=failure_score)

    def check(self, data: Data) -> None:
        """Targets are int64 (N,)."""
        if data.targets.dim() != 1 or data.targets.is_floating_point():
            raise ValueError(f"needs one class index for each input, int64 (N,), got {data.targets.dtype} {tuple(data.targets.shape)}")

    def output_shape(self, data: Data) -> tuple[int, ...]:
        """One score a class."""
        return (data.num_classes,)

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """(B, C), (B,) -> ()."""
        return F.cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Inputs whose class is among the two most likely, and inputs: (B, C), (B,) -> (2,)."""
        found = (outputs.topk(2, dim=1).indices == targets[:, None]).any(1).sum()
        return torch.stack((found, found.new_tensor(len(targets))))

    def figures(self, tally: Tensor) -> Mapping[str, float]:
        """The share of them."""
        found, count = tally.tolist()
        return {"top_two": found / count}

    def constant(self, targets: Tensor, output_shape: tuple[int, ...]) -> Mapping[str, float]:
        """The share of the two most frequent classes, and the loss of a uniform guess."""
        frequent = targets.bincount().sort(descending=True).values[:2]
        return {"top_two": float(frequent.sum()) / len(targets), "loss": math.log(output_shape[0])}
