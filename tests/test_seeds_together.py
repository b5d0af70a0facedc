"""A search whose trials train their seeds as one program: what is trained, told, run again, refused and estimated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from nas.cli.tally import Tally
from nas.errors import SpaceError
from nas.faults import OUT_OF_MEMORY
from nas.plugin import NetworkContext
from nas.registry import Registry
from nas.sampling import first_choice, fixing, sample
from nas.space import Space, parse_space
from nas.study.jobs.job import Job
from nas.study.jobs.materials import study_key
from nas.study.jobs.seeds import run_seeds, seeds_of, stacks_of
from nas.study.jobs.together import Measures, run_jobs
from nas.study.outlook import outlook
from nas.study.preview import preview
from nas.study.rerunning import rerun
from nas.study.study import Study
from nas.study.worker import worker
from nas.values.architecture import Configuration
from nas.values.outcome import Cost, Outcome, Status
from nas.values.records import TrainingRecord

SHORTCUT = "architecture.staged.shortcut"
TEXT = """\
name: together
architecture: {staged: {widths: [8], depth: 1, shortcut: {choices: [identity, dropout]}}}
train: {epochs: 1, batch_size: 64, optimizer: {sgd: {lr: 0.2}}}
"""
BOTH = f"trials: 2, workers: 1, seeds: 4, start: [{{{SHORTCUT}: identity}}, {{{SHORTCUT}: dropout}}]"


def space_with(registry: Registry, search: str, text: str = TEXT) -> Space:
    return parse_space(f"{text}search: {{{search}}}\n", "s.yaml", registry)


def decided(space: Space, shortcut: str) -> Configuration:
    return sample(space, fixing({SHORTCUT: shortcut}, first_choice)).configuration


@dataclass
class Run:
    """A study's search, run in this process: how large the stacks were, and what its trials came to."""

    study: Study
    stacks: list[int] = field(default_factory=list)
    events: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def trials(self) -> tuple[TrainingRecord, ...]:
        return self.study.search.records()

    def outcome(self, number: int) -> Outcome:
        outcome = self.trials[number].outcome
        assert outcome is not None
        return outcome


def searched(registry: Registry, url: str, search: str, train: Any = run_jobs) -> Run:
    run = Run(Study.open(space_with(registry, search), url))
    run.study.search.ensure(run.study.search_slots(ahead=0))

    def counting(jobs: Sequence[Job], *given: Any, **named: Any) -> Sequence[Outcome]:
        run.stacks.append(len(jobs))
        found: Sequence[Outcome] = train(jobs, *given, **named)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "run_jobs", counting)
        worker.work(url, [run.study.search.name], emit=run.events.append)
    return run


