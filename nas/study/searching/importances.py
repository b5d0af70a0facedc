"""Layer 4: what a search's trials suggest about each decision, by Optuna's importances: exploratory, never an effect."""

from __future__ import annotations

import copy
import warnings

import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.study.ledger.ledger import Ledger
from nas.values.records import Importance

MOST_TRIALS = 200
"""How many trials are looked at: with more, the forest of fANOVA would take longer than the rest of the report (200: about a second)."""
LEAST_TRIALS = 10


def exploratory_importances(search: Ledger) -> tuple[tuple[Importance, ...], int]:
    """Return PED-ANOVA's and fANOVA's share of each decision that every completed trial has, and how many trials were used.

    The shares are of the score, whatever else is searched for. Of more than MOST_TRIALS trials an even spread is taken.
    Nothing is returned of fewer than ten, or of equal scores.
    """
    trials = [_by_score(trial) for trial in _spread(search.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))]
    values = {trial.value for trial in trials}
    if len(trials) < LEAST_TRIALS or len(values) < 2:
        return (), 0
    study = optuna.create_study(direction=search.study.directions[0])  # in memory
    study.add_trials(trials)
    evaluators: tuple[optuna.importance.BaseImportanceEvaluator, ...] = (
        optuna.importance.PedAnovaImportanceEvaluator(),
        optuna.importance.FanovaImportanceEvaluator(n_trees=32, seed=0),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ped, fanova = (optuna.importance.get_param_importances(study, evaluator=evaluator) for evaluator in evaluators)
        except (RuntimeError, ValueError):  # Optuna raises either where the scores leave nothing to share out
            return (), 0
    found = [Importance(path, float(ped.get(path, 0.0)), float(share)) for path, share in fanova.items()]
    return tuple(sorted(found, key=lambda importance: -importance.fanova)), len(trials)


def _by_score(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial with its score alone: what it costs follows from its decisions, and needs no guess."""
    if len(trial.values) == 1:
        return trial
    alone = copy.copy(trial)
    alone.values = trial.values[:1]
    return alone


def _spread(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    step = max(len(trials) / MOST_TRIALS, 1.0)
    return [trials[int(i * step)] for i in range(min(len(trials), MOST_TRIALS))]
