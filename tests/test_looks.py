"""Planned looks of a measurement: it ends where a look decides, goes on where not, and says nothing in between."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from in_process import nas_here
from mlflow.tracking import MlflowClient

from nas.measuring.design import Twins
from nas.measuring.estimates import estimate
from nas.measuring.of_record import effects_of
from nas.registry import Registry, discover
from nas.sampling import first_choice, sample
from nas.space import MeasureOptions, Space, load_space, parse_space
from nas.study.ledger.storage import default_storage
from nas.study.study import Study
from nas.values.effects import Result
from nas.values.outcome import Cost, Outcome

SPACE = """\
name: looks
architecture:
  mlp: {widths: [16], depth: 1}
train:
  epochs: 2
  batch_size: 256
  optimizer: {sgd: {lr: {choices: [0.1, 1.0e-9]}, momentum: {float: [0.8, 0.9]}}}
search: {trials: 1, workers: 2}
measure:
  factor: train.optimizer.sgd.lr
  reference: 1.0e-9
  looks: [10, 20]
"""
FACTOR = "train.optimizer.sgd.lr"


@pytest.fixture
def space(registry: Registry) -> Space:
    return parse_space(SPACE, "looks.yaml", registry)


def tell(study: Study, gains: dict[int, float]) -> None:
    """Queue what the study owes and tell each training a score: its replicate's gain over the reference's one half."""
    assert study.measured is not None
    study.measured.ensure(study.measure_slots())
    sampled = sample(study.space, first_choice)
    while trial := study.measured.claim():
        replicate, level, _ = trial.user_attrs["cell"]
        score = 0.5 + (gains[replicate] if level == 0.1 else 0.0)
        outcome = Outcome("complete", score, {}, {}, Cost(10, 10, 2), 1, 0.1, "cpu")
        study.measured.finish(trial, sampled.configuration, outcome)
    study.refresh()


def test_only_the_first_looks_replicates_are_owed_at_first(space: Space, tmp_path: Path) -> None:
    study = Study.open(space, default_storage(tmp_path))
    assert {slot.cell.replicate for slot in study.measure_slots() if slot.cell} == set(range(10))
    assert study.planned_measure == 20


def test_a_look_that_decides_ends_the_measurement(space: Space, tmp_path: Path) -> None:
    study = Study.open(space, default_storage(tmp_path))
    tell(study, {k: 0.3 + 0.001 * k for k in range(10)})
    assert "at 10 replicates, at alpha 0.0052, decided" in study.read_look()
    assert study.planned_measure == 20
    effects = effects_of(study.record())
    assert effects is not None
    (look,) = effects.looks
    assert (look.replicates, look.alpha, look.decided) == (10, 0.0052, True)
    assert look.verdicts == ((0.1, "helps materially"),)
    assert effects.overall[0].interval is not None
    assert effects.overall[0].interval.confidence == pytest.approx(1 - 0.0052)
    assert "read at the planned look at 10 replicates (alpha 0.0052)" in effects.sentence


def test_a_look_that_does_not_decide_goes_on_to_the_next_and_a_later_run_knows(space: Space, tmp_path: Path) -> None:
    url = default_storage(tmp_path)
    study = Study.open(space, url)
    tell(study, {k: 0.02 * (-1) ** k for k in range(10)})
    assert "did not decide; it goes on to 20" in study.read_look()
    again = Study.open(space, url)
    assert again.planned_measure == 40
    assert not again.is_measured
    interim = effects_of(again.record())
    assert interim is not None
    assert interim.looks[0].verdicts == ((0.1, "undetermined"),)
    tell(again, {k: 0.3 + 0.001 * k for k in range(20)})
    assert "at 20 replicates, at alpha 0.0471, decided" in again.read_look()
    found = effects_of(Study.reopen(None, url).record())
    assert found is not None
    assert [look.replicates for look in found.looks] == [10, 20]


def results(count: int, *, lacking: int | None = None) -> list[Result]:
    found = [Result(k, level, (), 0.5 + (0.1 + 0.01 * (k % 3) if level else 0.0)) for k in range(count) for level in (0, 1)]
    return [r for r in found if (r.replicate, r.level) != (lacking, 1)]


@pytest.mark.parametrize("count", [6, 9, 11, 19])
def test_between_looks_figures_are_interim_and_without_a_verdict(count: int) -> None:
    found = estimate(results(count), factor="x", reference=0, smallest_effect=0.01, planned_looks=True)
    assert found.interim
    assert {e.verdict for e in (*found.overall, *found.at_each)} == {"no verdict"}
    assert found.sentence.startswith("Interim figures:")


def test_a_look_is_at_complete_replicates_and_leaves_out_the_others() -> None:
    found = estimate(results(11, lacking=3), factor="x", reference=0, smallest_effect=0.01, planned_looks=True)
    whole = estimate([r for r in results(11) if r.replicate != 3], factor="x", reference=0, smallest_effect=0.01, planned_looks=True)
    assert found == whole
    assert found.looks[-1].replicates == 10


def test_looks_name_no_new_design_but_are_told_where_they_came_late(space: Space, tmp_path: Path) -> None:
    assert space.measure is not None
    plain = replace(space, measure=replace(space.measure, looks=(), replicates=10))
    assert plain.measure is not None
    assert Twins(plain.measure).name == Twins(space.measure).name
    url = default_storage(tmp_path)
    tell(Study.open(plain, url), {k: 0.3 + 0.001 * k for k in range(10)})
    effects = effects_of(Study.open(space, url).record())
    assert effects is not None
    assert effects.notes[0].startswith("The looks were planned when 20 trainings were there already")


def test_a_plain_designs_name_is_what_it_was_before_looks_were_there() -> None:
    options = MeasureOptions(factor="f", reference="none", levels=("identity",))
    assert "looks" not in repr(options)
    assert Twins(options).to_dict().keys() == {"replicates", "options"}


def test_the_command_ends_at_the_first_look_and_says_so_everywhere(tmp_path: Path) -> None:
    (tmp_path / "looks.yaml").write_text(SPACE)
    document = run(tmp_path)
    assert document["measured_trainings"] == 20
    assert document["effects"]["looks"] == [{"replicates": 10, "alpha": 0.0052, "verdicts": [[0.1, "helps materially"]], "decided": True}]
    assert "(alpha 0.0052)" in Path(document["report"]).read_text()
    client = MlflowClient(tracking_uri=document["tracking_uri"])
    (parent,) = client.search_runs([e.experiment_id for e in client.search_experiments()], "tags.`nas.phase` = 'study'")
    assert parent.data.tags["nas.look.10"] == "decided at alpha 0.0052"
    again = Study.open(load_space(tmp_path / "looks.yaml", discover()), default_storage(tmp_path / "mlflow"))
    assert again.is_measured
    assert "decided" in again.read_look()
    assert again.is_measured  # run again, it would train nothing


def run(folder: Path) -> dict[str, Any]:
    done = nas_here(folder, "measure", "looks.yaml", "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document
