"""Layer 1: the figures that a network is judged by: which way is better, and whether they are printed in points."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Direction = Literal["maximize", "minimize"]

PARTS = ("train", "val", "test")
"""The parts of a split, in front of a metric's name: `val_accuracy`."""


@dataclass(frozen=True)
class Metric:
    """One figure, whatever part it is taken on.

    `is_share` says that it lies between 0 and 1 and is printed in points, hundredths of it.
    """

    name: str
    direction: Direction = "maximize"
    is_share: bool = False

    @property
    def on_parts(self) -> tuple[str, ...]:
        """Its full names: `train_accuracy`, `val_accuracy`, `test_accuracy`."""
        return tuple(f"{part}_{self.name}" for part in PARTS)

    @property
    def sign(self) -> float:
        """1 where larger is better, −1 where smaller is."""
        return 1.0 if self.direction == "maximize" else -1.0


LOSS = Metric("loss", "minimize")
ACCURACY = Metric("accuracy", is_share=True)
ERROR = Metric("error", "minimize", is_share=True)
IOU = Metric("iou", is_share=True)
R2 = Metric("r2")
MSE = Metric("mse", "minimize")

KNOWN = (ACCURACY, ERROR, IOU, R2, MSE, LOSS)
"""The metrics of the shipped tasks, for a name that comes without its task."""


def metric_of(full_name: str, metrics: Iterable[Metric] = ()) -> Metric:
    """Return the metric that a full name such as `val_accuracy` means, of `metrics` or of the shipped tasks.

    A name that neither knows is taken for a plain figure, better the larger.
    """
    part, _, name = full_name.partition("_")
    name = name if part in PARTS else full_name
    return next((metric for metric in (*metrics, *KNOWN) if metric.name == name), Metric(name))
