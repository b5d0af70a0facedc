"""The tracker against real MLflow: a SQLite store, and a server that starts late."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nas.errors import StudyError, UserError
from nas.tracking import Tracker, store_uri
from nas.tracking.connection import connect, require_mlflow
from nas.tracking.effects import step_axis
from nas.tracking.keys import safe_keys
from nas.tracking.names import run_name
from nas.values.architecture import Architecture, Configuration, PluginNode
from nas.values.effects import CellSummary, Effects, Estimate, Interval
from nas.values.outcome import Cost, Outcome
from nas.values.plans import Cell, MeasurePlan
from nas.values.records import StudyRecord, TrainingRecord

REPOSITORY = Path(__file__).resolve().parents[1]
START = datetime(2026, 1, 5, 12, 0, 0)
DEPTH = "architecture.staged.depth"
SHORTCUT = "architecture.staged.shortcut"


def outcome(**changes: Any) -> Outcome:
    whole = Outcome(
        status="complete",
        score=0.9,
        metrics={"val_accuracy": 0.9, "test_loss": 0.3},
        curves={"train_loss": (1.5, 0.7, 0.4), "val_accuracy": (0.5, 0.8, 0.9)},
        cost=Cost(parameters=1000, macs=250_000, num_layers=20),
        num_epochs=3,
        duration_s=4.5,
        device="cpu",
    )
    return dataclasses.replace(whole, **changes)


def trial(number: int, **changes: Any) -> TrainingRecord:
    whole = TrainingRecord(
        number=number,
        phase="search",
        state="complete",
        decisions=(
            (DEPTH, 3),
            ("architecture.staged.block", "preact_basic"),
            (SHORTCUT, "identity"),
            ("train.sgd.lr", 0.1234567),
        ),
        configuration=Configuration(Architecture(PluginNode("staged", (("depth", 3),))), PluginNode("sgd"), PluginNode("digits")),
        seed=17,
        outcome=outcome(),
        started=START + timedelta(minutes=number),
        finished=START + timedelta(minutes=number, seconds=30),
    )
    return dataclasses.replace(whole, **changes)


def measured(number: int, replicate: int, level: str, depth: int) -> TrainingRecord:
    cell = Cell(replicate, level, ((DEPTH, depth),))
    return trial(number, phase="measure", cell=cell, decisions=((DEPTH, depth), (SHORTCUT, level)))


def study(name: str, *, search: Any = (), twins: Any = (), **changes: Any) -> StudyRecord:
    whole = StudyRecord(
        name=name,
        key="1a2b3c4d",
        space_file="spaces/space.yaml",
        space_text="name: a space\n",
        objective="val_accuracy",
        direction="maximize",
        search=tuple(search),
        measured=tuple(twins),
        planned_search=30,
        plan=MeasurePlan(SHORTCUT, "none", ("identity",), ((DEPTH, (1, 9)),), 10, 0.01),
        environment={"python": "3.11", "git": {"commit": "abc"}},
        data={"name": "digits", "fingerprint": "f" * 64, "num_examples": 1797, "search_split_seed": 4},
        created=START,
    )
    return dataclasses.replace(whole, **changes)


def effects_of(**changes: Any) -> Effects:
    def estimate(estimand: str, at: Any, mean: float) -> Estimate:
        around = Interval(mean - 0.01, mean + 0.01, 0.975)
        return Estimate(estimand, "identity", at, 10, mean, 0.01, around, 0.01, 0.01, 0.02, "helps materially")

    def cell(level: str, at: Any) -> CellSummary:
        facts = (0.91, 0.01, 1, 0, 0.92, 0.75, None, None, None, None, None, 2752.0, 0.0)
        return CellSummary(level, at, 10, *facts)

    places = ((1,), (9,))
    whole = Effects(
        factor=SHORTCUT,
        reference="none",
        levels=("identity",),
        by=(DEPTH,),
        at=places,
        num_layers=(8, 56),
        slope_axis="num_layers",
        smallest_effect=0.01,
        replicates=10,
        cells=tuple(cell(level, at) for level in ("none", "identity") for at in places),
        overall=(estimate("theta", None, 0.035),),
        slopes=(estimate("beta", None, 0.02),),
        at_each=(estimate("theta_d", (1,), 0.005), estimate("theta_d", (9,), 0.065)),
        sentence="The identity shortcut helps materially.",
    )
    return dataclasses.replace(whole, **changes)


@pytest.fixture(scope="module", autouse=True)
def no_named_place() -> Iterator[None]:
    """Keep what the machine's own MLflow settings say out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One SQLite store for all tests (its tables take a second to make); each test has an experiment of its own."""
    folder = tmp_path_factory.mktemp("a störe #1")
    connect(store_uri(folder))
    return folder


