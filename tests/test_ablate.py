"""Ablation: which changes are planned, and the command through real workers, interrupted or not."""

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import holding
import pytest
from conftest import clean_environment
from in_process import nas_here
from mlflow.tracking import MlflowClient

from nas.errors import UserError
from nas.measuring.ablation import UNCHANGED, Ablation, decide, levels_beside, plan_ablation, tell_ablation
from nas.measuring.estimates import estimate
from nas.registry import Registry
from nas.space import Space, parse_space
from nas.values.effects import Result
from nas.values.plans import Change

DEPTH, SHORTCUT, BIAS = "architecture.staged.depth", "architecture.staged.shortcut", "architecture.staged.shortcut.gated.bias"
TEXT = """\
name: tiny
architecture:
  staged:
    widths: [4, 8]
    depth: {int: [1, 5]}
    shortcut: {choices: [none, identity, {gated: {bias: {choices: [-1, -3]}}}]}
train:
  epochs: 3
  batch_size: 64
  optimizer: {sgd: {lr: {float: [0.05, 0.2], log: true}}}
search: {trials: 2, workers: 2}
"""


@pytest.fixture
def tiny(registry: Registry) -> Space:
    return parse_space(TEXT, "tiny.yaml", registry)


def plan(space: Space, fits: Callable[[Any], bool] = lambda _: True, **changed: Any) -> Ablation:
    base = {SHORTCUT: "identity", DEPTH: 2, "train.optimizer.sgd.lr": 0.1} | changed.pop("base", {})
    options: dict[str, Any] = {"references": {}, "replicates": 2, "smallest_effect": 0.01, "metric": "test_accuracy", **changed}
    return plan_ablation(space, tuple(base.items()), fits=fits, **options)


def test_every_other_label_and_the_ends_and_the_middle_of_a_range_are_tried(tiny: Space) -> None:
    assert [change.level for change in plan(tiny).changes] == [
        f"{DEPTH}=1", f"{DEPTH}=3", f"{DEPTH}=5", f"{SHORTCUT}=none", f"{SHORTCUT}=gated",
        "train.optimizer.sgd.lr=0.05", "train.optimizer.sgd.lr=0.2",
    ]  # fmt: skip


def test_with_a_reference_a_decision_is_changed_to_that_level_only(tiny: Space) -> None:
    found = plan(tiny, references={SHORTCUT: "none"}, only=[SHORTCUT])
    assert [(change.before, change.after) for change in found.changes] == [("identity", "none")]


def test_a_reference_that_stands_already_is_left_out_and_told(tiny: Space) -> None:
    found = plan(tiny, references={SHORTCUT: "identity"}, only=[SHORTCUT, DEPTH])
    assert all(change.path == DEPTH for change in found.changes)
    assert found.left_out == (f"{SHORTCUT}=identity: the unchanged architecture has it already",)


def test_what_appears_under_a_change_takes_what_stands_first_and_is_told(tiny: Space) -> None:
    change = next(c for c in plan(tiny).changes if c.after == "gated")
    assert change.appeared == ((BIAS, -1),)
    back = plan(tiny, base={SHORTCUT: "gated", BIAS: -3.0}, only=[SHORTCUT], references={SHORTCUT: "none"})
    assert back.changes[0].vanished == (BIAS,)


def test_the_sentence_sets_a_change_apart_from_its_size() -> None:
    changes = (Change("architecture.staged.depth", 3, 4), Change("architecture.staged.depth", 3, 1))
    worth = {"unchanged": 0.0, changes[0].level: -0.04, changes[1].level: 0.03}
    results = [
        Result(k, level, (), 0.8 + gain + 0.001 * (k % 3) * (gain != 0)) for k in range(6) for level, gain in worth.items()
    ]  # fmt: skip
    told = tell_ablation(estimate(results, factor="change", reference="unchanged", smallest_effect=0.01), changes)
    assert "harms materially: depth 4 (\N{MINUS SIGN}3.9)" in told
    assert "helps materially: depth 1 (+3.1)" in told


def test_a_change_that_breaks_a_constraint_is_left_out_and_told(registry: Registry) -> None:
    space = parse_space(TEXT + "constraints: [parameters <= 1K]\n", "tiny.yaml", registry)
    deep = decide(space, {DEPTH: 5}).configuration.architecture.key
    found = plan(space, lambda c: c.architecture.key != deep, only=[DEPTH], base={SHORTCUT: "none"})
    assert [change.after for change in found.changes] == [1, 3]
    assert found.left_out == (f"{DEPTH}=5: breaks parameters <= 1,000",)


def test_an_unknown_decision_is_refused_with_the_nearest_name(tiny: Space) -> None:
    with pytest.raises(UserError, match=r"staged\.dept .*did you mean 'architecture\.staged\.depth'"):
        plan(tiny, only=["architecture.staged.dept"])


