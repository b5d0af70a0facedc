"""Layer 4: a study's record and a rule → supported, contradicted or undetermined. Pure: equal records give equal findings.

Every comparison of a rule is reduced to one scalar a replicate, and all of them are one family: Holm's correction over them, and
intervals that hold for all at once (docs/method.md, "Interval and test"). A side of a rule holds where each of its conditions does, or one
of `any`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nas.claims.rules import Place, place_of
from nas.errors import SpaceError, UserError, Where, nearest
from nas.measuring.readings import Cells, Table, bare_name, cells_of, is_share, layers_at, table_of, value_of
from nas.measuring.slopes import slope_axis, slope_weights
from nas.measuring.statistics import Floats, holm, mean_and_sd, t_p_value
from nas.measuring.verdicts import (
    HARMS_MATERIALLY,
    HELPS_MATERIALLY,
    MAX_REPLICATES,
    MIN_REPLICATES,
    UNDETERMINED_CORRECTED,
    Evidence,
    verdict,
)
from nas.values.claims import CONTRADICTED, NO_VERDICT, SUPPORTED, UNDETERMINED, Claim, Condition, Found, Outcomes
from nas.values.effects import Interval
from nas.values.plans import MeasurePlan
from nas.values.records import StudyRecord

ALPHA = 0.05
_ROUNDING = 1e-12
_WANTED = {"above": HELPS_MATERIALLY, "below": HARMS_MATERIALLY}


@dataclass(frozen=True)
class Decision:
    """What a rule comes to: the verdict, why, and each condition of both sides."""

    verdict: str
    reason: str
    supporting: tuple[Found, ...]
    contradicting: tuple[Found, ...]


@dataclass(frozen=True)
class _Sample:
    """A condition's comparison, one scalar a replicate, before its threshold is taken off."""

    condition: Condition
    metric: str
    values: Floats
    any_failed: bool

    @property
    def shift(self) -> float:
        return 0.0 if self.condition.relation == "within" else self.condition.threshold

    @property
    def tested(self) -> tuple[object, ...]:
        """What makes two conditions one test: the same comparison against the same value."""
        c = self.condition
        return c.compare, c.minus, self.metric, c.minus_metric, self.shift


def decide(claim: Claim, record: StudyRecord) -> Decision:
    """Decide a claim by what was measured. Raises SpaceError for a condition that does not fit the study."""
    plan = record.plan
    if plan is None:
        raise UserError(f"{claim.file}: its study has no `measure:` section")
    conditions = [*claim.rule.supported_when.conditions, *claim.rule.contradicted_when.conditions]
    table, cells = table_of(record), cells_of(plan)
    samples = [_sample(condition, table, cells, plan, claim.file) for condition in conditions]
    found = _judge(samples)
    split = len(claim.rule.supported_when.conditions)
    words, reason = _verdict(claim, found[:split], found[split:])
    return Decision(words, reason, found[:split], found[split:])


def check_rule(claim: Claim, plan: MeasurePlan, metrics: Sequence[str]) -> None:
    """Raise SpaceError where a condition names an arm, a cell or a metric that the study does not have."""
    cells = cells_of(plan)
    for condition in (*claim.rule.supported_when.conditions, *claim.rule.contradicted_when.conditions):
        where = Where(claim.file, condition.line, "rule")
        for text in filter(None, (condition.compare, condition.minus)):
            place_of(text, cells, where)
        for metric in filter(None, (condition.metric, condition.minus_metric)):
            if bare_name(metric) not in metrics:
                raise SpaceError(f"must be a metric that the study records, got '{metric}'{nearest(metric, metrics)}", where)


