"""The grid proposes what Optuna's brute force does, and goes on where that one stops."""

import random
import warnings
from pathlib import Path

import optuna
import pytest
from optuna.samplers import BaseSampler, BruteForceSampler
from optuna.trial import Trial, TrialState

from nas.study.ledger.storage import open_storage
from nas.study.searching.grid import Grid

Decided = dict[str, object]


def brute_force(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return BruteForceSampler(seed=seed, avoid_premature_stop=True)


def decide(trial: Trial, stop_after: int = 99) -> Decided:
    """A space with a decision under a decision: 2 x (2 + 3 x 2 + 1) = 18 combinations."""
    kind = trial.suggest_categorical("kind", ["plain", None, "deep"])
    if kind == "plain" and stop_after > 1:
        trial.suggest_float("rate", 0.1, 0.3, step=0.2)
    elif kind == "deep" and stop_after > 1:
        trial.suggest_int("depth", 1, 9, step=4)
        if stop_after > 2:
            trial.suggest_categorical("widths", ["4", "8"])
    if stop_after > 3:
        trial.suggest_int("last", 0, 1)
    return trial.params


def proposals(sampler: BaseSampler, seed: int, trials: int) -> list[Decided]:
    """Let up to three trials run at once, each decided in one go, and end in any order and any way."""
    study, rng, running, found = optuna.create_study(sampler=sampler), random.Random(seed), list[Trial](), list[Decided]()
    for _ in range(trials):
        if len(running) == 3 or (running and rng.random() < 0.5):
            trial = running.pop(rng.randrange(len(running)))
            state = rng.choice([TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
            study.tell(trial, 0.5 if state == TrialState.COMPLETE else None, state=state)
        study.enqueue_trial({"kind": "deep"}) if rng.random() < 0.1 else None
        running.append(study.ask())
        found.append(decide(running[-1]))
    return found


@pytest.mark.parametrize("trials", [14, 40])
def test_the_grid_proposes_what_brute_force_does_from_the_same_seed(trials: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BruteForceSampler, "after_trial", lambda *_: None)  # it would stop a loop that is not there
    for seed in range(15):
        assert proposals(Grid(seed), seed, trials) == proposals(brute_force(seed), seed, trials)


def test_every_combination_comes_once_whoever_tries_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    workers = [
        optuna.create_study(study_name="s", storage=open_storage(url), sampler=Grid(seed), load_if_exists=True) for seed in (1, 2, 3)
    ]
    found = []
    for i in range(18):
        trial = workers[i % 3].ask()
        found.append(str(decide(trial)))
        workers[i % 3].tell(trial, 0.5)
    assert len(set(found)) == 18


@pytest.mark.parametrize("stop_after", [0, 1, 2, 3])
def test_a_trial_that_was_cut_short_in_its_decisions_stops_no_search(stop_after: int) -> None:
    study = optuna.create_study(sampler=Grid(0))
    found = set()
    for i in range(40):
        trial = study.ask()
        if i % 3 == 1:
            if stop_after:
                decide(trial, stop_after)
            study.tell(trial, state=TrialState.FAIL)
        else:
            found.add(str(decide(trial)))
            study.tell(trial, 0.5)
    assert len(found) == 18


def test_a_space_that_asks_in_another_order_is_searched_anew() -> None:
    study = optuna.create_study(sampler=Grid(0))
    for _ in range(3):
        trial = study.ask()
        trial.suggest_int("a", 0, 2)
        trial.suggest_int("b", 0, 1)
        study.tell(trial, 0.5)
    found = set()
    for _ in range(6):
        trial = study.ask()
        found.add((trial.suggest_int("b", 0, 1), trial.suggest_int("a", 0, 2)))
        study.tell(trial, 0.5)
    assert len(found) == 6
