"""Layer 4: the Gaussian process, bounded: Optuna fits it to all trials at every proposal, which takes the cube of their number."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nlargest
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna._gp import acqf as acquisitions
from optuna._gp import gp
from optuna._gp.search_space import SearchSpace
from optuna.distributions import BaseDistribution
from optuna.samplers._gp.sampler import _get_params, _standardize_values
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from nas.values.dominance import undominated

FEW = 150
"""Up to so many trials it is Optuna's, all of it."""
MOST_FITTED = 300
"""To so many trials it is fitted at most: 1,000 took two seconds a proposal (benchmarks/bookkeeping.py)."""
REFIT_EVERY = 20
"""Of more than `FEW` trials, its kernel is fitted anew after so many; each proposal sees all of them through it."""
NUM_PRELIMINARY, NUM_LOCAL = 512, 6
"""With more than `FEW` trials, at so many points the acquisition is looked at, and from so many it is climbed: Optuna takes 2048 and 10."""

Figures = NDArray[np.float64]
Kernel = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""What is fitted: the inverse squared length scales, the scale, the variance of the noise."""


class BoundedGaussianProcess(optuna.samplers.GPSampler):
    """`optuna.samplers.GPSampler`, and of more than `FEW` trials the same with less work: fitted to `MOST_FITTED`, and not every time.

    It is fitted to the best trials and the latest ones, half of each. The best say where to look closer, the latest keep it from
    proposing again what it has just tried. Each fit starts from Optuna's defaults, not where the last one ended: what is proposed then
    follows from the trials, whichever worker proposes.
    """

    def __init__(self, *, seed: int) -> None:
        super().__init__(seed=seed, warn_independent_sampling=False)
        self._kernels: tuple[object, list[Kernel]] = (None, [])

    def _sample_relative_impl(
        self, study: optuna.Study, completed_trials: list[FrozenTrial], running_trials: list[FrozenTrial],
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:  # fmt: skip
        self._gprs_cache_list = None
        if len(completed_trials) <= FEW:
            return super()._sample_relative_impl(study, completed_trials, running_trials, search_space)
        space = SearchSpace(search_space)
        fitted = best_and_latest(completed_trials, study.directions)
        x, y = space.get_normalized_params(fitted), _heights(fitted, study.directions)
        models = [
            _conditioned(x, y[:, objective], space, kernel)
            for objective, kernel in enumerate(self._kernels_of(study, completed_trials, space, search_space))
        ]
        running = space.get_normalized_params(running_trials, [_get_params(t) for t in running_trials]) if running_trials else None
        self._n_preliminary_samples, self._n_local_search = NUM_PRELIMINARY, NUM_LOCAL
        best = x[np.argmax(y), np.newaxis] if len(models) == 1 else self._get_best_params_for_multi_objective(x, y)
        return space.get_unnormalized_param(self._optimize_acqf(self._acquisition(models, y, space, running), best))

    def _kernels_of(
        self, study: optuna.Study, completed: list[FrozenTrial], space: SearchSpace, search_space: dict[str, BaseDistribution]
    ) -> list[Kernel]:
        """Return the kernel of each objective, as it was fitted when the trials were a multiple of `REFIT_EVERY`."""
        then = completed[: len(completed) // REFIT_EVERY * REFIT_EVERY]
        key = (study._study_id, tuple(search_space), tuple(trial.number for trial in then))
        if self._kernels[0] != key:
            fitted = best_and_latest(then, study.directions)
            x, y = space.get_normalized_params(fitted), _heights(fitted, study.directions)
            models = [
                gp.fit_kernel_params(
                    x, column, space.is_categorical, self._log_prior, self._minimum_noise, self._deterministic
                )
                for column in y.T
            ]  # fmt: skip
            self._kernels = key, [(m.inverse_squared_lengthscales, m.kernel_scale, m.noise_var) for m in models]
        return self._kernels[1]

    def _acquisition(
        self, models: list[gp.GPRegressor], y: Figures, space: SearchSpace, running: Figures | None
    ) -> acquisitions.BaseAcquisitionFunc:
        """Return what Optuna maximises: the logarithm of the expected improvement, of the hypervolume with several objectives."""
        seed = 0 if running is None and len(models) == 1 else self._rng.rng.randint(1 << 30)
        if len(models) == 1:
            best = y[:, 0].max()
            if running is None:
                return acquisitions.LogEI(models[0], space, best)
            return acquisitions.qLogEI(models[0], space, best, self._n_qmc_samples_qei, seed, running)
        seen, count = torch.from_numpy(y), self._n_qmc_samples_ehvi
        if running is None:
            return acquisitions.LogEHVI(models, space, seen, count, seed)
        return acquisitions.qLogEHVI(models, space, seen, count, seed, running)


def best_and_latest(completed: list[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """Return at most `MOST_FITTED` completed trials by number: those that no other beats in all objectives before the others."""
    if len(completed) <= MOST_FITTED:
        return completed
    latest, earlier = completed[-(MOST_FITTED // 2) :], completed[: -(MOST_FITTED // 2)]
    signs = _signs(directions)
    figures = [[sign * value for sign, value in zip(signs, trial.values, strict=True)] for trial in earlier]
    front = set(undominated(figures)) if len(signs) > 1 else set()
    best = nlargest(MOST_FITTED - len(latest), range(len(earlier)), key=lambda place: (place in front, figures[place][0]))
    return [*(earlier[place] for place in sorted(best)), *latest]


def _signs(directions: Sequence[StudyDirection]) -> list[float]:
    return [1.0 if direction == StudyDirection.MAXIMIZE else -1.0 for direction in directions]


def _heights(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> Figures:
    """Return the trials' values, more is better, with mean 0 and standard deviation 1: (trials, objectives)."""
    heights: Figures = _standardize_values(np.array(_signs(directions)) * np.array([trial.values for trial in trials]))[0]
    return heights


def _conditioned(x: Figures, y: Figures, space: SearchSpace, kernel: Kernel) -> gp.GPRegressor:
    """Return the process with a fitted kernel, given trials at `x` with the values `y`."""
    model = gp.GPRegressor(torch.from_numpy(space.is_categorical), torch.from_numpy(x), torch.from_numpy(y), *kernel)
    model._cache_matrix()
    return model
