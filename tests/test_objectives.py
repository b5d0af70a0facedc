"""A search for several objectives: what may be asked for, what the sampler is told, the front, a whole search of it."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from in_process import nas_here

from nas.building import cost_of
from nas.errors import SpaceError
from nas.registry import Registry
from nas.sampling import sample
from nas.space import Space, parse_space
from nas.study.jobs.materials import context_of
from nas.study.ledger.healing import heal
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.storage import open_storage
from nas.study.ledger.trials import suggest
from nas.study.searching.importances import exploratory_importances
from nas.study.study import Study
from nas.study.worker.desk import open_desk
from nas.timing import latency_ms
from nas.values.dominance import undominated
from nas.values.front import front_of
from nas.values.outcome import LATENCY, Outcome
from nas.values.records import StudyRecord

TEXT = """\
name: several
architecture:
  staged:
    widths: {choices: [[4], [8]]}
    depth: {int: [1, 3]}
    block: {choices: [basic, {bottleneck: {expansion: {choices: [2, 4]}}}]}
    shortcut: {choices: [none, identity]}
train: {epochs: 1, optimizer: {sgd: {lr: 0.1}}}
"""
ALL = "maximize: val_accuracy, minimize: [parameters, macs, latency]"


def space_with(registry: Registry, search: str, text: str = TEXT) -> Space:
    return parse_space(f"{text}search: {{{search}}}\n", "s.yaml", registry)


def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'optuna.db'}"


def run(study: Study, count: int, *, failing: Sequence[int] = ()) -> None:
    """Tell `count` of the search's trials what cannot be foreseen of them, without training; the worker's sampler proposes."""
    study.search.ensure(study.search_slots(ahead=0))
    ledger = open_desk(study.storage, study.search.name, study.space.registry, (), None).ledger
    rng = random.Random(4)
    for i in range(count):
        trial = ledger.claim()
        assert trial is not None
        found = sample(study.space, lambda decision, trial=trial: suggest(trial, decision)).configuration  # type: ignore[misc]
        cost = cost_of(found.architecture, study.space.registry, context_of(study.space, found))
        failed = i in failing
        score = 0.1 if failed else 0.2 + 0.8 * rng.random()
        status = "failed" if failed else "complete"
        outcome = Outcome(status, score, {LATENCY: rng.random()}, {}, cost, 1, 0.0, "cpu")
        ledger.finish(trial, found, outcome)
    study.refresh()


def beaten(point: Sequence[float], points: Sequence[Sequence[float]]) -> bool:
    return any(other != point and all(a >= b for a, b in zip(other, point, strict=True)) for other in points)


def points_of(record: StudyRecord) -> dict[int, tuple[float, ...]]:
    """The finished trials in the objectives of `ALL`, larger better, read from the records alone."""
    done = {t.number: t.outcome for t in record.search if t.state == "complete" and t.outcome}
    return {n: (o.score, -o.cost.parameters, -o.cost.macs, -o.metrics[LATENCY]) for n, o in done.items()}


def test_a_front_holds_what_nothing_beats_in_every_number_of_figures() -> None:
    rng = random.Random(1)
    for figures in (1, 2, 3, 4):
        points = [tuple(rng.randint(0, 6) for _ in range(figures)) for _ in range(80)]
        front = [points[i] for i in undominated(points)]
        assert set(front) == {p for p in points if not beaten(p, points)}
        assert len(front) == len(set(front))
        assert front[0] == max(points)


@pytest.mark.parametrize(
    ("search", "sought"),
    [
        (ALL, "maximize val_accuracy, minimize parameters, minimize macs, minimize latency"),
        ("minimize: macs", "maximize val_accuracy, minimize macs"),
        ("minimize: [latency, parameters]", "maximize val_accuracy, minimize parameters, minimize latency"),
        ("minimize: [parameters, val_loss]", "minimize val_loss, minimize parameters"),
        ("minimize: [val_loss]", "minimize val_loss"),
        ("trials: 3", "maximize val_accuracy"),
    ],
)
def test_what_is_searched_for_is_a_metric_and_any_of_the_costs(search: str, sought: str, registry: Registry) -> None:
    options = space_with(registry, search).search
    assert options.sought == sought
    assert options.pruner == ("none" if options.costs else "median")


def test_the_order_of_objectives_makes_no_other_study_and_one_objective_keeps_its_key(registry: Registry) -> None:
    written = [space_with(registry, f"minimize: {names}").key for names in ("[macs, latency]", "[latency, macs]")]
    assert written[0] == written[1]
    assert written[0] != space_with(registry, "minimize: macs").key
    plain = [space_with(registry, given) for given in ("trials: 3", "maximize: val_accuracy", "minimize: [val_loss]", "minimize: val_loss")]
    told = ["maximize val_accuracy, tpe, median", "minimize val_loss, tpe, median"]
    assert [space.identity()["search"] for space in plain] == [told[0], told[0], told[1], told[1]]


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ("maximize: parameters", r"s\.yaml:9: search\.maximize: would look for the networks that cost most; write `minimize: parameters`"),
        ("minimize: [parameters, macs, parameters]", r"search\.minimize\.2: 'parameters' stands here twice"),
        ("minimize: [parameters, mac]", r"search\.minimize\.1: .* or one of parameters, macs, latency, got 'mac'; did you mean 'macs'"),
        ("minimize: [val_accuracy, macs]", r"search\.minimize\.0: would look for the worst networks; write `maximize: val_accuracy`"),
        ("maximize: val_accuracy, minimize: [val_loss, macs]", "search: one metric is searched for, beside any of parameters, macs"),
        ("minimize: []", r"search\.minimize: must name at least one"),
        (f"{ALL}, sampler: cmaes", "cmaes searches for one objective, and this search has 4 objectives; take tpe, gp, nsga2"),
        ("minimize: macs, sampler: evolution", r"evolution searches for one objective, and this search has 2 objectives"),
        ("minimize: macs, pruner: median", r"search\.pruner: median judges a trial by one objective, and .*; write `pruner: none`"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_for_is_refused_with_its_place(search: str, told: str, registry: Registry) -> None:
    with pytest.raises(SpaceError, match=told):
        space_with(registry, search)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsga2", "qmc", "grid", "random"])
def test_the_front_of_every_sampler_is_what_the_records_say(sampler: str, registry: Registry, tmp_path: Path) -> None:
    study = Study.open(space_with(registry, f"trials: 12, sampler: {sampler}, {ALL}"), url(tmp_path))
    run(study, 12, failing=(0, 5))  # after ten trials, gp and tpe model what they saw
    record = study.record()
    points = points_of(record)
    front = [t.number for t in record.front]
    assert {points[n] for n in front} == {p for p in points.values() if not beaten(p, list(points.values()))}
    assert front == sorted(front, key=lambda n: -points[n][0])
    assert list(study.search.front_numbers()) == front
    assert record.best(1) == record.front[:1]
    assert points[front[0]][0] == max(p[0] for p in points.values())
    assert study.search.best_number() == front[0]


def test_a_failed_training_is_told_as_the_worst_so_far_and_keeps_its_own_cost(registry: Registry, tmp_path: Path) -> None:
    study = Study.open(space_with(registry, f"trials: 9, sampler: random, {ALL}"), url(tmp_path))
    run(study, 9, failing=(4, 8))
    trials = study.search.study.trials
    for number in (4, 8):
        score, *costs = trials[number].values
        before = [trial.values for trial in trials[:number]]
        assert score == min(0.1, *(values[0] for values in before))
        assert all(cost >= max(values[i] for values in before) for i, cost in enumerate(costs, start=1))
        assert trials[number].user_attrs["outcome"]["cost"]["parameters"] <= costs[0]
    assert not {4, 8} & {trial.number for trial in study.search.study.best_trials}


def test_an_outcome_that_was_recorded_but_not_told_is_told_in_all_objectives(registry: Registry, tmp_path: Path) -> None:
    study = Study.open(space_with(registry, f"trials: 2, {ALL}"), url(tmp_path))
    run(study, 1)
    trial = study.search.claim()
    assert trial is not None
    done = study.search.study.trials[0].user_attrs
    trial.set_user_attr("configuration", done["configuration"])
    trial.set_user_attr("outcome", done["outcome"])
    trial.set_user_attr("worker", [done["worker"][0], 2**22 + 1])  # no process of this machine
    assert heal(study.search) == 1
    assert study.search.study.trials[1].values == study.search.study.trials[0].values


def test_importances_are_those_of_the_score(registry: Registry, tmp_path: Path) -> None:
    study = Study.open(space_with(registry, f"trials: 12, sampler: random, {ALL}"), url(tmp_path))
    run(study, 12)
    found, used = exploratory_importances(study.search)
    assert used == 12
    assert {importance.path.rpartition(".")[2] for importance in found} == {"widths", "depth", "block", "shortcut"}


def test_a_later_study_starts_from_the_front(registry: Registry, tmp_path: Path) -> None:
    earlier = Study.open(space_with(registry, "trials: 9, sampler: random, minimize: macs"), url(tmp_path))
    run(earlier, 9)
    front = [dict(t.decisions) for t in earlier.record().front]
    later = Study.open(space_with(registry, f"trials: 9, start_from: {earlier.title}", TEXT.replace("several", "later")), url(tmp_path))
    started = [dict(slot.fixed) for slot in later.search_slots(ahead=0) if slot.fixed]
    assert started == [start for i, start in enumerate(front) if start not in front[:i]][:5]


def test_latency_grows_with_the_network_and_leaves_the_threads_as_they_were(registry: Registry) -> None:
    import torch
    from torch import nn

    threads = torch.get_num_threads()
    small, large = (nn.Sequential(*[nn.Linear(256, 256) for _ in range(count)]) for count in (1, 60))
    assert 0 < latency_ms(small, (256,), device="cpu") < latency_ms(large, (256,), device="cpu")
    assert torch.get_num_threads() == threads


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A search of real trainings that was stopped after three trials and then went on to five."""
    folder = tmp_path_factory.mktemp("several")
    narrow = TEXT.replace("{int: [1, 3]}", "{int: [1, 2]}").replace("epochs: 1,", "epochs: 2, batch_size: 32,")
    for trials in (3, 5):
        (folder / "s.yaml").write_text(f"{narrow}search: {{trials: {trials}, workers: 1, sampler: random, {ALL}}}\n", encoding="utf-8")
        done = nas_here(folder, "search", "s.yaml", "--json")
        assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_a_search_that_went_on_shows_the_front_of_all_its_records(searched: tuple[Path, dict[str, Any]]) -> None:
    folder, told = searched
    record = Study.reopen(told["study"], url(folder / "mlflow")).record()
    points = points_of(record)
    assert told["told_trials"] == 5
    assert [entry["number"] for entry in told["front"]["all"]] == [t.number for t in record.front]
    front = {points[entry["number"]] for entry in told["front"]["all"]}
    assert front == {p for p in points.values() if not beaten(p, list(points.values()))}
    assert [objective["name"] for objective in told["objectives"]] == ["val_accuracy", "parameters", "macs", "latency"]
    assert all(entry["latency_ms"] == -points[entry["number"]][3] > 0 for entry in told["front"]["all"])
    assert {Path(file).stem for file in told["networks"]} == {str(t.number) for t in record.front}
    assert {t.number for t in front_of(record, "latency")} <= {t.number for t in record.front}


