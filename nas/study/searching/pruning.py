"""Layer 4: Optuna's median pruner, its medians kept up trial by trial: it lists the values of all finished trials at each epoch."""

from __future__ import annotations

import math
from bisect import insort
from collections import Counter, defaultdict

import numpy as np
import optuna
from optuna.pruners._percentile import _get_best_intermediate_result_over_steps, _is_first_in_interval_step
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.study.ledger.news import News, PerStudy


class _Values:
    """What the completed trials of a study reported, by step and in ascending order."""

    def __init__(self) -> None:
        self._news = News()
        self._ordered: defaultdict[int, list[float]] = defaultdict(list)
        self.num_reported: Counter[int] = Counter()
        """How many completed trials reported each step, NaN or not."""
        self.num_completed = 0

    def keep_up(self, study: optuna.Study) -> None:
        for trial in self._news.take(study):
            if trial.state != TrialState.COMPLETE:
                continue
            self.num_completed += 1
            for step, value in trial.intermediate_values.items():
                self.num_reported[step] += 1
                if not math.isnan(value):
                    insort(self._ordered[step], value)

    def median(self, step: int) -> float:
        """Return the median at a step, bit for bit as numpy has it; NaN where there is none."""
        ordered = self._ordered[step]
        if not ordered:
            return math.nan
        # numpy interpolates between the two in the middle; of an odd number at 0 of the way, which makes a NaN of infinities.
        middle = (len(ordered) - 1) // 2
        return float(np.percentile(ordered[middle : middle + 2], 0.0 if len(ordered) % 2 else 50.0))


class MedianPruner(optuna.pruners.MedianPruner):
    """`optuna.pruners.MedianPruner`, with the same answers. What a trial that has finished came to is looked at once."""

    def __init__(self, n_startup_trials: int = 5, n_warmup_steps: int = 0, interval_steps: int = 1, *, n_min_trials: int = 1) -> None:
        super().__init__(n_startup_trials, n_warmup_steps, interval_steps, n_min_trials=n_min_trials)
        self._values = PerStudy(_Values)

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Say whether a trial's best value so far is worse than the median of the completed ones at the same step."""
        step, warm_up = trial.last_step, self._n_warmup_steps
        # What needs no other trial first: in an epoch of the warm-up the database is not asked.
        if step is None or step < warm_up:
            return False
        if not _is_first_in_interval_step(step, trial.intermediate_values.keys(), warm_up, self._interval_steps):
            return False
        values = self._values.of(study)
        values.keep_up(study)
        if values.num_completed < max(self._n_startup_trials, 1):
            return False
        best = _get_best_intermediate_result_over_steps(trial, study.direction)
        if math.isnan(best):
            return True
        median = values.median(step) if values.num_reported[step] >= self._n_min_trials else math.nan
        # No number is above or below NaN.
        return bool(best < median if study.direction == StudyDirection.MAXIMIZE else best > median)
