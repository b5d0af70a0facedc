"""Layer 3: results of twins → what a design choice is worth, in figures and in words (docs/method.md, "What is estimated")."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nas.errors import UserError
from nas.measuring.cells import summarise
from nas.measuring.families import BETA, THETA, THETA_AT, Rules, Sample, judge
from nas.measuring.looks import is_look
from nas.measuring.notes import notes
from nas.measuring.sentences import Telling, tell
from nas.measuring.slopes import slope_axis, slope_weights
from nas.measuring.statistics import Floats
from nas.measuring.trainings import At, Trainings, arrange, complete_replicates
from nas.measuring.verdicts import NO_VERDICT, UNMEASURED, is_undetermined
from nas.values.domains import Scalar
from nas.values.effects import EFFECT, LOOKS, Effects, Estimate, Look, Result


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
    references: Mapping[Scalar, Scalar] | None = None,
    estimand: str = EFFECT,
    between: str = "",
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
        planned_looks: read verdicts at 10 and at 20 replicates only, each at its own error rate (docs/method.md, "Looking early").
        from_search: the results come from an adaptive search: means only, without intervals, p-values and verdicts.
        unit: what the sentence counts in: `points` are hundredths; any other name takes figures as they are.
        references: the level that each arm is compared with, where that is not `reference` for all of them; `reference` is
            then what they have in common, for the sentence. All of them stay one family.
        estimand: what the figures are called, where they are not the plain effect at a fixed budget.
        between: what was compared then, for the sentence, to stand behind `the mean paired difference`.

    Returns:
        The effects, a pure function of the results: their order changes nothing.

    Raises:
        UserError: on results that no effect can be read from; the message says which and what to do.
    """
    if not (math.isfinite(smallest_effect) and smallest_effect > 0):
        raise UserError(f"smallest_effect: must be a number above 0, declared before the data are seen; got {smallest_effect}")
    asked = _Question(
        factor=factor, reference=reference, by=tuple(by), smallest_effect=smallest_effect,
        levels=None if levels is None else tuple(levels), weights=weights, maximize=maximize, scope=scope,
        planned_looks=planned_looks, from_search=from_search, unit=unit, references=references, estimand=estimand, between=between,
    )  # fmt: skip
    if planned_looks and not from_search:
        return _at_looks(asked, results)
    return _answer(asked, results)


@dataclass(frozen=True, kw_only=True)
class _Question:
    """What is asked of the results: the arguments of `estimate`."""

    factor: str
    reference: Scalar
    by: tuple[str, ...]
    smallest_effect: float
    levels: tuple[Scalar, ...] | None
    weights: Mapping[At, float] | None
    maximize: bool
    scope: str
    planned_looks: bool
    from_search: bool
    unit: str
    references: Mapping[Scalar, Scalar] | None
    estimand: str
    between: str

    @property
    def sign(self) -> float:
        return 1.0 if self.maximize else -1.0

    def arranged(self, results: Sequence[Result]) -> tuple[Trainings, ...]:
        """Lay the results out: all arms with their one reference, or each with its own."""
        if self.references is None:
            return (arrange(results, reference=self.reference, by=self.by, levels=self.levels),)
        return tuple(
            arrange([r for r in results if r.level in (level, own)], reference=own, by=self.by, levels=(level,))
            for level, own in self.references.items()
        )


def _at_looks(asked: _Question, results: Sequence[Result]) -> Effects:
    """Answer at the planned look that the complete replicates make, or with figures alone between looks."""
    complete = complete_replicates(asked.arranged(results))
    looks = tuple(_look(asked, results, complete[:at], alpha) for at, alpha in LOOKS if at <= len(complete))
    if not is_look(len(complete)):
        return _answer(asked, results, looks=looks, interim=True)
    # A look is at a number of replicates, so one that lacks a training is left out whole.
    return _answer(asked, [r for r in results if r.replicate in complete], looks=looks)


def _look(asked: _Question, results: Sequence[Result], replicates: Sequence[int | str], alpha: float) -> Look:
    overall = _answer(asked, [r for r in results if r.replicate in replicates]).overall
    decided = not any(found.verdict in (NO_VERDICT, UNMEASURED) or is_undetermined(found.verdict) for found in overall)
    return Look(len(replicates), alpha, tuple((found.level, found.verdict) for found in overall), decided)


def _answer(asked: _Question, results: Sequence[Result], *, looks: tuple[Look, ...] = (), interim: bool = False) -> Effects:
    groups = asked.arranged(results)
    first, sign, by = groups[0], asked.sign, asked.by
    axis, log2, why_no_slope = slope_axis(first.at, by=by, num_layers=first.num_layers)
    shares = _shares(asked.weights, first.at)
    rules = Rules(asked.smallest_effect, asked.planned_looks, asked.from_search, scale=max(map(_scale, groups)), interim=interim)

    arms = [(group, a) for group in groups for a in range(1, len(group.levels))]
    primary = [_combined(group, a, sign * shares, THETA) for group, a in arms]
    if axis:
        primary += [_combined(group, a, sign * slope_weights(log2), BETA) for group, a in arms]
    secondary = [_at_one(group, a, d, sign) for group, a in arms for d in range(len(group.at))]
    judged = judge(primary, rules=rules)
    overall, slopes = judged[: len(arms)], judged[len(arms) :]
    telling = Telling(
        scope=asked.scope,
        factor=asked.factor,
        reference=asked.reference,
        by=by,
        at=first.at,
        num_layers=first.num_layers,
        slope_axis=axis,
        smallest_effect=asked.smallest_effect,
        equal_weights=bool(np.ptp(shares) == 0),
        from_search=asked.from_search,
        unit=asked.unit,
        look=looks[-1] if looks and not interim else None,
        interim=interim,
        estimand=asked.estimand,
        between=asked.between,
    )
    return Effects(
        factor=asked.factor,
        reference=asked.reference,
        levels=tuple(found.level for found in overall),
        by=by,
        at=first.at,
        num_layers=first.num_layers,
        slope_axis=axis,
        smallest_effect=asked.smallest_effect,
        replicates=max(len(group.replicates) for group in groups),
        cells=tuple(cell for group in groups for cell in summarise(group, sign=sign)),
        overall=overall,
        slopes=slopes,
        at_each=judge(secondary, rules=rules, num_simultaneous=len(secondary)),
        sentence=tell(telling, overall, slopes),
        notes=_notes_of(groups, overall, slopes, why_no_slope, rules, looks),
        looks=looks,
        interim=interim,
        estimand=asked.estimand,
    )


def _notes_of(
    groups: Sequence[Trainings], overall: Sequence[Estimate], slopes: Sequence[Estimate], why_no_slope: str, rules: Rules,
    looks: tuple[Look, ...],
) -> tuple[str, ...]:  # fmt: skip
    """Return what has to be said of each group of arms, every line once."""
    told = [
        line
        for group in groups
        for line in notes(
            group,
            overall=[found for found in overall if found.level in group.levels],
            slopes=[found for found in slopes if found.level in group.levels],
            why_no_slope=why_no_slope,
            rules=rules,
            looks=looks,
        )
    ]
    return tuple(dict.fromkeys(told))


def _scale(trainings: Trainings) -> float:
    return float(np.nanmax(np.abs(trainings.value), initial=0.0))


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