@pytest.fixture
def tracker(store: Path) -> Tracker:
    return tracker_of(store)


def tracker_of(store: Path) -> Tracker:
    return Tracker(store_uri(store), store / "artifacts")


def runs_of(store: Path | str, name: str) -> tuple[Any, list[Any]]:
    """Return the parent and the children of an experiment, as MLflow's own client sees them."""
    client = connect(store if isinstance(store, str) else store_uri(store))
    experiment = client.get_experiment_by_name(name)
    assert experiment is not None
    runs = list(client.search_runs([experiment.experiment_id]))
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert len(runs) == 1 + len(children)
    return parent, sorted(children, key=lambda run: run.info.start_time)


def history(store: Path, run: Any, key: str) -> list[tuple[int, float]]:
    points = connect(store_uri(store)).get_metric_history(run.info.run_id, key)
    return sorted((point.step, point.value) for point in points)


def test_run_names_say_what_was_chosen_and_where_a_twin_stands() -> None:
    record = study("names")
    assert run_name(trial(7), record) == "trial 7 · preact_basic · identity · depth 3"
    assert run_name(measured(1, 3, "none", 9), record) == "replicate 3 · none · depth 9"
    many = trial(8, decisions=tuple((f"architecture.staged.width{i}", i) for i in range(9)))
    assert run_name(many, record) == "trial 8 · width0 0 · width1 1 · width2 2 · width3 3 · …"


def test_keys_mlflow_refuses_become_distinct_readable_ones() -> None:
    keys = safe_keys(["architecture.depth", "gated(bias=6)", "gated(bias:6)", "a//b", "..", "x" * 300, "x" * 301])
    assert keys["architecture.depth"] == "architecture.depth"
    assert keys["gated(bias=6)"].startswith("gated_bias_6_")
    assert len(set(keys.values())) == len(keys)
    assert max(map(len, keys.values())) <= 250


def test_a_finished_trial_is_a_child_run_with_all_that_was_measured(store: Path, tracker: Tracker) -> None:
    report = tracker.sync(study("one-trial", search=[trial(7)]))
    assert (report.written, report.pending, report.error) == (1, 0, "")
    parent, (run,) = runs_of(store, "one-trial")
    assert parent.info.run_name == "one-trial-1a2b3c4d"
    assert parent.info.status == "RUNNING"
    assert run.info.run_name == "trial 7 · preact_basic · identity · depth 3"
    assert run.info.status == "FINISHED"
    assert run.info.start_time == (START + timedelta(minutes=7)).timestamp() * 1000
    assert run.info.end_time - run.info.start_time == 30_000
    assert run.data.params[DEPTH] == "3"
    assert run.data.params["train.sgd.lr"] == "0.1234567"
    configuration = trial(7).configuration
    assert configuration is not None
    assert {key: value for key, value in run.data.tags.items() if key.startswith("nas.")} == {
        "nas.study": "one-trial-1a2b3c4d",
        "nas.data": "digits",
        "nas.data_fingerprint": "f" * 64,
        "nas.split_seed": "4",
        "nas.phase": "search",
        "nas.number": "7",
        "nas.seed": "17",
        "nas.status": "complete",
        "nas.device": "cpu",
        "nas.architecture_key": configuration.architecture.key,
        "nas.configuration_key": configuration.key,
    }
    assert run.data.metrics == {
        "train_loss": 0.4,
        "val_accuracy": 0.9,
        "test_loss": 0.3,
        "score": 0.9,
        "parameters": 1000,
        "macs": 250_000,
        "num_layers": 20,
        "num_epochs": 3,
        "duration_s": 4.5,
    }
    assert history(store, run, "val_accuracy") == [(1, 0.5), (2, 0.8), (3, 0.9)]


