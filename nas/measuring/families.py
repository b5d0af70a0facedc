"""Layer 3: one Holm family of per-replicate samples → estimates with intervals, p-values and verdicts.

See docs/method.md, "What is estimated".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nas.measuring.looks import later_looks, nominal_alpha
from nas.measuring.statistics import Floats, half_width, holm, mean_and_sd, sign_flip_p, t_p_value
from nas.measuring.trainings import At
from nas.measuring.verdicts import (
    MAX_REPLICATES,
    MIN_REPLICATES,
    NO_VERDICT,
    UNMEASURED,
    Evidence,
    is_undetermined,
    replicates_to_decide,
    slope_verdict,
    undetermined_reason,
    verdict,
)
from nas.values.domains import Scalar
from nas.values.effects import LOOKS, Estimate, Interval

THETA, BETA, THETA_AT = "theta", "beta", "theta_d"

EXPLORATORY = "exploratory: adaptive sampling, so neither interval nor p-value nor verdict"

_ROUNDING = 1e-12
"""Differences whose range is below this share of the largest value are equal: what is left is the rounding of sums."""


@dataclass(frozen=True)
class Sample:
    """One scalar a replicate for one estimand of one arm. `why_empty` is the reason where there is none."""

    estimand: str
    level: Scalar
    at: At | None
    values: Floats
    any_failed: bool
    why_empty: str = ""


@dataclass(frozen=True)
class Rules:
    """What holds for every estimate of a measurement.

    `scale` is the size of the metric's values, for telling equal ones; `interim` says that looks are planned and this is none.
    """

    smallest_effect: float
    planned_looks: bool
    from_search: bool
    scale: float
    interim: bool = False


@dataclass(frozen=True)
class _Figures:
    """A sample's mean and spread; `sd` is None below two replicates, `usable` False where no test can be made of them."""

    mean: float | None
    sd: float | None
    n: int
    usable: bool
    degenerate: bool


def judge(samples: Sequence[Sample], *, rules: Rules, num_simultaneous: int = 1) -> tuple[Estimate, ...]:
    """Estimate every sample of one Holm family; `num_simultaneous` intervals are to hold at once.

    The family is the declared one: an estimand that could not be tested counts with p = 1, so that losing an arm never makes
    the others' evidence stronger.
    """
    figures = [_figures(sample, rules) for sample in samples]
    p_values = [float(_p_at(found, found.n)) for found in figures]
    family = _Family(figures, rules, num_simultaneous)
    corrected = holm(p_values)
    return tuple(_estimate(sample, figures[i], p_values[i], float(corrected[i]), family, index=i) for i, sample in enumerate(samples))


def _figures(sample: Sample, rules: Rules) -> _Figures:
    n = sample.values.size
    if n < 2:
        return _Figures(float(sample.values[0]) if n else None, None, n, usable=False, degenerate=False)
    mean, sd = mean_and_sd(sample.values)
    degenerate = bool(np.ptp(sample.values) <= _ROUNDING * rules.scale)
    shown_sd = 0.0 if degenerate else float(sd)
    return _Figures(float(mean), shown_sd, n, usable=not (degenerate or rules.from_search), degenerate=degenerate)


def _p_at(found: _Figures, num_replicates: Any) -> Any:
    """Return the t test's p at one or many numbers of replicates; 1 where no test can be made."""
    if not found.usable or found.mean is None or found.sd is None:
        return np.ones(np.shape(num_replicates))
    return t_p_value(found.mean, found.sd, num_replicates)


