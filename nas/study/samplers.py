"""Layer 4: Optuna's samplers and pruners, by the names a space file gives them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from nas.recipe import Recipe
from nas.space import SearchOptions, Space
from nas.space.templates import Fixed
from nas.study.evolution import RegularizedEvolution


class _Grid(optuna.samplers.BruteForceSampler):
    """Every combination once, in a random order; conditional decisions too. Once all are there, it starts again."""

    def __init__(self, seed: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            super().__init__(seed=seed, avoid_premature_stop=True)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Do nothing: Optuna would stop a loop of its own here, and there is none. The number of trials ends the search."""


def _tpe(seed: int) -> BaseSampler:
    # Without `group`, TPE models jointly only what every trial has, and so no conditional decision.
    return optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)


def _cmaes(seed: int) -> BaseSampler:
    return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)


def _gp(seed: int) -> BaseSampler:
    return optuna.samplers.GPSampler(seed=seed, warn_independent_sampling=False)


def _qmc(seed: int) -> BaseSampler:
    # One sequence for all workers: they count its points in the ledger.
    return optuna.samplers.QMCSampler(scramble=True, seed=seed, warn_independent_sampling=False)


_SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": _tpe,
    "gp": _gp,
    "cmaes": _cmaes,
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(population_size=20, seed=seed),
    "evolution": RegularizedEvolution,
    "qmc": _qmc,
    "grid": _Grid,
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}
_SHARED = ("qmc",)


def make_sampler(options: SearchOptions, seed: int, *, shared_seed: int = 0) -> BaseSampler:
    """Build the sampler. `seed` differs from worker to worker; `shared_seed` is the study's, for a sequence they share."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return _SAMPLERS[options.sampler]((shared_seed if options.sampler in _SHARED else seed) % 2**32)


def make_pruner(space: Space) -> BasePruner:
    """Build the pruner."""
    match space.search.pruner:
        case "none":
            return optuna.pruners.NopPruner()
        case "asha":
            return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
        case "hyperband":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return optuna.pruners.HyperbandPruner(min_resource=1, max_resource=_epochs(space), reduction_factor=3)
        case "median":
            return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)


def _epochs(space: Space) -> int | str:
    """How long a training is, which Hyperband has to know; where that is a decision, it waits for the first one to end."""
    epochs = dict(space.train.parameters).get("epochs", Fixed(Recipe.epochs))
    return int(epochs.value) if isinstance(epochs, Fixed) and isinstance(epochs.value, int) else "auto"
