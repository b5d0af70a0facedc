"""Layer 4: the Gaussian process, bounded: Optuna fits it to all trials, which takes the cube of their number."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from nas.values.dominance import undominated

MOST_FITTED = 300
"""To so many trials it is fitted at most: a proposal then takes a quarter of a second, where 1,000 took two (benchmarks/bookkeeping.py)."""


class BoundedGaussianProcess(optuna.samplers.GPSampler):
    """`optuna.samplers.GPSampler`, fitted to the best trials and the latest ones, half of each; up to `MOST_FITTED` trials to all.

    The best say where to look closer, the latest keep it from proposing again what it has just tried.
    """

    def _sample_relative_impl(
        self, study: optuna.Study, completed_trials: list[FrozenTrial], running_trials: list[FrozenTrial],
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:  # fmt: skip
        fitted = best_and_latest(completed_trials, study.directions)
        return super()._sample_relative_impl(study, fitted, running_trials, search_space)


def best_and_latest(completed: list[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """Return at most `MOST_FITTED` completed trials by number: those that no other beats in all objectives before the others."""
    if len(completed) <= MOST_FITTED:
        return completed
    latest, earlier = completed[-(MOST_FITTED // 2) :], completed[: -(MOST_FITTED // 2)]
    signs = [1.0 if direction == StudyDirection.MAXIMIZE else -1.0 for direction in directions]
    figures = [[sign * value for sign, value in zip(signs, trial.values, strict=True)] for trial in earlier]
    front = set(undominated(figures)) if len(signs) > 1 else set()
    best = nlargest(MOST_FITTED - len(latest), range(len(earlier)), key=lambda place: (place in front, figures[place][0]))
    return [*(earlier[place] for place in sorted(best)), *latest]
