"""Layer 1: what a measurement says: effects with their intervals, tests and verdicts. Figures are fractions, not points."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from nas.values.domains import Scalar

LOOKS: tuple[tuple[int, float], ...] = ((10, 0.0052), (20, 0.0471))
"""Replicates and nominal alpha of each planned look; together the two err in 5% of null measurements (docs/method.md, "Looking early")."""


EFFECT, TUNED = "effect", "tuned effect"
MATCHED = {"parameters": "parameter-matched effect", "macs": "MAC-matched effect"}
"""The names of estimands: the plain one, at an equal fixed budget; of tuned arms; against references of equal cost."""


def slug_of(estimand: str) -> str:
    """Return the name of an estimand as a key of metrics and tags: `parameter_matched_effect`."""
    return estimand.lower().replace(" ", "_").replace("-", "_")


@dataclass(frozen=True)
class Result:
    """One training of a replicate, as the estimator takes it.

    `by` holds the values of the `by` decisions at this cell (one number or label each; empty without `by`). `value` is the
    metric, already scored at the failure score where `failed`; None says that the training is missing (infrastructure).
    """

    replicate: int | str
    level: Scalar
    by: tuple[Scalar, ...]
    value: float | None
    failed: bool = False
    parameters: int | None = None
    macs: int | None = None
    num_layers: int | None = None


@dataclass(frozen=True)
class Interval:
    """A two-sided interval; `confidence` is .95 for one statement, higher where several hold at once."""

    low: float
    high: float
    confidence: float


@dataclass(frozen=True)
class Estimate:
    """One estimand of one arm (theta, beta or theta_d), from per-replicate scalars.

    `interval`, `p` and the rest are None where they are refused, and `reason` then says why. `verdict` is one of the wordings of
    docs/method.md, "What the verdicts mean", for theta and theta_d; `grows` / `shrinks` / `no change shown` for beta; `no verdict` or
    `unmeasured` (with the reason) for all three. `replicates_to_decide` is the smallest number, up to 200, that would decide an
    undetermined estimate at today's mean and spread; None where none does or nothing is undetermined.
    """

    estimand: str
    level: Scalar
    at: tuple[Scalar, ...] | None
    n: int
    mean: float | None
    sd: float | None
    interval: Interval | None
    p: float | None
    p_sign_flip: float | None
    p_holm: float | None
    verdict: str
    reason: str = ""
    replicates_to_decide: int | None = None


@dataclass(frozen=True)
class CellSummary:
    """One cell of the depth × arm table: plain facts of the trainings in it and its comparison with the reference.

    `n` counts replicates with a value here, `missing` those without one, `failures` the trainings that failed. `mean` and
    `sd` are of the metric as recorded (a loss stays a loss); comparisons are signed so that positive is better. The
    reference's own cells carry no comparison.
    """

    level: Scalar
    at: tuple[Scalar, ...]
    n: int
    mean: float | None
    sd: float | None
    failures: int
    missing: int
    mean_where_both_trained: float | None  # mean difference over the pairs where neither failed: label it *selected*
    wins: float | None  # pi_d: P(arm > reference) + half of P(tie); a failed training ranks last
    wins_interval: Interval | None  # Clopper–Pearson, of P(win given no tie)
    failure_difference: float | None  # phi_d: P(fail | arm) − P(fail | reference)
    failure_difference_interval: Interval | None  # Newcombe
    failure_p: float | None  # exact McNemar
    correlation: float | None  # between the arm's and the reference's values over replicates
    parameter_difference: float | None  # mean over pairs, arm minus reference
    mac_difference: float | None


@dataclass(frozen=True)
class Look:
    """A planned look that was reached: its error rate, and the verdict on the overall effect of each arm there.

    `decided` says that every arm had its verdict, so that nothing more had to be trained.
    """

    replicates: int
    alpha: float
    verdicts: tuple[tuple[Scalar, str], ...]
    decided: bool


@dataclass(frozen=True)
class Mismatch:
    """How far a matched reference misses what it is matched to: its cost over the arm's, less 1, where that is farthest."""

    level: Scalar
    worst: float
    close: bool


@dataclass(frozen=True)
class Contrast:
    """Arms against references of equal cost (docs/method.md, "Equal cost"): an estimand of its own, with a Holm family of its own."""

    quantity: str
    effects: Effects
    mismatches: tuple[Mismatch, ...]


@dataclass(frozen=True)
class Effects:
    """All that a measurement says about one factor. `sentence` is the verdict in words, naming its scope and its estimand."""

    factor: str
    reference: Scalar
    levels: tuple[Scalar, ...]  # the arms, without the reference
    by: tuple[str, ...]
    at: tuple[tuple[Scalar, ...], ...]
    num_layers: tuple[int | None, ...]  # beside `at`: constant over replicates, else None
    slope_axis: str  # what one doubling means: `num_layers`, a decision's path, or "" without a slope
    smallest_effect: float
    replicates: int
    cells: tuple[CellSummary, ...]
    overall: tuple[Estimate, ...]
    slopes: tuple[Estimate, ...]
    at_each: tuple[Estimate, ...]
    sentence: str
    notes: tuple[str, ...] = ()
    looks: tuple[Look, ...] = ()  # those reached, of planned ones
    interim: bool = False  # looks are planned and this is none of them: figures without a verdict
    estimand: str = EFFECT  # what the figures are called; never put two under one name
    contrasts: tuple[Contrast, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)

    def cell(self, level: Scalar, at: tuple[Scalar, ...]) -> CellSummary:
        """Return the summary of one cell. Raises KeyError where there is none."""
        return {(cell.level, cell.at): cell for cell in self.cells}[level, at]

    def effect(self, level: Scalar, at: tuple[Scalar, ...]) -> Estimate:
        """Return theta_d of an arm. Raises KeyError where there is none."""
        return {(effect.level, effect.at): effect for effect in self.at_each}[level, at]