def test_a_final_figure_that_differs_from_its_curve_is_what_the_run_shows(store: Path, tracker: Tracker) -> None:
    tracker.sync(study("final", search=[trial(1, outcome=outcome(metrics={"val_accuracy": 0.7}))]))
    _, (run,) = runs_of(store, "final")
    assert run.data.metrics["val_accuracy"] == 0.7


def test_measured_twins_carry_factor_level_and_replicate(store: Path, tracker: Tracker) -> None:
    tracker.sync(study("twins", twins=[measured(0, 0, "none", 1), measured(1, 0, "identity", 9)]))
    _, runs = runs_of(store, "twins")
    tags = [{key: run.data.tags[f"nas.{key}"] for key in ("phase", "factor", "level", "replicate")} for run in runs]
    assert tags[0] == {"phase": "measure", "factor": SHORTCUT, "level": "none", "replicate": "0"}
    assert tags[1]["level"] == "identity"
    assert runs[1].info.run_name == "replicate 0 · identity · depth 9"


def test_nothing_is_written_twice_by_one_tracker_or_by_the_next(store: Path, tracker: Tracker) -> None:
    two = study("twice", search=[trial(1), trial(2)], twins=[measured(1, 0, "none", 1)])
    assert tracker.sync(two).written == 3
    assert tracker.sync(two).written == 0
    three = dataclasses.replace(two, search=(*two.search, trial(3), trial(4, state="running", outcome=None)))
    report = tracker_of(store).sync(three)
    assert (report.written, report.pending) == (1, 0)
    assert len(runs_of(store, "twice")[1]) == 4


