"""Layer 1: tasks: what a network is asked for, so which loss it is trained with and which figures it is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from nas.plugin.data import Data
from nas.values.metrics import LOSS, Metric


class Task:
    """What a data set is for: the loss, the metrics, and when a training counts as failed.

    `metrics` names the figures beside the loss; the first one is the objective where a space names none, and decides
    whether a network learned anything. Figures are summed up batch by batch: `tally` counts, `figures` reads the counts.

    `chance` sets the level of the first metric that a network has to exceed, `failure_score` what a failed training scores
    in it; both are what the best network scores that ignores its input, unless given.
    """

    kind: ClassVar[str] = "task"
    metrics: ClassVar[tuple[Metric, ...]]
    smooths_labels: ClassVar[bool] = False
    """Whether `loss` heeds `label_smoothing`; a space that sets it for a task that does not is refused."""

    def __init__(self, *, chance: float | None = None, failure_score: float | None = None) -> None:
        self.chance, self.failure_score = chance, failure_score

    @classmethod
    def all_metrics(cls) -> tuple[Metric, ...]:
        """Return the task's metrics, the loss last."""
        return (*cls.metrics, LOSS)

    def check(self, data: Data) -> None:
        """Raise ValueError, saying what is wrong, where a data set's targets are not such as the task needs."""

    def output_shape(self, data: Data) -> tuple[int, ...]:
        """Return the shape of a network's answer to one input; its first size is the number of outputs."""
        raise NotImplementedError(f"task {type(self).__name__} defines no output_shape(data)")

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean loss over a batch: (B, …), (B, …) -> ()."""
        raise NotImplementedError(f"task {type(self).__name__} defines no loss(outputs, targets)")

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return what the figures need of a batch, as sums over its examples: (B, …), (B, …) -> (T,), on the same device."""
        raise NotImplementedError(f"task {type(self).__name__} defines no tally(outputs, targets)")

    def figures(self, tally: Tensor) -> Mapping[str, float]:
        """Return the value of each of `metrics` by name, from tallies that were added up: (T,)."""
        raise NotImplementedError(f"task {type(self).__name__} defines no figures(tally)")

    def constant(self, targets: Tensor, output_shape: tuple[int, ...]) -> Mapping[str, float]:
        """Return, for each of `metrics` and the loss, what the best network scores that ignores its input."""
        raise NotImplementedError(f"task {type(self).__name__} defines no constant(targets, output_shape)")

    def learned_nothing(self, tally: Tensor, chance: float) -> str:
        """Say why figures are not above `chance`, the level of the first metric; '' where they are."""
        metric = self.metrics[0]
        value = self.figures(tally)[metric.name]
        if metric.sign * (value - chance) > 1e-9:  # a constant answer itself may be off by rounding
            return ""
        side = "above" if metric.sign > 0 else "below"
        return f"{metric.name} {value:.4g} is not {side} {chance:.4g}, which a constant answer gets"
