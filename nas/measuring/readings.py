"""Layer 3: what a claim and its figures read from a study's record: one value a training, in any metric that was recorded."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from nas.values.domains import Scalar
from nas.values.plans import MeasurePlan
from nas.values.records import StudyRecord, TrainingRecord

At = tuple[Scalar, ...]
_ENTRY = re.compile(r"(\w+\.\w+)\[(first|last|[1-9]\d*)\]")
DONE = ("complete", "failed")


@dataclass(frozen=True)
class Cells:
    """The cells of a design: its arms, the decisions of `by` with their values, and every combination of those."""

    arms: tuple[Scalar, ...]
    by: tuple[tuple[str, tuple[Scalar, ...]], ...]
    at: tuple[At, ...]


@dataclass(frozen=True)
class Value:
    """One training in one metric; `value` is None where the metric was not measured."""

    value: float | None
    failed: bool


Table = Mapping[tuple[int, Scalar, At], TrainingRecord]
"""The finished trainings of a design by replicate, arm and cell."""


def cells_of(plan: MeasurePlan) -> Cells:
    """Return the cells of a measured design, in the order of its `by`."""
    at: tuple[At, ...] = ((),)
    for _, values in plan.by:
        at = tuple((*cell, value) for cell in at for value in values)
    return Cells((plan.reference, *plan.levels), plan.by, at)


def table_of(record: StudyRecord) -> Table:
    """Lay the finished trainings of a record out by replicate, arm and cell."""
    found = {}
    for training in record.measured:
        if training.cell and training.outcome and training.state in DONE:
            found[training.cell.replicate, training.cell.level, tuple(value for _, value in training.cell.by)] = training
    return found


def value_of(training: TrainingRecord, metric: str, plan: MeasurePlan) -> Value:
    """Read a training in a metric; an error is 1 less its accuracy.

    A failed training counts at its failure score (docs/method.md, "Trainings that fail"): in every accuracy at the one that its own
    metric was scored at. What it shows in other metrics, such as a probe's figure, is taken as it was measured.
    """
    outcome = training.outcome
    if outcome is None:
        return Value(None, False)
    failed = training.state == "failed"
    if bare_name(metric) != metric:
        return Value(_entry_of(series_of(training, bare_name(metric)), metric), failed)
    known = metric.removesuffix("_error") + "_accuracy" if is_error(metric) else metric
    found = outcome.metrics.get(known)
    if known == plan.metric or (failed and known.endswith("_accuracy") and plan.metric.endswith("_accuracy")):
        found = outcome.score
    if found is None or not math.isfinite(found):
        return Value(None, failed)
    return Value(1 - found if is_error(metric) else found, failed)


def bare_name(metric: str) -> str:
    """Return the series of `PROBE.SERIES[first]`, `[last]` or `[3]`, which names one of its entries; any other metric as it is."""
    match = _ENTRY.fullmatch(metric)
    return match[1] if match else metric


def _entry_of(series: tuple[float, ...], metric: str) -> float | None:
    match = _ENTRY.fullmatch(metric)
    assert match is not None, "asked for entries only"
    place = {"first": 0, "last": -1}.get(match[2])
    index = int(match[2]) - 1 if place is None else place
    found = series[index] if -len(series) <= index < len(series) else math.nan
    return found if math.isfinite(found) else None


def is_error(metric: str) -> bool:
    """Say whether a metric is an error that is read from an accuracy."""
    return metric in ("train_error", "val_error", "test_error")


def is_share(metric: str) -> bool:
    """Say whether a metric is a share of 1, to be printed in points."""
    return is_error(metric) or metric.endswith(("_accuracy", "_iou"))


def series_of(training: TrainingRecord, name: str) -> tuple[float, ...]:
    """Return a probe's series, or a curve over the epochs; empty where there is none."""
    outcome = training.outcome
    if outcome is None:
        return ()
    series: Mapping[str, tuple[float, ...]] = getattr(outcome, "series", {})
    if is_error(name):
        return tuple(1 - value for value in outcome.curves.get(name.removesuffix("_error") + "_accuracy", ()))
    return tuple(series.get(name) or outcome.curves.get(name) or ())


def layers_at(table: Table, cells: Cells) -> tuple[int | None, ...]:
    """Return the weight layers of the networks at each cell, None where they differ."""
    return tuple(_only(t.outcome.cost.num_layers for key, t in table.items() if key[2] == at and t.outcome) for at in cells.at)


def _only(values: Iterable[int]) -> int | None:
    found = set(values)
    return found.pop() if len(found) == 1 else None
