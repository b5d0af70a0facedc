"""Trouble that was planted, through the whole way: ledger, estimate, report, MLflow, CSV and `nas effects`."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from in_process import nas_here
from mlflow.entities import Run
from mlflow.tracking import MlflowClient
from scipy import stats

from nas.concluding import StudyResult, conclude
from nas.measuring.statistics import newcombe_paired
from nas.measuring.table import read_results
from nas.registry import Registry, discover
from nas.sampling import sample
from nas.space import Space, parse_space
from nas.study.ledger.storage import default_storage
from nas.study.ledger.trials import suggest
from nas.study.study import Study
from nas.values.outcome import Outcome
from nas.values.plans import Cell
from nas.values.seeds import derive

SPACE = """\
name: {name}
architecture: {{mlp: {{widths: [8], depth: {{int: [1, 4]}}, shortcut: {{choices: [none, identity, scaled]}}}}}}
train: {{epochs: 1}}
search: {{trials: 1}}
measure:
  factor: architecture.mlp.shortcut
  reference: none
  levels: [{levels}]
  replicates: {replicates}
  by: {{architecture.mlp.depth: [1, 4]}}
"""
LOST, FAILED = "lost", "failed"
MAJORITY = 0.1
Fate = Callable[[Cell], float | str]


@dataclass(frozen=True)
class Told:
    """What a reader is given of one study."""

    result: StudyResult
    page: str
    parent: Run
    rows: list[dict[str, str]]
    again: dict[str, Any]
    """What `nas effects` says of the CSV alone."""

    @property
    def note(self) -> str:
        """The study's description in MLflow."""
        return str(self.parent.data.tags["mlflow.note.content"])


def gain(cell: Cell) -> float:
    """Scores without trouble: a gain of 2 points and half a point more or less by replicate, at each depth."""
    more = {"none": 0.0, "identity": 0.02, "scaled": -0.001}[str(cell.level)]
    return 0.8 + 0.01 * (cell.replicate % 4) + (more + 0.005 * (cell.replicate % 3 - 1) if more else 0.0)


def tell(study: Study, fate: Fate) -> None:
    """Queue what the study owes, tell each training its fate, and lose those that are to be lost as often as they are tried."""
    assert study.measured is not None
    while study.measured.ensure(study.measure_slots()):
        while trial := study.measured.claim():
            replicate, level, by = trial.user_attrs["cell"]
            came = fate(Cell(replicate, level, tuple((path, value) for path, value in by)))
            if came == LOST:
                study.measured.retry(trial)
                study.measured.fail(trial, "broken", "MemoryError: planted")
                continue
            sampled = sample(study.space, lambda decision, trial=trial: suggest(trial, decision))  # type: ignore[misc]
            failed = came == FAILED
            score = MAJORITY if failed else float(came)
            outcome = Outcome(
                "failed" if failed else "complete", score, {"test_accuracy": score}, {"val_accuracy": (0.5, score)},
                study.cost(sampled.configuration), 2, 0.1, "cpu", failure="diverged: the training loss is nan in epoch 2" * failed,
            )  # fmt: skip
            study.measured.finish(trial, sampled.configuration, outcome)
    study.refresh()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("planted") / "mlflow"


@pytest.fixture(scope="module")
def spaces() -> Registry:
    return discover()


def through(store: Path, space: Space, fate: Fate) -> Told:
    """Plant trouble in a study's ledger and bring it to its reader."""
    study = Study.open(space, default_storage(store))
    tell(study, fate)
    return read(store.parent, conclude(study, store=store))


def read(folder: Path, result: StudyResult) -> Told:
    assert result.sync.error == ""
    client = MlflowClient(tracking_uri=result.tracking_uri)
    found = client.search_runs([e.experiment_id for e in client.search_experiments()], f"tags.`nas.study` = '{result.record.title}'")
    (parent,) = (run for run in found if run.data.tags["nas.phase"] == "study")
    table = result.report.parent / "replicates.csv"
    done = nas_here(folder, "effects", str(table), "--reference", "none", "--smallest-effect", "0.01", "--json")
    assert done.returncode == 0, done.stderr
    with table.open() as file:
        rows = list(csv.DictReader(file))
    return Told(result, result.report.read_text(), parent, rows, json.loads(done.stdout))


