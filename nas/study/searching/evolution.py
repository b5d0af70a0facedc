"""Layer 4: regularised evolution, which Optuna does not bring."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState


class RegularizedEvolution(BaseSampler):
    """Aging evolution (Real et al. 2019, "Regularized Evolution for Image Classifier Architecture Search", Algorithm 1).

    The population is the `population` trials told last, so that even the best one dies of age. Each new trial copies the best of
    `sample` members drawn at random, but for one decision, which is drawn anew; so are decisions that the parent does not have.
    Until the population is full, trials are random.
    """

    def __init__(self, seed: int, *, population: int = 20, sample: int = 5) -> None:
        self._rng = random.Random(seed)
        self._random = optuna.samplers.RandomSampler(seed=seed)
        self.population, self.sample = population, sample
        self._parent: dict[str, Any] = {}

    def reseed_rng(self) -> None:
        """Draw from fresh seeds, as Optuna asks of parallel samplers."""
        self._rng = random.Random()
        self._random.reseed_rng()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return nothing: decisions are made one by one, since one may open or close others."""
        return {}

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]) -> dict[str, Any]:
        """Return nothing, as `infer_relative_search_space`."""
        return {}

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Choose the parent, and forget the one decision that changes."""
        told = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        self._parent = {}
        if len(told) < self.population:
            return
        aged = sorted(told, key=lambda t: t.datetime_complete or t.datetime_start)[-self.population :]  # type: ignore[return-value, arg-type]  # a told trial has both
        fitter = max if study.direction == optuna.study.StudyDirection.MAXIMIZE else min
        parent = fitter(self._rng.sample(aged, self.sample), key=lambda t: t.value)  # type: ignore[return-value, arg-type]  # complete
        self._parent = dict(parent.params)
        if self._parent:
            del self._parent[self._rng.choice(sorted(self._parent))]

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution) -> Any:
        """Return the parent's value, or a random one where there is none."""
        if param_name in self._parent and param_distribution._contains(param_distribution.to_internal_repr(self._parent[param_name])):
            return self._parent[param_name]
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Forget the parent."""
        self._parent = {}