def test_the_page_and_nas_best_show_the_front(searched: tuple[Path, dict[str, Any]]) -> None:
    folder, told = searched
    record = Study.reopen(told["study"], url(folder / "mlflow")).record()
    page = Path(told["report"]).read_text(encoding="utf-8")
    share = f"{len(record.front)} of {len(record.finished)} finished trials"
    assert page.count(f"{share} {'is' if len(record.front) == 1 else 'are'} on the Pareto front of high val_accuracy, low parameters") >= 2
    assert "The front&#39;s best in val_accuracy" in page
    found = nas_here(folder, "best", "--json")
    assert json.loads(found.stdout)["number"] == record.front[0].number
    shown = nas_here(folder, "best").stdout
    assert shown.count("(trial ") >= len(record.front)
    assert "It has the best val_accuracy of the front." in shown


def test_the_ledger_of_one_objective_is_told_one_value(registry: Registry, tmp_path: Path) -> None:
    study = Study.open(space_with(registry, "trials: 3"), url(tmp_path))
    run(study, 3)
    ledger = Ledger(open_storage(url(tmp_path)), study.search.name)
    assert [len(trial.values) for trial in ledger.study.trials] == [1, 1, 1]
    record = study.record()
    assert record.front == record.best(1)
    assert "costs" not in ledger.about
    assert replace(record, costs=("macs",)).front[0] == record.front[0]