def _verdict(claim: Claim, supporting: Sequence[Found], contradicting: Sequence[Found]) -> tuple[str, str]:
    refused = [found.reason for found in (*supporting, *contradicting) if found.n < MIN_REPLICATES]
    if refused:
        return NO_VERDICT, refused[0]
    holds = _holds(claim.rule.supported_when, supporting)
    against = _holds(claim.rule.contradicted_when, contradicting)
    if holds and against:
        return UNDETERMINED, "both sides of its rule hold, so the rule does not tell them apart"
    if holds:
        return SUPPORTED, ""
    if against:
        return CONTRADICTED, ""
    return UNDETERMINED, "; ".join(dict.fromkeys(f"{f.condition}: {f.reason}" for f in supporting if not f.holds))


def _holds(side: Outcomes, found: Sequence[Found]) -> bool:
    told = [bool(one.holds) for one in found]
    return any(told) if side.any else all(told)


# --- one scalar a replicate ------------------------------------------------------------------------------------------------


def _sample(condition: Condition, table: Table, cells: Cells, plan: MeasurePlan, file: str) -> _Sample:
    where = Where(file, condition.line, "rule")
    metric = condition.metric or plan.metric
    sides = [(place_of(condition.compare, cells, where), metric, 1.0)]
    if condition.minus:
        sides.append((place_of(condition.minus, cells, where), condition.minus_metric or metric, -1.0))
    values, any_failed = [], False
    for replicate in sorted({key[0] for key in table}):
        total, failed = 0.0, False
        for place, name, sign in sides:
            side = _value_at(place, name, replicate, table, cells, plan, where)
            if side is None:
                break
            total, failed = total + sign * side[0], failed or side[1]
        else:
            values.append(total)
            any_failed |= failed
    return _Sample(condition, metric, np.asarray(values, dtype=np.float64), any_failed)


def _value_at(
    place: Place, metric: str, replicate: int, table: Table, cells: Cells, plan: MeasurePlan, where: Where
) -> tuple[float, bool] | None:
    """Return one side of a comparison in one replicate, and whether a training behind it failed; None where one is missing."""
    at = place.at or cells.at
    weights = np.full(len(at), 1 / len(at)) if place.at else _slope(table, cells, where)
    total, any_failed = 0.0, False
    for arm, sign in place.arms:
        for weight, cell in zip(weights, at, strict=True):
            training = table.get((replicate, arm, cell))
            found = value_of(training, metric, plan) if training else None
            if found is None or found.value is None:
                return None
            total, any_failed = total + sign * float(weight) * found.value, any_failed or found.failed
    return total, any_failed


def _slope(table: Table, cells: Cells, where: Where) -> Floats:
    axis, log2, why = slope_axis(cells.at, by=[path for path, _ in cells.by], num_layers=layers_at(table, cells))
    if not axis:
        raise SpaceError(f"has no change per doubling: {why}", where)
    return slope_weights(log2)


# --- from scalars to words -------------------------------------------------------------------------------------------------


def _judge(samples: Sequence[_Sample]) -> tuple[Found, ...]:
    tests = {sample.tested: sample for sample in samples}
    order = list(tests)
    corrected = dict(zip(order, holm([_p(tests[key]) for key in order]), strict=True))
    return tuple(_found(sample, float(corrected[sample.tested]), tests) for sample in samples)


def _p(sample: _Sample, n: int | None = None) -> float:
    """Return the test's p against the threshold, at today's replicates or at `n`; 1 where no test can be made.

    It is the t test's, or the sign test's where all replicates show the same, so that there is no spread to go by.
    """
    if sample.values.size < 2:
        return 1.0
    if _is_degenerate(sample):
        return 2.0 ** (1 - (n or sample.values.size)) if abs(sample.values[0] - sample.shift) > _ROUNDING else 1.0
    mean, sd = mean_and_sd(sample.values)
    return float(t_p_value(float(mean) - sample.shift, float(sd), n or sample.values.size))


def _is_degenerate(sample: _Sample) -> bool:
    values = sample.values
    return bool(np.ptp(values) <= _ROUNDING * max(1.0, float(np.abs(values).max())))