def planted(spaces: Registry, name: str, *, levels: str = "identity", replicates: int = 8) -> Space:
    return parse_space(SPACE.format(name=name, levels=levels, replicates=replicates), f"{name}.yaml", spaces)


def same_figures(told: Told) -> None:
    """The CSV alone gives every figure that the report, MLflow and `--json` have."""
    assert told.result.effects is not None
    direct = json.loads(json.dumps(told.result.effects.to_dict()))
    for part in ("overall", "slopes", "at_each", "cells"):
        assert told.again[part] == direct[part]


def test_diverged_trainings_stay_in_the_effect_at_their_score_and_are_counted(store: Path, spaces: Registry) -> None:
    def fate(cell: Cell) -> float | str:
        return FAILED if cell.level == "none" and dict(cell.by)["architecture.mlp.depth"] == 4 and cell.replicate in (1, 5) else gain(cell)

    told = through(store, planted(spaces, "diverged", replicates=10), fate)
    effects = told.result.effects
    assert effects is not None
    deep = effects.cell("identity", (4,))
    assert (deep.n, deep.missing, effects.cell("none", (4,)).failures) == (10, 0, 2)
    differences = [gain(Cell(k, "identity")) - (MAJORITY if k in (1, 5) else gain(Cell(k, "none"))) for k in range(10)]
    assert effects.effect("identity", (4,)).mean == pytest.approx(sum(differences) / 10)
    assert deep.mean_where_both_trained == pytest.approx(sum(d for k, d in enumerate(differences) if k not in (1, 5)) / 8)
    assert deep.failure_difference == pytest.approx(-0.2)
    assert deep.failure_p == stats.binomtest(0, 2).pvalue
    assert deep.failure_difference_interval == newcombe_paired(both=0, only_first=0, only_second=2, neither=8)
    assert (deep.wins, deep.parameter_difference) == (1.0, 0.0)
    for text in (told.page, told.note):
        assert "2 trainings failed (2 of none). They are outcomes and stay in the effect at their failure score" in text
    assert "diverged: the training loss is nan in epoch 2" in told.page
    assert [row["value"] for row in told.rows if row["failed"] == "true"] == ["0.1", "0.1"]
    same_figures(told)


def test_a_lost_pair_leaves_its_cell_its_replicate_leaves_theta_and_beta_and_all_is_counted(store: Path, spaces: Registry) -> None:
    def fate(cell: Cell) -> float | str:
        return LOST if (cell.replicate, cell.level, dict(cell.by)["architecture.mlp.depth"]) == (2, "identity", 4) else gain(cell)

    told = through(store, planted(spaces, "lossy"), fate)
    effects = told.result.effects
    assert effects is not None
    assert (told.result.record.replacements, effects.replicates) == ((8,), 9)
    assert [effects.effect("identity", at).n for at in ((1,), (4,))] == [9, 8]
    assert (effects.overall[0].n, effects.slopes[0].n) == (8, 8)
    said = (
        "The machine lost 1 training for good, 3 attempts each: replicate 2, identity, 4. 1 replicate is incomplete by it; "
        "1 replacement was drawn (replicate 8)."
    )
    assert said in told.page
    assert said in told.note
    assert "1 of 18 pairs is missing and leaves the effect of its cell" in told.note
    assert [(row["replicate"], row["level"], row["by"]) for row in told.rows if row["value"] == ""] == [("2", "identity", "4")]
    same_figures(told)


def test_three_replicates_have_figures_no_verdict_and_the_reason_everywhere(store: Path, spaces: Registry) -> None:
    told = through(store, planted(spaces, "smoke", replicates=3), gain)
    effects = told.result.effects
    assert effects is not None
    assert {e.verdict for e in (*effects.overall, *effects.slopes, *effects.at_each)} == {"no verdict"}
    assert effects.overall[0].interval is not None
    reason = "there is no verdict on adding the identity shortcut (3 replicates; a verdict needs 6)"
    assert reason in told.page
    assert reason in told.parent.data.tags["nas.verdict"]
    assert "no verdict on adding identity (3 replicates; a verdict needs 6)" in told.again["sentence"]
    assert "No verdict</p>" in told.page
    same_figures(told)


