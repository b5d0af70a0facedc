"""The main job through the installed command: from a space file to verdict, records and report, interrupted or not."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import holding
import optuna
import pytest
from conftest import clean_environment
from mlflow.tracking import MlflowClient
from optuna.trial import TrialState

Command = Callable[..., subprocess.CompletedProcess[str]]


def written(folder: Path, small_text: str) -> Path:
    """Write the space file into `folder`, with trainings that can be held."""
    holding.prepare(folder)
    file = folder / "small.yaml"
    file.write_text(small_text.replace("train:", "train:\n  schedule: holding"))
    return file


@pytest.fixture
def space_file(tmp_path: Path, small_text: str) -> Path:
    return written(tmp_path, small_text)


def told(folder: Path) -> dict[str, int]:
    """Count the told trials of each study in the ledger of `folder`."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / 'mlflow' / 'optuna.db'}")
    counts: dict[str, int] = {}
    for summary in optuna.get_all_study_summaries(storage):
        trials = optuna.load_study(study_name=summary.study_name, storage=storage).get_trials(deepcopy=False)
        phase = summary.user_attrs["phase"]
        counts[phase] = counts.get(phase, 0) + sum(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in trials)
    return counts


def start(space: Path, folder: Path) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "nas", "search", str(space)]
    return subprocess.Popen(command, cwd=folder, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def replicates(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(result.stdout)["replicates"]
    return sorted(rows, key=lambda row: (row["replicate"], row["level"], str(row["by"])))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, small_text: str) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    written(folder, small_text)
    command = [sys.executable, "-m", "nas", "search", "small.yaml", "--workers", "2", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, env=clean_environment(), check=False)
    return folder, done


def test_a_search_ends_with_every_trial_told_and_every_twin_measured(undisturbed: tuple[Path, Any]) -> None:
    folder, done = undisturbed
    assert done.returncode == 0, done.stderr
    assert told(folder) == {"search": 6, "measure": 12}
    document = json.loads(done.stdout)
    assert (document["told_trials"], document["measured_trainings"]) == (6, 12)
    assert document["effects"]["levels"] == ["identity"]
    assert "Traceback" not in done.stderr


def test_with_three_replicates_there_is_no_verdict_and_the_reason_is_said(undisturbed: tuple[Path, Any]) -> None:
    document = json.loads(undisturbed[1].stdout)
    assert all(row["verdict"] == "no verdict" for row in document["effects"]["overall"])
    assert "3 replicates" in document["verdict"]


def test_the_report_is_one_file_that_loads_nothing_from_elsewhere(undisturbed: tuple[Path, Any]) -> None:
    page = Path(json.loads(undisturbed[1].stdout)["report"]).read_text()
    assert "<svg" in page
    assert "small" in page
    for loading in ('src="http', "src='http", 'href="http', "@import", "url(http"):
        assert loading not in page


def test_mlflow_holds_the_hierarchy_with_decisions_curves_and_effects(undisturbed: tuple[Path, Any]) -> None:
    _, done = undisturbed
    client = MlflowClient(tracking_uri=json.loads(done.stdout)["tracking_uri"])
    (experiment,) = [e for e in client.search_experiments() if e.name == "small"]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    (parent,) = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    assert len(children) == 18
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    measured = [run for run in children if run.data.tags["nas.phase"] == "measure"]
    assert {run.data.tags["nas.level"] for run in measured} == {"none", "identity"}
    assert measured[0].data.params["architecture.staged.depth"] in ("1", "3")
    assert len(client.get_metric_history(measured[0].info.run_id, "val_accuracy")) == 2
    assert [point.step for point in client.get_metric_history(parent.info.run_id, "effect/identity")] == [6, 14]


def test_a_finished_study_trains_nothing_when_run_again(undisturbed: tuple[Path, Any]) -> None:
    folder, done = undisturbed
    command = [sys.executable, "-m", "nas", "search", "small.yaml", "--json"]
    again = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, env=clean_environment(), check=True)
    assert told(folder) == {"search": 6, "measure": 12}
    assert replicates(again) == replicates(done)
    assert json.loads(again.stdout)["effects"] == json.loads(done.stdout)["effects"]


def test_a_recorded_training_comes_back_bit_for_bit_and_a_changed_record_is_told(undisturbed: tuple[Path, Any]) -> None:
    folder, _ = undisturbed
    command = [sys.executable, "-m", "nas", "rerun", "--phase", "measure", "--number", "3", "--json"]
    again = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, env=clean_environment(), check=False)
    assert again.returncode == 0, again.stderr + again.stdout
    assert json.loads(again.stdout)["came_back"] is True
    shutil.copytree(folder / "mlflow", folder / "tampered")
    score = json.loads(again.stdout)["score_now"]
    with sqlite3.connect(folder / "tampered" / "optuna.db") as database:
        database.execute("update trial_user_attributes set value_json = replace(value_json, ?, '0.125')", (repr(score),))
    changed = subprocess.run(
        [*command, "--store", "tampered"], cwd=folder, capture_output=True, text=True, timeout=120, env=clean_environment(), check=False
    )
    assert changed.returncode == 1
    assert json.loads(changed.stdout)["differences"]["score"] == [0.125, score]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["SIGINT", "SIGKILL"])
def test_an_interrupted_run_goes_on_to_the_same_counts_and_the_same_numbers(
    how: signal.Signals, tmp_path: Path, space_file: Path, undisturbed: tuple[Path, Any], nas_command: Command
) -> None:
    for begun, found in ((3, {"search": 2, "measure": 0}), (4 + 4, {"search": 6, "measure": 3})):
        holding.hold_at(tmp_path, begun)
        process = start(space_file, tmp_path)
        holding.wait_until_held(tmp_path, process)
        assert len(holding.children_of(process)) == 1
        status = holding.end(process, how)
        assert status == (130 if how is signal.SIGINT else -signal.SIGKILL)
        assert told(tmp_path) == found
        holding.release(tmp_path)
    done = nas_command("search", str(space_file), "--json")
    assert done.returncode == 0, done.stderr
    assert told(tmp_path) == {"search": 6, "measure": 12}
    assert replicates(done) == replicates(undisturbed[1])
    assert json.loads(done.stdout)["effects"] == json.loads(undisturbed[1].stdout)["effects"]


def test_a_killed_worker_is_replaced_and_its_training_is_run_again(tmp_path: Path, space_file: Path) -> None:
    holding.hold_at(tmp_path, 2)
    process = start(space_file, tmp_path)
    holding.wait_until_held(tmp_path, process)
    os.kill(holding.children_of(process)[0], signal.SIGKILL)
    output = process.communicate(timeout=180)[0]
    assert process.returncode == 0, output
    assert told(tmp_path) == {"search": 6, "measure": 12}