@dataclass(frozen=True)
class _Family:
    figures: Sequence[_Figures]
    rules: Rules
    num_simultaneous: int

    def rates(self, n: int) -> tuple[float, float]:
        """Return the error rate of an interval from `n` replicates and that of the whole family."""
        alpha = nominal_alpha(n, planned_looks=self.rules.planned_looks)
        return alpha / self.num_simultaneous, alpha

    def evidence(self, sample: Sample, index: int, p_holm: float) -> Evidence:
        """Return what sample `index`, which has a mean and a spread, shows today."""
        found = self.figures[index]
        alpha, family_alpha = self.rates(found.n)
        return Evidence(
            mean=float(found.mean or 0.0),
            sd=float(found.sd or 0.0),
            n=found.n,
            alpha=alpha,
            family_alpha=family_alpha,
            p_holm=p_holm,
            smallest_effect=self.rules.smallest_effect,
            better=int((sample.values > _ROUNDING * self.rules.scale).sum()),
            worse=int((sample.values < -_ROUNDING * self.rules.scale).sum()),
            any_failed=sample.any_failed,
        )

    def projections(self, today: Evidence, index: int) -> Iterator[Evidence]:
        """Yield what more replicates would show, the whole family at its present means and spreads."""
        ahead = np.arange(max(today.n + 1, MIN_REPLICATES), MAX_REPLICATES + 1)
        if self.rules.planned_looks:
            ahead = np.array(later_looks(today.n), dtype=np.int64)
        corrected = holm(np.stack([_p_at(found, ahead) for found in self.figures], axis=-1))
        for n, row in zip(ahead, corrected, strict=True):
            alpha, family_alpha = self.rates(int(n))
            yield today.at(int(n), float(row[index]), alpha=alpha, family_alpha=family_alpha)


def _estimate(sample: Sample, found: _Figures, p: float, p_holm: float, family: _Family, *, index: int) -> Estimate:
    alpha, _ = family.rates(found.n)
    words, reason, needed = _words(sample, found, p_holm, family, index)
    return Estimate(
        estimand=sample.estimand,
        level=sample.level,
        at=sample.at,
        n=found.n,
        mean=found.mean,
        sd=found.sd,
        interval=_interval(found, alpha) if found.usable else None,
        p=p if found.usable else None,
        p_sign_flip=None if found.n < 2 or family.rules.from_search else sign_flip_p(sample.values),
        p_holm=p_holm if found.usable else None,
        verdict=words,
        reason=reason,
        replicates_to_decide=needed,
    )


def _interval(found: _Figures, alpha: float) -> Interval:
    mean, half = float(found.mean or 0.0), float(half_width(float(found.sd or 0.0), found.n, alpha=alpha))
    return Interval(mean - half, mean + half, 1 - alpha)


def _words(sample: Sample, found: _Figures, p_holm: float, family: _Family, index: int) -> tuple[str, str, int | None]:
    """Return verdict, reason and the replicates that would decide."""
    refused = _refusal(sample, found, family.rules)
    if refused:
        return UNMEASURED if found.n == 0 else NO_VERDICT, refused, None
    today = family.evidence(sample, index, p_holm)
    if sample.estimand == BETA:
        return slope_verdict(today), "trainings failed: a t interval may be too narrow here" if sample.any_failed else "", None
    words = verdict(today)
    if not is_undetermined(words):
        return words, "", None
    needed = replicates_to_decide(family.projections(today, index))
    looks = later_looks(found.n) if family.rules.planned_looks else None
    return words, undetermined_reason(today, needed, looks=looks), needed


def _refusal(sample: Sample, found: _Figures, rules: Rules) -> str:
    """Say why there is no verdict, or '' where there is one."""
    count = f"{found.n} replicate" + ("" if found.n == 1 else "s")
    if found.n == 0:
        return sample.why_empty or "no complete pair"
    if rules.from_search:
        return EXPLORATORY
    if found.n == 1:
        return f"{count}: no spread, so no interval; a verdict needs {MIN_REPLICATES}"
    if found.degenerate:
        return f"degenerate variance: all {count} show the same difference, so neither interval nor t test can be made"
    if found.n < MIN_REPLICATES:
        return f"{count}; a verdict needs {MIN_REPLICATES}"
    if rules.interim:
        planned = " and ".join(str(at) for at, _ in LOOKS)
        return f"{count}; verdicts are read at the planned looks only, at {planned} complete replicates"
    return ""
