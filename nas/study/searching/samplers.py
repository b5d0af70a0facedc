"""Layer 4: Optuna's samplers and pruners, by the names a space file gives them."""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.samplers._lazy_random_state import LazyRandomState
from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace, _SearchSpaceGroup
from optuna.trial import TrialState

from nas.recipe import Recipe
from nas.space import SearchOptions, Space
from nas.space.sections import WILCOXON_P, WILCOXON_SEEDS
from nas.space.templates import Fixed
from nas.study.searching.evolution import RegularizedEvolution
from nas.study.searching.gaussian import BoundedGaussianProcess
from nas.study.searching.grid import Grid
from nas.study.searching.pruning import MedianPruner
from nas.values.seeds import derive


class _Groups(_GroupDecomposedSearchSpace):
    """The groups of decisions that TPE models jointly, as Optuna finds them, but each trial is looked at once, not at every proposal."""

    def __init__(self, include_pruned: bool) -> None:
        super().__init__(include_pruned)
        self._seen: set[int] = set()

    def calculate(self, study: optuna.Study, use_cache: bool = False) -> _SearchSpaceGroup:
        """Return the groups. A trial that was added once changes nothing when it is added again."""
        states = (TrialState.COMPLETE, TrialState.PRUNED) if self._include_pruned else (TrialState.COMPLETE,)
        for trial in study._get_trials(deepcopy=False, states=states, use_cache=use_cache):
            if trial.number not in self._seen:
                self._seen.add(trial.number)
                self._search_space.add_distributions(trial.distributions)
        return copy.deepcopy(self._search_space)


def _tpe(seed: int) -> BaseSampler:
    # Without `group`, TPE models jointly only what every trial has, and so no conditional decision.
    sampler = optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)
    sampler._group_decomposed_search_space = _Groups(include_pruned=True)
    return sampler


def _cmaes(seed: int) -> BaseSampler:
    return optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)


def _gp(seed: int) -> BaseSampler:
    return BoundedGaussianProcess(seed=seed)


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
    "grid": Grid,
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
}
_SHARED = ("qmc",)
MOST_REFUSED = 3


def make_sampler(options: SearchOptions, seed: int, *, shared_seed: int = 0) -> BaseSampler:
    """Build the sampler. `shared_seed` is the study's, for a sequence that all workers share."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return _SAMPLERS[options.sampler]((shared_seed if options.sampler in _SHARED else seed) % 2**32)


def reseed(sampler: BaseSampler, seed: int) -> BaseSampler:
    """Start a sampler's random numbers anew, and those of the samplers that it has within; return it.

    What it proposes next then follows from the seed and the trials it sees, whatever it proposed before. A Sobol sequence, which
    counts its points in the ledger, stays the same.
    """
    for name, value in vars(sampler).items():
        own = derive(seed, name) % 2**32
        if isinstance(value, LazyRandomState):
            value.rng.seed(own)
        elif isinstance(value, random.Random):
            value.seed(own)
        elif isinstance(value, BaseSampler):
            reseed(value, own)
    return sampler


def for_slot(sampler: BaseSampler, seed: int, *, refused: int) -> BaseSampler:
    """Return what proposes for a slot of which `refused` samples broke a constraint or failed at the gate: the sampler, from its own seed.

    With several seeds a trial, those trials count with them that were told last and trained nothing, since all of it was known.
    No sampler but the grid sees what was refused, and one that is sure of where the best lies proposes that again and again, a Gaussian
    process as well as TPE: after some refusals the slot is drawn at random.
    """
    if refused >= MOST_REFUSED and not isinstance(sampler, Grid):
        return optuna.samplers.RandomSampler(seed=derive(seed, refused) % 2**32)
    return reseed(sampler, derive(seed, refused))


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
        case "wilcoxon":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                return optuna.pruners.WilcoxonPruner(p_threshold=WILCOXON_P, n_startup_steps=WILCOXON_SEEDS)
        case "median":
            return MedianPruner(n_startup_trials=5, n_warmup_steps=2)


def _epochs(space: Space) -> int | str:
    """How long a training is, which Hyperband has to know; where that is a decision, it waits for the first one to end."""
    epochs = dict(space.train.parameters).get("epochs", Fixed(Recipe.epochs))
    return int(epochs.value) if isinstance(epochs, Fixed) and isinstance(epochs.value, int) else "auto"