def test_a_tracker_searches_once_however_often_it_syncs(store: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    searches = []
    real = MlflowClient.search_runs
    monkeypatch.setattr(MlflowClient, "search_runs", lambda *a, **k: searches.append(1) or real(*a, **k))  # type: ignore[func-returns-value]
    for count in range(4):
        tracker.sync(study("searches", search=[trial(n) for n in range(count)]))
    assert len(searches) == 1


def test_a_training_that_has_its_run_is_not_looked_at_again(store: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    import nas.tracking.tracker

    first = study("growing", search=[trial(1), trial(2, state="gated", outcome=None), trial(3, state="running", outcome=None)])
    for _ in range(2):  # the first one finds out what the server has
        tracker.sync(first)
    looked = list[int]()
    real = nas.tracking.tracker.identity
    monkeypatch.setattr(nas.tracking.tracker, "identity", lambda t: looked.append(t.number) or real(t))  # type: ignore[func-returns-value]
    assert tracker.sync(dataclasses.replace(first, search=(*first.search[:2], trial(3), trial(4)))).written == 2
    assert set(looked) == {3, 4}
    remade = study("growing", search=[trial(n) for n in (1, 3, 4, 5)])
    assert tracker.sync(remade).written == 1
    assert len(runs_of(store, "growing")[1]) == 4


def test_a_run_that_was_cut_short_is_completed_not_doubled(store: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    record = study("cut-short", search=[trial(1), trial(2)])

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionResetError(104, "Connection reset by peer")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_terminated", fail)
        report = tracker.sync(record)
    assert (report.written, report.pending) == (0, 2)
    assert "does not answer (Connection reset by peer); 2 results wait" in report.error
    report = tracker_of(store).sync(record)
    assert (report.written, report.pending, report.error) == (2, 0, "")
    _, runs = runs_of(store, "cut-short")
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert history(store, runs[0], "train_loss") == [(1, 1.5), (2, 0.7), (3, 0.4)]


def test_each_end_of_a_training_has_its_status(store: Path, tracker: Tracker) -> None:
    failed = outcome(status="failed", score=0.1, failure="the loss is not finite in epoch 2")
    record = study(
        "statuses",
        search=[
            trial(1, state="pruned", outcome=outcome(status="pruned", num_epochs=1)),
            trial(2, state="failed", outcome=failed),
            trial(3, state="broken", outcome=None, configuration=None, error="Traceback\nMemoryError: 8 GiB"),
            trial(4, state="interrupted", outcome=None),
            trial(5, state="waiting", outcome=None),
        ],
    )
    assert tracker.sync(record).written == 3
    _, runs = runs_of(store, "statuses")
    assert [(run.info.status, run.data.tags["nas.status"]) for run in runs] == [
        ("FINISHED", "pruned"),
        ("FINISHED", "failed"),
        ("FAILED", "broken"),
    ]
    assert runs[1].data.metrics["score"] == 0.1
    assert runs[1].data.tags["nas.reason"] == "the loss is not finite in epoch 2"
    assert runs[2].data.tags["nas.reason"] == "MemoryError: 8 GiB"
    assert "Traceback" in runs[2].data.tags["mlflow.note.content"]


def test_figures_that_are_not_finite_are_gaps(store: Path, tracker: Tracker) -> None:
    diverged = outcome(curves={"train_loss": (1.0, math.inf, math.nan)}, metrics={"train_loss": math.nan})
    assert tracker.sync(study("diverged", search=[trial(1, outcome=diverged)])).error == ""
    _, (run,) = runs_of(store, "diverged")
    values = [value for _, value in history(store, run, "train_loss")]
    assert values[0] == 1.0
    assert [math.isnan(value) for value in values] == [False, True, True]


def test_records_beyond_mlflows_limits_are_written_all_the_same(store: Path, tracker: Tracker) -> None:
    long = outcome(curves={"train loss (smoothed)": tuple(float(i) for i in range(1500))})
    decisions = tuple((f"architecture.stages[{i}].block:kind", "v" * 7000) for i in range(130))
    report = tracker.sync(study("limits", search=[trial(1, outcome=long, decisions=decisions)]))
    assert report.error == ""
    _, (run,) = runs_of(store, "limits")
    assert len(run.data.params) == 130
    assert len(history(store, run, "train loss _smoothed_")) == 1500
    assert len(run.data.params["architecture.stages_0_.block_kind"]) == 6000


def test_effects_are_metrics_of_the_study_by_depth_in_points(store: Path, tracker: Tracker) -> None:
    record = study("effects", twins=[measured(1, 0, "none", 1)])
    tracker.sync(record, effects=effects_of())
    tracker.sync(record)
    tracker_of(store).sync(record, effects=effects_of())
    parent, _ = runs_of(store, "effects")
    assert history(store, parent, "effect/identity") == [(8, 0.5), (56, 6.5)]
    assert history(store, parent, "effect/identity low") == [(8, -0.5), (56, 5.5)]
    assert history(store, parent, "effect/identity high") == [(8, 1.5), (56, 7.5)]
    assert history(store, parent, "effect_overall/identity") == [(0, 3.5000000000000004)]
    assert history(store, parent, "effect_per_doubling/identity") == [(0, 2.0)]
    assert parent.data.tags["nas.verdict"] == "The identity shortcut helps materially."
    assert parent.data.tags["nas.effect_step"] == "num_layers"


def test_the_step_of_an_effect_tells_the_cells_apart() -> None:
    assert step_axis(effects_of(num_layers=(None, 56))) == (DEPTH, (1, 9))
    assert step_axis(effects_of(num_layers=(20, 20))) == (DEPTH, (1, 9))
    assert step_axis(effects_of(num_layers=(None, None), at=(("small",), ("large",))))[1] == (0, 1)
    assert step_axis(effects_of(num_layers=(None, None), at=((0.1,), (0.5,))))[1] == (0, 1)


def test_cells_of_two_decisions_have_a_column_each_and_steps_of_their_own(store: Path, tracker: Tracker) -> None:
    places = (("narrow", 1), ("narrow", 9), ("wide", 1), ("wide", 9))
    width, some = "architecture.staged.widths", effects_of()
    cells = [dataclasses.replace(some.cells[0], level=level, at=at) for level in ("none", "identity") for at in places]
    at_each = [dataclasses.replace(some.at_each[0], at=at, mean=0.01 * i) for i, at in enumerate(places)]
    layers = (8, 56, 8, 56)
    effects = effects_of(
        by=(width, DEPTH), at=places, num_layers=layers, slope_axis="", slopes=(), cells=tuple(cells), at_each=tuple(at_each)
    )
    tracker.sync(study("two-by", twins=[measured(1, 0, "none", 1)]), effects=effects)
    parent, _ = runs_of(store, "two-by")
    assert history(store, parent, "effect/identity") == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0)]
    assert parent.data.tags["nas.effect_step"] == "cell: 0 narrow × 1, 1 narrow × 9, 2 wide × 1, 3 wide × 9"
    note = parent.data.tags["mlflow.note.content"]
    assert "| widths | depth | layers | level | mean |" in note
    assert "| wide | 9 | 56 | identity | 91.00 |" in note


def test_what_was_refused_has_no_point(store: Path, tracker: Tracker) -> None:
    refused = Estimate("theta_d", "identity", (1,), 3, None, None, None, None, None, None, "", "fewer than 6")
    tracker.sync(study("refused"), effects=effects_of(at_each=(refused,), overall=(), slopes=()))
    parent, _ = runs_of(store, "refused")
    assert parent.data.metrics == {}
    assert "fewer than 6" in parent.data.tags["mlflow.note.content"]


def test_the_description_holds_verdict_table_progress_and_report(store: Path, tmp_path: Path, tracker: Tracker) -> None:
    page = tmp_path / "report.html"
    page.write_text("<html></html>")
    record = study("note", search=[trial(7)], twins=[measured(1, 0, "none", 1)])
    tracker.sync(record, effects=effects_of(), artifacts=[page], note="Also at `reports/x.html`.")
    tracker.sync(record)
    note = runs_of(store, "note")[0].data.tags["mlflow.note.content"]
    assert note.startswith("**The identity shortcut helps materially.**")
    assert "| 9 | 56 | identity | 91.00 | 10 | 1 | +6.50 | [+5.50, +7.50] | 0.02 | 75% | +2,752 | 0 | helps materially |" in note
    assert "| 1 | 8 | none | 91.00 | 10 | 1 | reference |" in note
    assert "1 of 30 trials, 1 of 40 measured trainings" in note
    assert "- trial 7 · preact_basic · identity · depth 3: 0.9000" in note
    assert "`report.html`" in note
    assert note.endswith("Also at `reports/x.html`.")


def test_the_study_keeps_its_data_set_space_environment_and_files(store: Path, tmp_path: Path, tracker: Tracker) -> None:
    import mlflow.data

    page = tmp_path / "report.html"
    page.write_text("first")
    record = study("documents")
    tracker.sync(record, artifacts=[page])
    page.write_text("second, longer")
    assert tracker.sync(record, artifacts=[page]).error == ""
    assert tracker_of(store).sync(dataclasses.replace(record, space_text="name: another\n")).error == ""
    parent, _ = runs_of(store, "documents")
    folder = store / "artifacts" / "documents" / parent.info.run_id / "artifacts"
    assert sorted(path.name for path in folder.iterdir()) == ["environment.json", "report.html", "space.yaml"]
    assert (folder / "report.html").read_text() == "second, longer"
    assert (folder / "space.yaml").read_text() == "name: another\n"
    (data,) = parent.inputs.dataset_inputs
    assert (data.dataset.name, data.dataset.digest) == ("digits", "f" * 12)
    assert "1797" in data.dataset.profile
    assert mlflow.data.get_source(data).to_dict() == {"tags": {"nas.data": "digits"}}


def test_a_missing_file_is_said_in_words_after_the_results_are_written(tmp_path: Path, tracker: Tracker) -> None:
    report = tracker.sync(study("missing-file", search=[trial(1)]), artifacts=[tmp_path / "gone.html"])
    assert (report.written, report.pending) == (1, 0)
    assert "gone.html" in report.error


def test_a_study_that_grows_after_its_end_is_open_again(store: Path, tracker: Tracker) -> None:
    record = study("grows", search=[trial(1)])
    tracker.sync(record, finished=True)
    parent, _ = runs_of(store, "grows")
    assert parent.info.status == "FINISHED"
    assert parent.info.end_time == (START + timedelta(minutes=1, seconds=30)).timestamp() * 1000
    assert record.plan is not None
    more = dataclasses.replace(record, planned_search=50, plan=dataclasses.replace(record.plan, replicates=20))
    assert tracker_of(store).sync(more).error == ""
    parent, _ = runs_of(store, "grows")
    assert parent.info.status == "RUNNING"
    assert parent.data.params["measure.levels"] == "identity"
    assert parent.data.tags["nas.replicates_planned"] == "20"
    assert parent.data.tags["nas.plan"] == "shortcut: identity against none, by depth 1, 9; 20 replicates"


def test_two_studies_of_one_space_share_an_experiment(store: Path, tracker: Tracker) -> None:
    tracker.sync(study("shared", search=[trial(1)]))
    assert tracker.sync(study("shared", search=[trial(1)], key="99999999")).written == 1
    client = connect(store_uri(store))
    experiment = client.get_experiment_by_name("shared")
    assert experiment is not None
    assert len(client.search_runs([experiment.experiment_id])) == 4


def test_a_parent_that_someone_deleted_is_made_anew_and_adopts_the_children(store: Path, tracker: Tracker) -> None:
    record = study("orphans", search=[trial(1)])
    tracker.sync(record)
    connect(store_uri(store)).delete_run(runs_of(store, "orphans")[0].info.run_id)
    assert tracker_of(store).sync(record).written == 0
    assert len(runs_of(store, "orphans")[1]) == 1


def test_a_deleted_experiment_is_named_with_the_way_back(store: Path, tracker: Tracker) -> None:
    record = study("deleted", search=[trial(1)])
    tracker.sync(record)
    client = connect(store_uri(store))
    experiment = client.get_experiment_by_name("deleted")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    report = tracker_of(store).sync(record)
    assert f"mlflow experiments restore --experiment-id {experiment.experiment_id}" in report.error
    assert report.pending == 1


def test_one_entry_that_is_refused_does_not_hold_up_the_others(store: Path, tracker: Tracker, monkeypatch: pytest.MonkeyPatch) -> None:
    import nas.tracking.entries

    monkeypatch.setattr(nas.tracking.entries, "safe_keys", lambda names: {name: name for name in names})
    bad = trial(1, decisions=(("a(b)", 1),))
    report = tracker.sync(study("refusal", search=[bad, trial(2)]))
    assert (report.written, report.pending) == (1, 1)
    assert "a(b)" in report.error


def test_the_named_tracking_uri_wins_over_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_uri(tmp_path / "new") == f"sqlite:///{tmp_path}/new/mlflow.db"
    assert (tmp_path / "new").is_dir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert store_uri(tmp_path / "other") == "http://tracking:5000"
    assert not (tmp_path / "other").exists()


def test_a_store_path_that_no_url_can_carry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--store"):
        store_uri(tmp_path / "100%")


def test_a_database_that_cannot_be_opened_answers_at_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").mkdir()
    began = time.monotonic()
    report = Tracker(f"sqlite:///{tmp_path}/mlflow.db", tmp_path).sync(study("blocked", search=[trial(1)]))
    assert time.monotonic() - began < 5
    assert report.pending == 1
    assert "unable to open database file" in report.error


def test_a_folder_named_mlflow_is_not_taken_for_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlflow").mkdir()
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "mlflow", raising=False)
        patch.setattr(sys, "path", [str(tmp_path)])
        with pytest.raises(StudyError, match="pip install mlflow"):
            require_mlflow()
    monkeypatch.syspath_prepend(str(tmp_path))
    require_mlflow()


