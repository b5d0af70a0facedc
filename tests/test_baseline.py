"""The random baseline of a search: as many trials of the same space, in a queue of their own, drawn beside the search's."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import optuna
import pytest
from in_process import nas_here

from nas.report.against_random import best_so_far, told
from nas.report.page import render
from nas.values.outcome import Cost, Outcome
from nas.values.records import State, StudyRecord, TrainingRecord

SPACE = """\
name: tiny
architecture: {staged: {widths: [4], depth: {int: [1, 4]}, shortcut: {choices: [none, identity]}}}
train: {epochs: 1, batch_size: 256, optimizer: {sgd: {lr: {float: [0.05, 0.2], log: true}}}}
search: {trials: 3, workers: 1}
constraints: [num_layers <= 6]
measure: {factor: architecture.staged.shortcut, reference: none, hold: {architecture.staged.depth: 1}, replicates: 2}
"""


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study searched and measured, then asked for its baseline."""
    place = tmp_path_factory.mktemp("baseline")
    (place / "tiny.yaml").write_text(SPACE)
    (place / "before.json").write_text(json.dumps(document(nas_here(place, "search", "tiny.yaml", "--json"))))
    (place / "after.json").write_text(json.dumps(document(nas_here(place, "search", "tiny.yaml", "--baseline", "--json"))))
    return place


def read(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return found


def test_a_baseline_has_as_many_trials_as_the_search_and_changes_nothing_of_it(folder: Path) -> None:
    before, after = read(folder, "before"), read(folder, "after")
    assert after["baseline"]["told_trials"] == after["told_trials"] == 3
    assert "baseline" not in before
    assert {key: before[key] for key in ("study", "best", "replicates", "effects")} == {
        key: after[key] for key in ("study", "best", "replicates", "effects")
    }


def test_its_draws_depend_on_the_seed_alone_and_keep_the_constraints(folder: Path) -> None:
    from nas.study.searching.baseline import Baseline
    from nas.study.study import Study

    study = Study.reopen(None, f"sqlite:///{folder / 'mlflow' / 'optuna.db'}")
    assert isinstance(study.baseline, Baseline)
    drawn = [dict(slot.fixed) for slot in study.baseline.slots(12)]
    assert drawn == [dict(slot.fixed) for slot in study.baseline.slots(12)]
    assert {int(str(slot["architecture.staged.depth"])) for slot in drawn} == {1, 2}, "two units of two layers and two more are 6"
    assert [dict(t.decisions) for t in study.record().baseline] == drawn[:3]


def test_its_trials_have_a_ledger_of_their_own_and_runs_in_mlflow(folder: Path) -> None:
    title = read(folder, "after")["study"]
    names = optuna.get_all_study_names(f"sqlite:///{folder / 'mlflow' / 'optuna.db'}")
    assert f"{title}/search/random" in names
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id], "tags.`nas.phase` = 'baseline'")) == 3


def test_a_study_with_a_baseline_keeps_it_and_trains_nothing_twice(folder: Path) -> None:
    again = document(nas_here(folder, "search", "tiny.yaml", "--json"))
    assert again["baseline"] == read(folder, "after")["baseline"]
    page = Path(again["report"]).read_text()
    assert ">baseline</th>" in page, "the accounts have a row for it"
    assert re.search('<pre class="command">nas search .* --baseline</pre>', page), "and the page says how to make it again"
    listed = json.loads(nas_here(folder, "studies", "--json").stdout)
    assert [(row["search"], row["measured"]) for row in listed] == [(3, 4)]


@pytest.mark.parametrize(("search", "why"), [("sampler: random", "own sampler is random"), ("minimize: parameters", "several objectives")])
def test_a_baseline_with_nothing_to_compare_is_refused(tmp_path: Path, search: str, why: str) -> None:
    given = "maximize: val_accuracy, minimize: [parameters]" if "parameters" in search else search
    (tmp_path / "tiny.yaml").write_text(SPACE.replace("workers: 1", f"workers: 1, {given}"))
    refused = nas_here(tmp_path, "search", "tiny.yaml", "--baseline")
    assert refused.returncode == 2
    assert why in refused.stderr


def trial(number: int, score: float, state: State = "complete") -> TrainingRecord:
    return TrainingRecord(number, "search", state, (), outcome=Outcome("complete", score, {}, {}, Cost(1, 1, 1), 1, 1.0, "cpu"))


def record(ours: list[float], random: list[float], planned: int = 4) -> StudyRecord:
    both = [tuple(trial(i, score) for i, score in enumerate(scores)) for scores in (ours, random)]
    return StudyRecord(
        "s", "k", "s.yaml", "", "val_accuracy", "maximize", both[0], (), 4, None, {}, {}, baseline=both[1], planned_baseline=planned
    )


def test_the_sentence_says_how_far_random_trials_came_and_that_it_has_no_interval() -> None:
    said = told(record([0.7, 0.9, 0.8, 0.95], [0.6, 0.7, 0.9, 0.5]))
    assert said.startswith("4 trials drawn at random from the same space, with the same pruner, reached 90.0% at best, 5.0 points below")
    assert "The search was there after 2 trials, they after 3." in said
    assert "no interval can be given" in said


def test_a_search_that_random_trials_beat_is_told_so() -> None:
    said = told(record([0.7, 0.8], [0.6, 0.9]))
    assert "10.0 points above the search's" in said
    assert "was there after" not in said
    assert "Only 2 of 4 are trained" in said


def test_pruned_trials_count_as_trainings_and_never_as_the_best() -> None:
    some = record([0.5], [])
    trials = (trial(0, 0.9, "pruned"), trial(1, 0.4), trial(2, 0.6), trial(3, 0.99, "broken"), trial(4, 0.7))
    assert best_so_far(some, trials) == [(2, 0.4), (3, 0.6), (4, 0.7)]


def test_the_report_draws_both_beside_each_other() -> None:
    page = render(record([0.7, 0.9, 0.8, 0.95], [0.6, 0.7, 0.9, 0.5]), effects=None)
    assert 'class="l strong c5"' in page
    assert "reached 90.0% at best" in page
