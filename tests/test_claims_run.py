"""A run of claims: one crew for all of them, what a kill leaves, and that a run of finished claims changes nothing."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import holding
import optuna
import pytest
from conftest import clean_environment

from nas.settling import Settled, settle

TEXT = """\
statement: Deeper is better.
source: nobody
topic: Depth
study:
  data: digits
  architecture:
    staged: {widths: [4, 4], depth: {choices: [1, 2]}, shortcut: {choices: [none, identity]}}
  train: {epochs: 1, batch_size: SIZE, schedule: holding}
  measure: {factor: architecture.staged.shortcut, reference: none, by: {architecture.staged.depth: [1, 2]}, replicates: 2}
rule:
  supported_when: [{compare: identity - none at deepest, metric: train_error, is: below 0}]
  contradicted_when: [{compare: identity - none at deepest, metric: train_error, is: above 0}]
"""
FINISHED = (optuna.trial.TrialState.COMPLETE,)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two claims with studies of their own, and a third that shares the first one's."""
    place = tmp_path_factory.mktemp("claims")
    holding.prepare(place)
    (place / "own").mkdir()
    (place / "own" / "one.yaml").write_text(TEXT.replace("SIZE", "128"))
    (place / "own" / "two.yaml").write_text(TEXT.replace("SIZE", "256"))
    head, rule = TEXT.partition("study:")[0], TEXT.partition("rule:")[2]
    (place / "own" / "three.yaml").write_text(f"{head}study: one\nrule:{rule.replace('deepest', 'shallowest')}")
    return place


def finished(store: Path) -> dict[tuple[str, int], Any]:
    """Every finished training of a ledger with when it ended, by study and number."""
    url = f"sqlite:///{store / 'optuna.db'}"
    try:
        names = [name for name in optuna.get_all_study_names(url) if "/" in name]
        studies = [(name, optuna.load_study(study_name=name, storage=url)) for name in names]
        return {(name, t.number): t.datetime_complete for name, s in studies for t in s.get_trials(deepcopy=False, states=FINISHED)}
    except Exception:  # the ledger is being made
        return {}


def run(folder: Path) -> list[Settled]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return list(settle(["one", "two", "three"], folders=["own"], store=folder / "mlflow", plugins=["plugins"], workers=1))


@pytest.fixture(scope="module")
def killed(folder: Path) -> dict[tuple[str, int], Any]:
    """What a run had finished when it was killed with SIGKILL."""
    command = [sys.executable, "-m", "nas", "claims", "--claims", "own", "run", "one", "two", "three", "--workers", "1"]
    holding.hold_at(folder, 4)
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, env=clean_environment(), text=True)
    holding.wait_until_held(folder, process)
    holding.end(process, signal.SIGKILL)
    holding.release(folder)
    return finished(folder / "mlflow")


@pytest.fixture(scope="module")
def resumed(folder: Path, killed: dict[tuple[str, int], Any]) -> list[Settled]:
    return run(folder)


def test_a_killed_run_goes_on_and_trains_nothing_finished_twice(
    folder: Path, killed: dict[tuple[str, int], Any], resumed: list[Settled]
) -> None:
    assert len(killed) == 3
    now = finished(folder / "mlflow")
    assert len(now) == 16
    assert {key: now[key] for key in killed} == killed
    assert [one.finding.trainings for one in resumed] == [8, 8, 8]


def test_the_claims_of_a_run_share_its_workers(resumed: list[Settled], killed: dict[tuple[str, int], Any]) -> None:
    before = {(name.partition("/")[0], number) for name, number in killed}
    studies = {one.record.title: one.record for one in resumed}
    assert len(studies) == 2
    workers = {t.worker for title, record in studies.items() for t in record.measured if t.outcome and (title, t.number) not in before}
    assert len(workers) == 1


def test_another_run_changes_nothing(folder: Path, resumed: list[Settled]) -> None:
    before = finished(folder / "mlflow")
    again = run(folder)
    assert finished(folder / "mlflow") == before
    assert [one.finding for one in again] == [one.finding for one in resumed]