@pytest.fixture(scope="module")
def stacked(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return searched(registry, f"sqlite:///{tmp_path_factory.mktemp('stacked')}/optuna.db", f"{BOTH}, vectorise: 3")


@pytest.fixture(scope="module")
def alone(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return searched(registry, f"sqlite:///{tmp_path_factory.mktemp('alone')}/optuna.db", BOTH)


def test_the_seeds_are_trained_in_equal_stacks_where_the_network_can_be_stacked(stacked: Run, alone: Run) -> None:
    space = stacked.study.space
    one, two, three, four = seeds_of(space)
    assert stacks_of(space, decided(space, "identity")) == ((one, two), (three, four))
    assert stacks_of(space, decided(space, "dropout")) == ((one,), (two,), (three,), (four,))
    assert (stacked.stacks, alone.stacks) == ([2, 2], [])


def test_a_stacked_trial_comes_to_what_its_seeds_come_to_one_after_another_but_for_rounding(stacked: Run, alone: Run) -> None:
    together, apart = stacked.outcome(0), alone.outcome(0)
    assert together.curves["val_loss"] == pytest.approx(apart.curves["val_loss"], rel=1e-4)
    assert together.seed_scores == pytest.approx(apart.seed_scores, abs=0.01)
    assert (together.status, len(set(together.seed_scores)) > 1, together.num_epochs) == ("complete", True, 1)


def test_a_trial_that_cannot_be_stacked_comes_to_what_it_does_without_the_word_bit_for_bit(stacked: Run, alone: Run) -> None:
    assert stacked.outcome(1).seed_scores == alone.outcome(1).seed_scores
    assert stacked.outcome(1).curves == alone.outcome(1).curves


@pytest.mark.parametrize("number", [0, 1])
def test_a_trial_comes_back_bit_for_bit(stacked: Run, number: int) -> None:
    threads = torch.get_num_threads()
    try:
        assert rerun(stacked.study, stacked.trials[number], on_epoch=lambda _: None).came_back
    finally:
        torch.set_num_threads(threads)


def test_each_seed_is_told_to_the_search(stacked: Run) -> None:
    for frozen, number in zip(stacked.study.search.study.get_trials(), (0, 1), strict=True):
        assert frozen.intermediate_values == dict(enumerate(stacked.outcome(number).seed_scores, start=1))


def test_a_stack_that_does_not_fit_is_told_as_out_of_memory_with_what_helps(registry: Registry, tmp_path: Any) -> None:
    def full(*_: Any, **__: Any) -> Sequence[Outcome]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    start = f"start: [{{{SHORTCUT}: identity}}]"
    run = searched(registry, f"sqlite:///{tmp_path}/optuna.db", f"trials: 1, seeds: 2, vectorise: auto, {start}", full)
    broken = [event for event in run.events if event["event"] == "broken"]
    assert {event["kind"] for event in broken} == {OUT_OF_MEMORY}
    assert broken[0]["error"].endswith(", or train fewer seeds at once (search: vectorise)")


def made(status: Status, score: float) -> Outcome:
    return Outcome(status, score, {}, {}, Cost(1, 1, 1), 1, 2.0, "cpu", "diverged" if status == "failed" else "")


def test_measured_and_kept_is_the_first_network_of_a_stack_that_did_not_fail(registry: Registry) -> None:
    given = {7: made("failed", 0.1), 8: made("complete", 0.8), 9: made("complete", 0.6), 10: made("complete", 0.5)}
    shown: list[tuple[int, bool, bool]] = []

    def run_stack(jobs: Sequence[Job], measures: Measures) -> Sequence[Outcome]:
        found: list[Outcome] = []
        for job in jobs:
            one = measures(job, found)
            shown.append((one.seed, bool(one.keep), one.is_timed))
            found.append(given[one.seed])
        return found

    def run_one(job: Job) -> Outcome:
        shown.append((job.seed, bool(job.keep), job.is_timed))
        return given[job.seed]

    space = space_with(registry, "")
    job = Job(decided(space, "identity"), Cost(1, 1, 1), NetworkContext((1, 8, 8), 10), "val_accuracy", 0, 0, keep="0.pt", is_timed=True)
    outcome = run_seeds(job, ((7, 8, 9), (10,)), run_one, run_stack)
    assert shown == [(7, True, True), (8, True, False), (9, False, False), (10, False, False)]
    assert (outcome.status, outcome.failure, outcome.seed_scores) == ("complete", "seed 1 of 4: diverged", (0.1, 0.8, 0.6, 0.5))


def test_the_word_is_part_of_the_study_where_it_says_something(registry: Registry) -> None:
    plain, *more = (study_key(space_with(registry, f"seeds: 4{v}")) for v in ("", ", vectorise: none", ", vectorise: 1"))
    assert set(more) == {plain}
    assert len({plain, *(study_key(space_with(registry, f"seeds: 4, vectorise: {v}")) for v in ("auto", 4, 3))}) == 4
    assert "search.vectorise" not in space_with(registry, "seeds: 4, vectorise: none").identity()


@pytest.mark.parametrize(
    ("search", "told"),
    [
        ("seeds: 5, pruner: wilcoxon, vectorise: auto", r"s\.yaml:4: search\.vectorise: trains .*, and wilcoxon ends .*`pruner: none`"),
        ("vectorise: 4", r"s\.yaml:4: search\.vectorise: trains .*, and a trial has 1 seed here; write `seeds: 2` or more"),
        ("seeds: 4, vectorise: 0", r"s\.yaml:4: search\.vectorise: must be int in 1..64 or auto \| none, got '0'"),
        ("seeds: 4, vectorise: 65", r"s\.yaml:4: search\.vectorise: must be .*got '65'"),
        ("seeds: 4, vectorise: some", r"s\.yaml:4: search\.vectorise: must be .*got 'some'"),
    ],
)
def test_a_word_that_could_not_be_kept_is_refused(search: str, told: str, registry: Registry) -> None:
    with pytest.raises(SpaceError, match=told):
        space_with(registry, search)


def test_auto_trains_large_networks_one_seed_after_another(registry: Registry) -> None:
    large = space_with(registry, "seeds: 8, vectorise: auto", TEXT.replace("[8]", "[64]").replace("batch_size: 64", "batch_size: 512"))
    small = space_with(registry, "seeds: 10, vectorise: auto")
    assert [len(part) for part in stacks_of(large, decided(large, "identity"))] == [1] * 8
    assert [len(part) for part in stacks_of(small, decided(small, "identity"))] == [5, 5]


def test_the_estimate_counts_stacks_and_says_for_which_samples(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    text = TEXT.replace("{choices: [identity, dropout]}", "identity")
    monkeypatch.setattr("nas.study.pace.Pace.seconds_per_layer", 1.0)
    monkeypatch.setattr("nas.study.pace.Pace._of_groups", lambda _self, groups: 1.0 / len(groups[0]))
    alone, four = (preview(space_with(registry, f"trials: 3, seeds: 4{v}", text)) for v in ("", ", vectorise: 4"))
    assert alone.minutes is not None
    assert four.minutes is not None
    assert math.isclose(four.minutes, alone.minutes / 4)
    mixed = preview(space_with(registry, "trials: 3, seeds: 4, vectorise: 4"), samples=8)
    assert mixed.stacks.startswith("The seeds of a trial are trained as one program, 4 at once at most, in ")
    assert "of 8 random samples; not in others: it draws random numbers while it trains" in mixed.stacks


def test_the_time_left_counts_a_trial_for_what_its_stacks_take(registry: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setattr("nas.study.pace.Pace.seconds_per_layer", 1.0)
    monkeypatch.setattr("nas.study.pace.Pace._of_groups", lambda _self, groups: 0.5 if len(groups[0]) == 4 else 1.0)
    text = TEXT.replace("dropout", "none") + f"measure: {{factor: {SHORTCUT}, reference: none, levels: [identity]}}\n"
    study = Study.open(space_with(registry, "trials: 3, seeds: 4, vectorise: 4", text), f"sqlite:///{tmp_path}/optuna.db")
    planned = outlook(study)
    assert planned is not None
    assert (planned.share, planned.trial_share) == (1.0, 0.5)
    study.driven, study.trial_share = ("search", "measure"), planned.trial_share
    assert [(count.phase, count.weight) for count in Tally(study).counts] == [("search", 2.0), ("measure", 1.0)]