WORKER = """
import sys, pathlib
sys.path.insert(1, sys.argv[2])
from test_tracking import study, tracker_of, trial
assert "mlflow" not in sys.modules
report = tracker_of(pathlib.Path("mlflow")).sync(study(sys.argv[1], search=[trial(1)]), finished=True)
assert (report.written, report.error) == (1, ""), report
"""


def test_processes_beside_a_folder_mlflow_write_silently_and_leave_nothing_else(tmp_path: Path) -> None:
    """Two at once, in a folder whose `mlflow/` is the store that both have to create the tables of."""
    (tmp_path / "mlflow").mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
    environment["PYTHONPATH"] = str(REPOSITORY)
    environment.pop("PYTEST_CURRENT_TEST", None)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, name, str(REPOSITORY / "tests")],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name in ("first", "second")
    ]
    assert [(worker.communicate(timeout=240)[0], worker.returncode) for worker in workers] == [("", 0), ("", 0)]
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow"]
    assert len(runs_of(tmp_path / "mlflow", "first")[1]) == 1
    assert len(runs_of(tmp_path / "mlflow", "second")[1]) == 1


def test_a_server_that_never_answers_costs_its_timeout_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        tracker = Tracker(f"http://me:secret@127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        began = time.monotonic()
        report = tracker.sync(study("hang", search=[trial(1)]))
        assert time.monotonic() - began < 3
        began = time.monotonic()
        again = tracker.sync(study("hang", search=[trial(1), trial(2)]))
        assert time.monotonic() - began < 0.1
    assert "does not answer" in report.error
    assert "secret" not in report.error
    assert (again.written, again.pending) == (0, 2)


@pytest.fixture
def late_server(store: Path, tmp_path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the address of a server that does not run yet, and a function that starts it and waits until it answers."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    with sqlite3.connect(store / "mlflow.db") as made, sqlite3.connect(tmp_path / "server.db") as copy:
        made.backup(copy)  # so that the server need not make its tables
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--artifacts-destination", f"{tmp_path}/kept"]
    started = []

    def start() -> None:
        log = (tmp_path / "server.log").open("w")
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        started.append(subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log, env=environment, start_new_session=True))
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        pytest.fail((tmp_path / "server.log").read_text())

    yield uri, start
    for server in started:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=10)


