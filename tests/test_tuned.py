"""The tuned effect: an equal search for each arm, winners retrained with fresh seeds, an estimand of its own name."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import holding
import optuna
import pytest
from conftest import clean_environment
from in_process import nas_here
from mlflow.tracking import MlflowClient

from nas.measuring.design import Twins, options_from
from nas.measuring.of_record import effects_of
from nas.registry import Registry
from nas.sampling import sample
from nas.space import Space, parse_space
from nas.study.ledger.storage import default_storage
from nas.study.ledger.trials import suggest
from nas.study.searching.samplers import make_sampler
from nas.study.searching.tuning import ArmSearch, sampler_seed
from nas.study.study import Study
from nas.values.outcome import Cost, Outcome

SPACE = """\
name: tuned
architecture:
  mlp:
    widths: [8]
    depth: {int: [1, 3]}
    shortcut: {choices: [none, identity, {gated: {bias: {choices: [-1, -3]}}}]}
train:
  epochs: 1
  batch_size: 256
  optimizer: {sgd: {lr: {float: [0.05, 0.5], log: true}}}
search: {trials: 1, workers: 2}
measure:
  factor: architecture.mlp.shortcut
  reference: none
  levels: [identity]
  tune: {trials: 3}
  replicates: 2
"""
SHORTCUT, DEPTH, LR = "architecture.mlp.shortcut", "architecture.mlp.depth", "train.optimizer.sgd.lr"
BIAS = f"{SHORTCUT}.gated.bias"


@pytest.fixture
def space(registry: Registry) -> Space:
    return parse_space(SPACE, "tuned.yaml", registry)


def opened(space: Space, folder: Path) -> Study:
    return Study.open(space, default_storage(folder))


def tune(study: Study, *, interrupted: int = -1, failing: str = "") -> dict[Any, list[dict[str, Any]]]:
    """Tune with a made-up score in place of training, as a worker and its starter do; interrupt one trial of each search."""
    assert study.tuning
    done = set[Any]()
    for search in study.tuning.searches:
        ledger = search.ledger
        ledger.sampler_of = lambda waiting, ledger=ledger: make_sampler(study.space.search, sampler_seed(study.space, waiting, ledger))
        while ledger.count_told() < study.tuning.tune.trials:
            study.ensure_tuning(ledger)
            trial = ledger.claim()
            assert trial is not None
            sampled = sample(study.space, lambda decision, trial=trial: suggest(trial, decision))
            if ledger.count_told() == interrupted and search.cell.level not in done:
                ledger.fail(trial, "interrupted")
                done.add(search.cell.level)
                continue
            made = dict(sampled.decisions)
            failed = made[SHORTCUT] == failing
            score = 0.1 if failed else 0.9 - abs(made[LR] - 0.2) - 0.01 * made[DEPTH]
            ledger.finish(
                trial, sampled.configuration, Outcome("failed" if failed else "complete", score, {}, {}, Cost(1, 1, 1), 1, 0.1, "cpu")
            )
    study.refresh()
    return {search.cell.level: proposed(search) for search in study.tuning.searches}


def tell_all(study: Study) -> None:
    """Queue what is measured and tell each training a made-up score."""
    assert study.measured is not None
    study.measured.ensure(study.measure_slots())
    while trial := study.measured.claim():
        sampled = sample(study.space, lambda decision, trial=trial: suggest(trial, decision))
        study.measured.finish(trial, sampled.configuration, Outcome("complete", 0.5, {}, {}, Cost(1, 1, 1), 1, 0.1, "cpu"))
    study.refresh()


def proposed(search: ArmSearch) -> list[dict[str, Any]]:
    return [dict(t.decisions) for t in search.ledger.records() if t.state == "complete"]


def many(space: Space, trials: int, **changed: Any) -> Space:
    assert space.measure is not None
    assert space.measure.tune is not None
    return replace(space, measure=replace(space.measure, tune=replace(space.measure.tune, trials=trials, **changed)))


def test_every_arm_has_an_equal_search_with_its_factor_fixed(space: Space, tmp_path: Path) -> None:
    study = opened(space, tmp_path)
    assert study.record().planned_tuning == 6
    found = tune(study)
    assert {level: len(trials) for level, trials in found.items()} == {"none": 3, "identity": 3}
    assert all(trial[SHORTCUT] == level for level, trials in found.items() for trial in trials)
    assert [trial[LR] for trial in found["none"]] == [trial[LR] for trial in found["identity"]]  # the same sampler, the same seeds
    numbers = [t.number for t in study.record().tuning]
    assert len(set(numbers)) == len(numbers) == 6


def test_an_interrupted_tpe_search_proposes_what_an_undisturbed_one_does(space: Space, tmp_path: Path) -> None:
    longer = many(space, 14)  # TPE draws its first ten at random
    undisturbed = tune(opened(longer, tmp_path / "a"))
    disturbed = tune(opened(longer, tmp_path / "b"), interrupted=12)
    assert undisturbed == disturbed
    assert len({trial[LR] for trial in undisturbed["none"]}) == 14


def test_one_trial_of_a_search_is_open_at_a_time(space: Space, tmp_path: Path) -> None:
    study = opened(space, tmp_path)
    assert study.tuning
    search = study.tuning.searches[0]
    for _ in range(3):
        study.ensure_tuning(search.ledger)
    (waiting,) = search.ledger.study.get_trials(states=(optuna.trial.TrialState.WAITING,))
    assert waiting.system_attrs["fixed_params"] == {SHORTCUT: search.cell.level}


def test_nothing_is_measured_before_the_winners_are_known(space: Space, tmp_path: Path) -> None:
    study = opened(space, tmp_path)
    assert study.measure_slots() == []
    assert not study.is_measured
    tune(study)
    assert study.measure_slots() == []
    winners = study.crown()
    assert [winner.level for winner in winners] == ["none", "identity"]
    best = max(proposed(study.tuning.searches[0]), key=lambda d: 0.9 - abs(d[LR] - 0.2) - 0.01 * d[DEPTH])  # type: ignore[union-attr]
    assert dict(winners[0].decisions) == {path: value for path, value in best.items() if path != SHORTCUT}
    assert len(study.measure_slots()) == 4


def test_winners_are_retrained_with_fresh_seeds_paired_by_replicate(space: Space, tmp_path: Path) -> None:
    study = opened(space, tmp_path)
    tune(study)
    winners = {winner.level: dict(winner.decisions) for winner in study.crown()}
    slots = study.measure_slots()
    assert {t.seed for t in study.record().tuning}.isdisjoint(slot.seed for slot in slots)
    for slot in slots:
        assert slot.cell is not None
        assert slot.seed == next(other.seed for other in slots if other.cell and other.cell.replicate == slot.cell.replicate)
        assert {path: slot.fixed[path] for path in winners[slot.cell.level]} == winners[slot.cell.level]
    assert len({slot.seed for slot in slots}) == 2
    tell_all(study)
    effects = effects_of(study.record())
    assert effects is not None
    assert "Tuned for each arm by itself: depth and lr." in effects.notes
    assert not any("anew" in note for note in effects.notes)


def test_what_is_not_tuned_is_drawn_alike_for_all_arms(space: Space, tmp_path: Path) -> None:
    study = opened(many(space, 4, decisions=(LR,)), tmp_path)
    found = tune(study)
    assert [trial[DEPTH] for trial in found["none"]] == [trial[DEPTH] for trial in found["identity"]]
    (winner, _) = study.crown()
    assert [path for path, _ in winner.decisions] == [LR]
    depths = {slot.cell: slot.fixed[DEPTH] for slot in study.measure_slots()}
    assert all(depth == depths[replace(cell, level="none")] for cell, depth in depths.items() if cell)


def test_another_budget_is_another_design_and_a_plain_one_keeps_its_name(space: Space) -> None:
    assert space.measure is not None
    plain = replace(space.measure, tune=None)
    assert "tune" not in repr(plain)
    names = {Twins(options).name for options in (plain, space.measure, many(space, 4).measure) if options}
    assert len(names) == 3
    assert Twins(plain).name.startswith("measure-")
    assert Twins(space.measure).name.startswith("tuned-")
    assert options_from(json.loads(json.dumps(Twins(space.measure).to_dict()))) == space.measure


def test_an_arm_that_never_trains_is_retrained_as_it_is(space: Space, tmp_path: Path) -> None:
    study = opened(space, tmp_path)
    tune(study, failing="none")
    winner = study.crown()[0]
    assert (winner.level, winner.score, winner.trials) == ("none", 0.1, 3)
    assert len(study.measure_slots()) == 4


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("tuned")
    return folder, run(folder)


def write(folder: Path) -> None:
    """Write the space into `folder`, with trainings that can be held."""
    holding.prepare(folder)
    (folder / "tuned.yaml").write_text(SPACE.replace("train:", "train:\n  schedule: holding"))


def run(folder: Path) -> dict[str, Any]:
    write(folder)
    done = nas_here(folder, "measure", "tuned.yaml", "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def values(document: dict[str, Any]) -> list[Any]:
    return sorted((row["replicate"], row["level"], row["seed"], row["value"]) for row in document["replicates"])


def test_the_command_names_the_estimand_and_the_budget_everywhere(finished: tuple[Path, Any]) -> None:
    folder, document = finished
    assert document["measured_trainings"] == 4
    assert document["effects"]["estimand"] == "tuned effect"
    assert (
        "the tuned effect: the mean paired difference between the winners of equal searches, 3 trials for each arm" in document["verdict"]
    )
    assert [(winner["level"], winner["trials"]) for winner in document["tuning"]] == [("none", 3), ("identity", 3)]
    page = Path(document["report"]).read_text()
    assert 'id="tuning"' in page
    assert "tuned effect θ" in page
    client = MlflowClient(tracking_uri=document["tracking_uri"])
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    phases = [found.data.tags["nas.phase"] for found in runs]
    assert (phases.count("tune"), phases.count("measure"), phases.count("study")) == (6, 4, 1)
    parent = next(found for found in runs if found.data.tags["nas.phase"] == "study")
    assert parent.data.tags["nas.estimand"] == "tuned effect"
    assert "tuned_effect_overall/identity" in parent.data.metrics
    assert not any(key.startswith("effect") for key in parent.data.metrics)
    again = Study.reopen(None, default_storage(folder / "mlflow"), plugins=[folder / "plugins"])
    assert again.is_measured
    read = effects_of(again.record())
    assert read is not None
    assert read.overall[0].mean == document["effects"]["overall"][0]["mean"]


def test_a_tuning_that_was_killed_goes_on_to_the_same_winners_and_numbers(finished: tuple[Path, Any], tmp_path: Path) -> None:
    write(tmp_path)
    holding.hold_at(tmp_path, 3)
    command = [sys.executable, "-m", "nas", "measure", "tuned.yaml"]
    process = subprocess.Popen(command, cwd=tmp_path, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    holding.wait_until_held(tmp_path, process)
    holding.end(process, signal.SIGKILL)
    holding.release(tmp_path)
    document = run(tmp_path)
    assert document["tuning"] == finished[1]["tuning"]
    assert values(document) == values(finished[1])