def test_arms_of_a_replicate_share_the_seed_and_differ_in_one_decision(tiny: Space) -> None:
    found = plan(tiny)
    trainings = list(found.trainings(tiny, lambda _: True, range(2)))
    assert len(trainings) == found.num_trainings == 16
    assert len({t.slot for t in trainings}) == 16
    assert len({t.seed for t in trainings if t.cell.replicate == 0}) == 1
    assert len({t.seed for t in trainings}) == 2
    unchanged = dict(trainings[0].sample.decisions)
    for training in trainings[1:8]:
        made = dict(training.sample.decisions)
        assert sum(made[path] != unchanged[path] for path in unchanged) == 1


def test_more_replicates_are_the_same_ablation_and_other_changes_another(tiny: Space) -> None:
    assert plan(tiny, replicates=9).name == plan(tiny).name
    assert plan(tiny, only=[DEPTH]).name != plan(tiny).name
    assert Ablation.from_dict(json.loads(json.dumps(plan(tiny).to_dict()))) == plan(tiny)


def test_the_middle_of_a_range_is_a_value_of_it(registry: Registry) -> None:
    text = TEXT.replace("depth: {int: [1, 5]}", "depth: {int: [1, 10], step: 3}")
    space = parse_space(text, "tiny.yaml", registry)
    assert levels_beside(space.decisions[DEPTH], 1) == (7, 10)


ARGUMENTS = ("ablate", "tiny.yaml", "--set", f"{SHORTCUT}=identity", "--decision", SHORTCUT, "--replicates", "2")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("ablate")
    return folder, run(folder)


def write(folder: Path) -> None:
    """Write the space into `folder`, with trainings that can be held."""
    holding.prepare(folder)
    (folder / "tiny.yaml").write_text(TEXT.replace("train:", "train:\n  schedule: holding"))


def run(folder: Path) -> dict[str, Any]:
    write(folder)
    done = nas_here(folder, *ARGUMENTS, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_every_change_is_trained_once_a_replicate_and_shares_the_unchanged_training(finished: tuple[Path, Any]) -> None:
    folder, document = finished
    assert document["measured_trainings"] == 6
    assert document["effects"]["levels"] == [f"{SHORTCUT}=none", f"{SHORTCUT}=gated"]
    assert all(estimate["n"] == 2 for estimate in document["effects"]["overall"])
    rows = list(csv.DictReader((folder / "mlflow" / "reports" / document["study"] / "replicates.csv").open()))
    assert sorted(row["level"] for row in rows if row["replicate"] == "0") == sorted([UNCHANGED, *document["effects"]["levels"]])


def test_holm_covers_the_whole_table(finished: tuple[Path, Any]) -> None:
    found = finished[1]["effects"]["overall"]
    first = min(found, key=lambda estimate: estimate["p"])
    assert first["p_holm"] == pytest.approx(min(2 * first["p"], 1.0))


def test_an_ablation_is_a_study_run_of_its_own_in_mlflow(finished: tuple[Path, Any]) -> None:
    document = finished[1]
    client = MlflowClient(tracking_uri=document["tracking_uri"])
    (experiment,) = [e for e in client.search_experiments() if e.name == "tiny"]
    runs = client.search_runs([experiment.experiment_id])
    assert {run.data.tags["nas.study"] for run in runs} == {document["study"]}
    assert sorted(run.data.tags["nas.phase"] for run in runs) == ["ablate"] * 6 + ["study"]


def test_the_page_and_the_terminal_show_the_table(finished: tuple[Path, Any]) -> None:
    folder, document = finished
    assert 'id="ablation"' in Path(document["report"]).read_text()
    told = nas_here(folder, "report", document["study"]).stdout
    assert "identity → none" in told
    assert "bias -1 came along, what stands first in the space" in told.replace("\n", " ")
    table = told[told.index("unchanged:") : told.index("Report")]
    assert all(len(line) <= 80 for line in table.splitlines())


def test_an_interrupted_ablation_goes_on_to_the_same_numbers(finished: tuple[Path, Any], tmp_path: Path) -> None:
    write(tmp_path)
    holding.hold_at(tmp_path, 3)
    command = [sys.executable, "-m", "nas", *ARGUMENTS]
    process = subprocess.Popen(command, cwd=tmp_path, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    holding.wait_until_held(tmp_path, process)
    holding.end(process, signal.SIGKILL)
    holding.release(tmp_path)

    def values(document: dict[str, Any]) -> list[tuple[int, str, float]]:
        return sorted((row["replicate"], row["level"], row["value"]) for row in document["replicates"])

    assert values(run(tmp_path)) == values(finished[1])