def test_results_wait_for_a_server_that_starts_late(
    late_server: tuple[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    uri, start = late_server
    tracker = Tracker(uri, tmp_path / "unused")
    record = study("late", search=[trial(1), trial(2, outcome=outcome(metrics={"test_loss": math.nan}))])
    report = tracker.sync(record)
    assert (report.written, report.pending) == (0, 2)
    assert report.error == (
        f"MLflow at {uri} does not answer (Connection refused); 2 results wait, nothing is lost: "
        f"later `nas sync {record.title}` writes what it can"
    )
    start()
    report = tracker.sync(record, effects=effects_of())
    assert (report.written, report.pending, report.error) == (2, 0, "")
    grown = dataclasses.replace(record, search=(*record.search, trial(3)))
    assert tracker.sync(grown, finished=True).written == 1
    parent, children = runs_of(uri, "late")
    assert parent.info.status == "FINISHED"
    assert [run.data.tags["nas.number"] for run in children] == ["1", "2", "3"]
    assert children[0].data.metrics["val_accuracy"] == 0.9
    assert math.isnan(children[1].data.metrics["test_loss"])
    assert not (tmp_path / "unused").exists()
    assert list((tmp_path / "kept").rglob("space.yaml"))
    assert capfd.readouterr() == ("", "")
