"""Layer 4: how the difference between twins unfolds over the epochs: a curve a replicate, their mean and its band.

See docs/method.md, "While it trains".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from nas.measuring.statistics import t_interval
from nas.report.reading import At, curve_name, curve_of
from nas.report.scene import Scene
from nas.report.words import Unit
from nas.values.domains import Scalar

Curve = tuple[tuple[int, float], ...]
"""Epoch, from 1, and the difference there: arm minus reference, signed so that positive is better."""

LEAST_REPLICATES = 3
"""From so many replicates on the mean has a band: of two, t is 12.7 standard errors wide and hides every figure."""

MEANING = "pointwise 95% t interval of the mean over replicates; it describes, and no verdict rests on it"


@dataclass(frozen=True)
class Moment:
    """One epoch: the mean difference over the `n` replicates that have a value there; `low` and `high` are None under three."""

    epoch: int
    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Unfolding:
    """The paired differences of one curve, such as `val_accuracy`, by arm and depth, a curve a replicate."""

    name: str
    unit: Unit
    curves: Mapping[tuple[Scalar, At], tuple[Curve, ...]]

    @classmethod
    def of(cls, scene: Scene) -> Unfolding | None:
        """Return the differences of the curve that stands for what was measured; None where no curves were recorded."""
        plan, twins = scene.record.plan, [t for pair in scene.pairs for t in (pair.arm, pair.reference)]
        name = curve_name(scene.record, twins, measured=plan.metric if plan else "")
        metric, found = scene.record.metric(name), dict[tuple[Scalar, At], list[Curve]]()
        for pair in scene.pairs:
            both = zip(curve_of(pair.arm, name), curve_of(pair.reference, name), strict=False)
            curve = tuple((epoch, metric.sign * (a - b)) for epoch, (a, b) in enumerate(both, 1) if math.isfinite(a - b))
            if curve:
                found.setdefault((pair.level, pair.at), []).append(curve)
        return cls(name, Unit.of(metric), {key: tuple(curves) for key, curves in found.items()}) if found else None

    @property
    def last_epoch(self) -> int:
        """The last epoch of any curve."""
        return max(epoch for curves in self.curves.values() for curve in curves for epoch, _ in curve)

    def moments(self, level: Scalar, at: At, *, most: int) -> tuple[Moment, ...]:
        """Return an arm's mean and band at each epoch, for `most` epochs or so; none where it has no curve."""
        by_epoch: dict[int, list[float]] = {}
        for curve in self.curves.get((level, at), ()):
            for epoch, value in curve:
                by_epoch.setdefault(epoch, []).append(value)
        epochs = sorted(by_epoch)
        return tuple(_moment(epoch, by_epoch[epoch]) for epoch in epochs[:: max(len(epochs) // most, 1)])


def _moment(epoch: int, values: list[float]) -> Moment:
    if len(values) < LEAST_REPLICATES:
        return Moment(epoch, fmean(values), None, None, len(values))
    band = t_interval(values)
    return Moment(epoch, fmean(values), band.low, band.high, len(values))