def _found(sample: _Sample, p_holm: float, tests: dict[tuple[object, ...], _Sample]) -> Found:
    n = int(sample.values.size)
    bare = Found(
        condition=str(sample.condition), metric=sample.metric, n=n, mean=float(sample.values.mean()) if n else None, interval=None,
        p_holm=None, holds=None, share=is_share(sample.metric),
    )  # fmt: skip
    count = f"{n} replicate" + ("" if n == 1 else "s")
    few = f"{count}; a verdict needs {MIN_REPLICATES}" if n else f"nothing was measured in {sample.metric}"
    if n < 2:
        return replace(bare, reason=few)
    if _is_degenerate(sample):
        return replace(bare, reason=few) if n < MIN_REPLICATES else _found_equal(replace(bare, p_holm=p_holm), sample, len(tests))
    evidence = _evidence(sample, p_holm, len(tests))
    low, high = evidence.interval()
    shown = replace(bare, interval=Interval(low + sample.shift, high + sample.shift, 1 - evidence.alpha), p_holm=p_holm)
    if n < MIN_REPLICATES:
        return replace(shown, reason=few)
    words = verdict(evidence)
    holds = _says(words, sample.condition)
    return replace(shown, holds=holds, reason="" if holds else _reason(sample, evidence, words, tests))


def _found_equal(bare: Found, sample: _Sample, num_tests: int) -> Found:
    """Decide a condition on replicates that all show the same: by the sign test, about the median (Dixon and Mood 1946).

    There is no spread to make an interval or a t test of; but were the median on the other side of the threshold, each replicate
    would lie on this side with a probability of a half at most.
    """
    value, threshold = float(sample.values[0]), sample.condition.threshold
    told = f"degenerate variance: all {bare.n} replicates show the same, so there is no interval; by the sign test"
    if sample.condition.relation == "within":
        holds = abs(value) < threshold and 2.0**-bare.n <= ALPHA / num_tests and not sample.any_failed
    else:
        holds = (value > threshold) == (sample.condition.relation == "above") and (bare.p_holm or 0.0) < ALPHA
    return replace(bare, holds=holds, reason=told)


def _evidence(sample: _Sample, p_holm: float, num_tests: int) -> Evidence:
    shifted = sample.values - sample.shift
    mean, sd = mean_and_sd(shifted)
    return Evidence(
        mean=float(mean),
        sd=float(sd),
        n=shifted.size,
        alpha=ALPHA / num_tests,
        family_alpha=ALPHA,
        p_holm=p_holm,
        # Against a threshold any excess counts: what is too small to matter has been taken off already.
        smallest_effect=sample.condition.threshold if sample.condition.relation == "within" else 0.0,
        better=int((shifted > 0).sum()),
        worse=int((shifted < 0).sum()),
        any_failed=sample.any_failed,
    )


def _says(words: str, condition: Condition) -> bool:
    wanted = _WANTED.get(condition.relation)
    return words == wanted if wanted else words.startswith("practically equivalent")


def _reason(sample: _Sample, today: Evidence, words: str, tests: dict[tuple[object, ...], _Sample]) -> str:
    """Say what a condition that does not hold shows instead, or how many replicates would show it."""
    if words in (HELPS_MATERIALLY, HARMS_MATERIALLY) and sample.condition.relation != "within":
        return f"it lies on the other side of {sample.condition.threshold:g}"
    for n in range(today.n + 1, MAX_REPLICATES + 1):
        p_values = [_p(test, n) for test in tests.values()]
        p_holm = float(holm(p_values)[list(tests).index(sample.tested)])
        ahead = verdict(today.at(n, p_holm, alpha=today.alpha, family_alpha=ALPHA))
        if _says(ahead, sample.condition):
            return f"{n} replicates would show it at today's mean and spread"
    after = " after correction" if words == UNDETERMINED_CORRECTED else ""
    return f"not shown{after}, and no number of replicates up to {MAX_REPLICATES} would show it at today's mean and spread"
