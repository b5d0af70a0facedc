"""Layer 3: results of twins → what a design choice is worth, in figures and in words (METHOD §3, §4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from nas.errors import UserError
from nas.measuring.cells import summarise
from nas.measuring.families import BETA, THETA, THETA_AT, Rules, Sample, judge
from nas.measuring.notes import notes
from nas.measuring.sentences import Telling, tell
from nas.measuring.slopes import slope_axis, slope_weights
from nas.measuring.statistics import Floats
from nas.measuring.trainings import At, Trainings, arrange
from nas.values.domains import Scalar
from nas.values.effects import Effects, Result


def estimate(
    results: Sequence[Result],
    *,
    factor: str,
    reference: Scalar,
    by: Sequence[str] = (),
    smallest_effect: float,
    levels: Sequence[Scalar] | None = None,
    weights: Mapping[At, float] | None = None,
    maximize: bool = True,
    scope: str = "",
    planned_looks: bool = False,
    from_search: bool = False,
    unit: str = "points",
) -> Effects:
    """Estimate what each level of `factor` is worth against `reference`.

    Args:
        results: one for each training, in any order. Several of one replicate, level and cell are seeds and are averaged.
        factor: the path of the decision that was measured.
        reference: the level that the others are compared with.
        by: the paths of the decisions the effect is told apart by; `Result.by` has a value for each.
        smallest_effect: the smallest effect that matters, in the metric's own unit (fractions).
        levels: the arms that were to be measured; by default those there are. One without data is told to be unmeasured.
        weights: of the cells in theta, by their `by` values; by default equal. They are scaled to sum to 1.
        maximize: whether larger values are better. Where not, differences are turned round: positive is always better.
        scope: where the finding holds, for the sentence, such as the data set's name.
        planned_looks: read verdicts at 10 and at 20 replicates only, each at its own error rate (METHOD §5).
        from_search: the results come from an adaptive search: means only, without intervals, p-values and verdicts.
        unit: what the sentence counts in: `points` are hundredths; any other name takes figures as they are.

    Returns:
        The effects, a pure function of the results: their order changes nothing.

    Raises:
        UserError: on results that no effect can be read from; the message says which and what to do.
    """
    if not (math.isfinite(smallest_effect) and smallest_effect > 0):
        raise UserError(f"smallest_effect: must be a number above 0, declared before the data are seen; got {smallest_effect}")
    trainings = arrange(results, reference=reference, by=by, levels=levels)
    sign = 1.0 if maximize else -1.0
    axis, log2, why_no_slope = slope_axis(trainings.at, by=by, num_layers=trainings.num_layers)
    shares = _shares(weights, trainings.at)
    rules = Rules(smallest_effect, planned_looks, from_search, scale=float(np.nanmax(np.abs(trainings.value), initial=0.0)))

    arms = range(1, len(trainings.levels))
    primary = [_combined(trainings, a, sign * shares, THETA) for a in arms]
    if axis:
        primary += [_combined(trainings, a, sign * slope_weights(log2), BETA) for a in arms]
    secondary = [_at_one(trainings, a, d, sign) for a in arms for d in range(len(trainings.at))]
    judged = judge(primary, rules=rules)
    overall, slopes = judged[: len(arms)], judged[len(arms) :]
    at_each = judge(secondary, rules=rules, num_simultaneous=len(secondary))
    telling = Telling(
        scope=scope,
        factor=factor,
        reference=reference,
        by=tuple(by),
        at=trainings.at,
        num_layers=trainings.num_layers,
        slope_axis=axis,
        smallest_effect=smallest_effect,
        equal_weights=bool(np.ptp(shares) == 0),
        from_search=from_search,
        unit=unit,
    )
    return Effects(
        factor=factor,
        reference=reference,
        levels=trainings.levels[1:],
        by=tuple(by),
        at=trainings.at,
        num_layers=trainings.num_layers,
        slope_axis=axis,
        smallest_effect=smallest_effect,
        replicates=len(trainings.replicates),
        cells=summarise(trainings, sign=sign),
        overall=overall,
        slopes=slopes,
        at_each=at_each,
        sentence=tell(telling, overall, slopes),
        notes=notes(trainings, overall=overall, slopes=slopes, why_no_slope=why_no_slope, rules=rules),
    )


def _shares(weights: Mapping[At, float] | None, at: Sequence[At]) -> Floats:
    """Return the weight of each cell, summing to 1."""
    if weights is None:
        return np.full(len(at), 1 / len(at))
    if set(weights) != set(at):
        raise UserError(f"weights: needs one for each cell {[list(cell) for cell in at]}; got {[list(cell) for cell in weights]}")
    given = np.array([weights[cell] for cell in at], dtype=np.float64)
    if not np.isfinite(given).all() or (given < 0).any() or given.sum() == 0:
        raise UserError(f"weights: must be finite, 0 or more, and not all 0; got {given.tolist()}")
    return np.asarray(given / given.sum())


def _combined(trainings: Trainings, a: int, coefficients: Floats, estimand: str) -> Sample:
    """Reduce each complete replicate of an arm to one scalar: the sum of coefficient times difference over the cells."""
    complete = (trainings.measured[:, :, a] & trainings.measured[:, :, 0]).all(axis=1)
    differences = trainings.value[complete, :, a] - trainings.value[complete, :, 0]
    failed = bool(trainings.failed[complete][:, :, [0, a]].any())
    return Sample(estimand, trainings.levels[a], None, differences @ coefficients, failed, _why_empty(trainings, a))


def _at_one(trainings: Trainings, a: int, d: int, sign: float) -> Sample:
    pairs = trainings.measured[:, d, a] & trainings.measured[:, d, 0]
    differences = sign * (trainings.value[pairs, d, a] - trainings.value[pairs, d, 0])
    failed = bool(trainings.failed[pairs, d][:, [0, a]].any())
    return Sample(THETA_AT, trainings.levels[a], trainings.at[d], differences, failed, _why_empty(trainings, a, d))


def _why_empty(trainings: Trainings, a: int, d: int | None = None) -> str:
    """Say why an arm has no complete pair, should it have none; `d` asks about one cell."""
    measured = trainings.measured if d is None else trainings.measured[:, [d]]
    cells = trainings.at if d is None else (trainings.at[d],)
    for index, which in ((0, "the reference"), (a, "it")):
        empty = [cell for column, cell in enumerate(cells) if not measured[:, column, index].any()]
        if len(empty) == len(cells) and d is None:
            return f"{which} has no finished training, so nothing is compared"
        if empty:
            names = ", ".join(" x ".join(str(value) for value in cell) for cell in empty)
            return f"{which} has no finished training at {names or 'all'}"
    return "no replicate has every training of both arms"
