"""Layer 4: Optuna's samplers and pruners, by the names a space file gives them."""

from __future__ import annotations

import optuna

from nas.space import SearchOptions


def make_sampler(options: SearchOptions, seed: int) -> optuna.samplers.BaseSampler:
    """Build the sampler. TPE models jointly only what every trial has, so conditional decisions need `group=True`."""
    if options.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed % 2**32)
    return optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed % 2**32)


def make_pruner(options: SearchOptions) -> optuna.pruners.BasePruner:
    """Build the pruner."""
    if options.pruner == "none":
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2)
