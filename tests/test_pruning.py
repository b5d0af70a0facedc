"""The median pruner answers as Optuna's own does, whatever was reported."""

import math
import random
import warnings
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from nas.study.ledger.storage import open_storage
from nas.study.searching.pruning import MedianPruner

ENDS = (TrialState.COMPLETE, TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


def drawn(rng: random.Random) -> float:
    """A value of a history: few distinct ones, so that there are ties, and now and then none or an infinite one."""
    return rng.choice([math.nan, math.inf, -math.inf]) if rng.random() < 0.1 else rng.randint(0, 6) / 7


def answers(seed: int, study: optuna.Study, ours: MedianPruner, theirs: optuna.pruners.MedianPruner, trials: int) -> set[bool]:
    """Let trials report by turns and end in any order; both pruners are asked after each report."""
    rng, running, found = random.Random(seed), list[optuna.Trial](), set[bool]()
    for _ in range(trials * 6):
        if not running or (len(running) < 4 and rng.random() < 0.3):
            running.append(study.ask())
        trial = rng.choice(running)
        step = (max(trial._cached_frozen_trial.intermediate_values, default=-1)) + rng.choice([1, 1, 1, 2])
        trial.report(drawn(rng), step)
        frozen = trial._get_latest_trial()
        answer = ours.prune(study, frozen)
        assert answer == theirs.prune(study, frozen)
        found.add(answer)
        if step > 6 or rng.random() < 0.15:
            running.remove(trial)
            state = rng.choice(ENDS)
            study.tell(trial, rng.random() if state == TrialState.COMPLETE else None, state=state)
    return found


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_median_pruner_answers_as_optunas_own_on_random_histories(direction: str) -> None:
    seen = set[bool]()
    for seed in range(40):
        rng = random.Random(seed)
        settings = {"n_startup_trials": rng.randint(0, 6), "n_warmup_steps": rng.randint(0, 3), "interval_steps": rng.randint(1, 3)}
        least = rng.randint(1, 3)
        study = optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, of histories that are all NaN
            pair = [kind(**settings, n_min_trials=least) for kind in (MedianPruner, optuna.pruners.MedianPruner)]
            seen |= answers(seed, study, *pair, trials=15)  # type: ignore[arg-type]
    assert seen == {True, False}


def test_the_median_pruner_hears_of_what_other_processes_finish(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    here, there = (
        optuna.create_study(study_name="s", storage=open_storage(url), direction="maximize", load_if_exists=True) for _ in range(2)
    )
    pruner = MedianPruner(n_startup_trials=1)
    poor = here.ask()
    poor.report(0.1, 0)
    assert not pruner.prune(here, poor._get_latest_trial())
    good = there.ask()
    good.report(0.9, 0)
    there.tell(good, 0.9)
    assert pruner.prune(here, poor._get_latest_trial())


def test_one_median_pruner_may_serve_several_studies() -> None:
    pruner = MedianPruner(n_startup_trials=1)
    answers = []
    for told in (0.9, 0.1):
        study = optuna.create_study(direction="maximize")
        first, second = study.ask(), study.ask()
        first.report(told, 0)
        study.tell(first, told)
        second.report(0.5, 0)
        answers.append(pruner.prune(study, second._get_latest_trial()))
    assert answers == [True, False]