def test_equal_differences_are_called_degenerate_without_interval_or_zero_p(store: Path, spaces: Registry) -> None:
    told = through(store, planted(spaces, "equal"), lambda cell: 0.8 + 0.01 * cell.replicate + 0.02 * (cell.level == "identity"))
    effects = told.result.effects
    assert effects is not None
    for found in (*effects.overall, *effects.slopes, *effects.at_each):
        assert (found.verdict, found.interval, found.p, found.p_holm) == ("no verdict", None, None, None)
        assert found.p_sign_flip is None or found.p_sign_flip > 0
    reason = "degenerate variance: all 8 replicates show the same difference"
    assert all(reason in text for text in (told.page, told.note, told.again["sentence"]))
    assert told.parent.data.metrics["effect_overall/identity"] == pytest.approx(2.0)
    assert not any(key.endswith((" low", " high")) for key in told.parent.data.metrics)
    same_figures(told)


def test_an_arm_that_was_lost_altogether_is_unmeasured_and_the_other_keeps_its_verdict(store: Path, spaces: Registry) -> None:
    def fate(cell: Cell) -> float | str:
        return LOST if cell.level == "scaled" else gain(cell)

    told = through(store, planted(spaces, "armless", levels="identity, scaled", replicates=6), fate)
    effects = told.result.effects
    assert effects is not None
    missing = next(e for e in effects.overall if e.level == "scaled")
    assert (missing.verdict, missing.mean, missing.n) == ("unmeasured", None, 0)
    kept = next(e for e in effects.overall if e.level == "identity")
    assert (kept.verdict, kept.n) == ("helps materially", 12)
    said = "scaled is unmeasured (it has no finished training"
    assert all(said in text for text in (told.page, told.note, told.again["sentence"]))
    assert "effect_overall/identity" in told.parent.data.metrics
    assert "effect_overall/scaled" not in told.parent.data.metrics
    results, _ = read_results(told.result.report.parent / "replicates.csv")
    assert {r.value for r in results if r.level == "scaled"} == {None}
    same_figures(told)


CURSED = """\
import torch

from nas.plugin import Shortcut, plugin


@plugin("cursed")
class Cursed(Shortcut):
    '''The identity, but not a number in some replicates, which the noise stream tells.'''

    def __init__(self, context):
        super().__init__()
        self.out_channels = context.out_channels

    def forward(self, x, h):
        return x * float("nan") if torch.initial_seed() in {seeds} else x
"""
REAL = """\
name: cursed
architecture: {mlp: {widths: [16], depth: 1, shortcut: {choices: [none, cursed]}}}
train: {epochs: 2, batch_size: 32, optimizer: {adamw: {lr: 0.01}}}
search: {trials: 1}
measure: {factor: architecture.mlp.shortcut, reference: none, replicates: 6}
"""


def test_networks_that_really_diverge_score_the_majority_share_and_end_no_run(tmp_path: Path, spaces: Registry) -> None:
    space = parse_space(REAL.replace("[none, cursed]", "[none, identity]"), "cursed.yaml", spaces)
    seeds = {derive(derive(space.seed, "replicate", k), "noise") for k in (1, 4)}
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "cursed.py").write_text(CURSED.replace("{seeds}", str(seeds)))
    (tmp_path / "cursed.yaml").write_text(REAL)
    done = nas_here(tmp_path, "measure", "cursed.yaml", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    failed = [row for row in found["replicates"] if row["failed"]]
    assert [(row["replicate"], row["level"]) for row in failed] == [(1, "cursed"), (4, "cursed")]
    # Of 360 test pictures, 37 show the most frequent digit.
    assert [row["value"] for row in failed] == pytest.approx([37 / 360] * 2)
    (cell,) = (cell for cell in found["effects"]["cells"] if cell["level"] == "cursed")
    assert (cell["n"], cell["failures"], cell["missing"]) == (6, 2, 0)
    assert cell["failure_difference"] == pytest.approx(1 / 3)
    assert cell["failure_p"] == stats.binomtest(2, 2).pvalue
    by_twin = {(row["replicate"], row["level"]): row["value"] for row in found["replicates"]}
    differences = [by_twin[k, "cursed"] - by_twin[k, "none"] for k in range(6)]
    assert found["effects"]["overall"][0]["mean"] == pytest.approx(sum(differences) / 6)
    assert found["effects"]["overall"][0]["verdict"] == "undetermined"
    assert "diverged: the training loss is nan in epoch 1" in Path(found["report"]).read_text()
