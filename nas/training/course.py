"""Layer 3: what a training is for, and what becomes of one network in it: its curves, its failure, its outcome."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from nas.plugin import Task
from nas.values.outcome import Cost, Outcome, Status

ShouldStop = Callable[[int, float], bool]
"""Told the objective's value after each epoch (counted from 1); True ends the training as pruned."""

OnStep = Callable[[int], None]
"""Told after each optimizer step how many there were."""


@dataclass(frozen=True)
class Goal:
    """What a training is for and judged by: its task, and one of the task's metrics (`val_accuracy`, `test_iou`, `val_loss` …).

    A metric of the test part is taken once, after the last epoch.
    """

    metric: str
    task: Task
    should_stop: ShouldStop = lambda _epoch, _value: False
    on_step: OnStep = lambda _step: None

    @property
    def final_part(self) -> str:
        """The part that the trained network is scored on."""
        return "test" if self.metric.startswith("test") else "val"


@dataclass(frozen=True)
class Figures:
    """Loss and summed tally over the part with these targets, from answers of this shape; both on the CPU."""

    loss: float
    tally: Tensor
    targets: Tensor
    output_shape: tuple[int, ...]


class Course:
    """What becomes of one network while it trains: a value of each figure an epoch, and why it failed, where it did."""

    final: Figures
    """The figures of the trained network on the part that it is scored on."""

    def __init__(self, goal: Goal) -> None:
        self.goal = goal
        self.curves: dict[str, list[float]] = {}
        self.failure, self.pruned = "", False

    def note(self, part: str, loss: float, tally: Tensor) -> None:
        """Take up an epoch's figures on one part; the tally lies on the CPU."""
        for name, value in {"loss": loss, **self.goal.task.figures(tally)}.items():
            self.curves.setdefault(f"{part}_{name}", []).append(value)

    def diverged(self, loss: float, tally: Tensor) -> bool:
        """Take up an epoch's figures on the training part, and say whether the loss is no number any more."""
        self.note("train", loss, tally)
        if not math.isfinite(loss):
            self.failure = f"diverged: the training loss is {loss} in epoch {len(self.curves['train_loss'])}"
        return bool(self.failure)

    @property
    def watched(self) -> float:
        """The objective on the validation part after the last epoch."""
        return self.curves[self.goal.metric.replace("test_", "val_")][-1]

    def outcome(self, cost: Cost, *, duration_s: float, device: str) -> Outcome:
        """Return what the training came to."""
        final = self.final
        metrics = {name: values[-1] for name, values in self.curves.items()}
        task, (part, _, figure) = self.goal.task, self.goal.metric.partition("_")
        if part != "train":
            metrics |= {f"{part}_{name}": value for name, value in {"loss": final.loss, **task.figures(final.tally)}.items()}
        levels = self._levels(final)
        if not self.failure and not math.isfinite(metrics[self.goal.metric]):
            self.failure = f"diverged: {self.goal.metric} is {metrics[self.goal.metric]}"
        if not self.failure and not self.pruned and (why := task.learned_nothing(final.tally, levels[task.metrics[0].name])):
            self.failure = f"learned nothing: {why}"
        status: Status = "failed" if self.failure else "pruned" if self.pruned else "complete"
        if task.failure_score is not None:
            levels[task.metrics[0].name] = task.failure_score
        return Outcome(
            status=status,
            score=levels[figure] if self.failure else metrics[self.goal.metric],
            metrics=metrics,
            curves={name: tuple(values) for name, values in self.curves.items()},
            cost=cost,
            num_epochs=len(self.curves["train_loss"]),
            duration_s=duration_s,
            device=device,
            failure=self.failure,
        )

    def _levels(self, final: Figures) -> dict[str, float]:
        """What a network scores that ignores its input, by metric, on the part that is scored."""
        task = self.goal.task
        levels = dict(task.constant(final.targets, final.output_shape))
        if task.chance is not None:
            levels[task.metrics[0].name] = task.chance
        return levels
