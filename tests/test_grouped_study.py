"""Measured trainings in groups: fixed by the plan, equal for all arms, the unit of going on after an interruption."""

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from nas.errors import SpaceError
from nas.faults import OUT_OF_MEMORY
from nas.measuring.design import Twins
from nas.registry import Registry
from nas.report.timeline import timeline
from nas.space import parse_space
from nas.study.jobs.together import run_jobs
from nas.study.ledger.healing import heal
from nas.study.ledger.slots import Slot
from nas.study.rerunning import rerun
from nas.study.study import Study
from nas.study.worker import telling
from nas.study.worker.worker import work
from nas.tracking.entries import training_entry
from nas.values.outcome import Outcome
from nas.values.plans import Cell

TEXT = """\
name: grouped
architecture:
  staged:
    widths: [4, 8]
    depth: {int: [1, 3]}
    shortcut: {choices: [none, identity, dropout]}
train:
  epochs: 1
  batch_size: 256
  optimizer: {sgd: {lr: {float: [0.05, 0.2], log: true}}}
measure:
  factor: architecture.staged.shortcut
  reference: none
  levels: [identity]
  by: {architecture.staged.depth: [1]}
  replicates: 5
  vectorise: 3
"""
Opened = Callable[..., Study]


@pytest.fixture(scope="module")
def opened(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """Open the study of a text in a ledger of its own, with everything queued that it owes."""

    def open_study(text: str = TEXT) -> Study:
        url = f"sqlite:///{tmp_path_factory.mktemp('ledger')}/optuna.db"
        study = Study.open(parse_space(text, "grouped.yaml", registry), url)
        assert study.measured
        study.measured.ensure(study.measure_slots())
        return study

    return open_study


@pytest.fixture(scope="module")
def undisturbed(opened: Opened) -> Study:
    return worked_through(opened())


def worked_through(study: Study, emit: Callable[[Mapping[str, Any]], None] = lambda _event: None) -> Study:
    assert study.measured
    work(study.storage_url, [study.measured.name], emit=emit)
    study.refresh()
    return study


def outcomes(study: Study) -> dict[Cell, tuple[object, ...]]:
    found = {t.cell: t.outcome for t in study.record().measured if t.cell and t.outcome}
    return {cell: (o.score, o.status, tuple(o.metrics.items()), tuple(o.curves.items())) for cell, o in found.items()}


def grouped(slots: list[Slot]) -> dict[object, set[tuple[str, ...]]]:
    """The slots of each group, by arm; trainings on their own are groups of one."""
    found: dict[object, set[tuple[str, ...]]] = {}
    for slot in slots:
        assert slot.cell
        found.setdefault(slot.cell.level, set()).add(tuple(m.slot.partition("|")[0] for m in slot.group) or (slot.name.partition("|")[0],))
    return found


def test_every_arm_is_trained_in_the_same_groups_of_equal_size(undisturbed: Study) -> None:
    groups = {("r0", "r1"), ("r2", "r3", "r4")}
    assert grouped(undisturbed.measure_slots()) == {"none": groups, "identity": groups}
    assert all(t.outcome for t in undisturbed.record().measured)


def test_a_training_says_in_which_group_and_place_it_was(undisturbed: Study) -> None:
    record = undisturbed.record()
    last = next(t for t in record.measured if t.cell and t.cell.replicate == 4)
    assert {k: v for k, v in training_entry(last, record).tags.items() if "group" in k} == {"nas.group_size": "3", "nas.group_place": "2"}


def test_the_timeline_counts_the_time_of_a_group_once(undisturbed: Study) -> None:
    figure = timeline(undisturbed.record(), {})
    assert figure
    busy = re.search(r"(\d+)% busy", figure.caption)
    assert busy
    assert int(busy[1]) <= 100


def test_a_group_interrupted_while_it_was_told_comes_to_the_same_figures(opened: Opened, undisturbed: Study) -> None:
    study = opened()
    ledger = study.measured
    assert ledger
    leader = ledger.claim()
    assert leader
    rest = ledger.claim_rest(leader)
    assert [t.user_attrs["slot"].partition("|")[0] for t in (leader, *rest)] == ["r0", "r1"]
    for trial in rest:
        trial.set_user_attr("worker", [trial.user_attrs["worker"][0], 2**22 + 1])  # a process that is not there
    finished = next(t for t in undisturbed.record().measured if t.cell and t.cell.replicate == 0 and t.cell.level == "none")
    assert finished.outcome
    assert finished.configuration
    ledger.finish(leader, finished.configuration, finished.outcome)
    assert heal(ledger) == 1
    ledger.ensure(study.measure_slots())
    assert outcomes(worked_through(study)) == outcomes(undisturbed)


def test_a_training_comes_back_bit_for_bit_in_the_company_it_had(undisturbed: Study) -> None:
    last = next(t for t in undisturbed.record().measured if t.cell and t.cell.replicate == 4)
    assert rerun(undisturbed, last, on_epoch=lambda _epoch: None).came_back


def test_two_workers_never_take_from_one_group(opened: Opened) -> None:
    ledger = opened().measured
    assert ledger
    first, second = ledger.claim(), ledger.claim()
    assert first
    assert second
    assert not {m[0] for m in first.user_attrs["group"]} & {m[0] for m in second.user_attrs["group"]}


def test_a_group_that_breaks_is_queued_again_and_counts_as_one_failure(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    study, events, calls = opened(), list[Mapping[str, Any]](), list[int]()

    def once_broken(jobs: Any, *arguments: Any, **options: Any) -> tuple[Outcome, ...]:
        calls.append(len(jobs))
        if len(calls) == 1:
            raise RuntimeError("out of luck")
        return run_jobs(jobs, *arguments, **options)

    monkeypatch.setattr(telling, "run_jobs", once_broken)
    worked_through(study, events.append)
    assert Counter(event["event"] for event in events)["broken"] == 1
    assert sorted(calls) == [2, 2, 2, 3, 3]
    assert len(outcomes(study)) == 10


def test_a_group_that_does_not_fit_into_memory_is_told_as_that_once(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    study, events, calls = opened(), list[Mapping[str, Any]](), list[int]()

    def once_too_large(jobs: Any, *arguments: Any, **options: Any) -> tuple[Outcome, ...]:
        calls.append(len(jobs))
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return run_jobs(jobs, *arguments, **options)

    monkeypatch.setattr(telling, "run_jobs", once_too_large)
    worked_through(study, events.append)
    (broken,) = [event for event in events if event["event"] == "broken"]
    assert broken["kind"] == OUT_OF_MEMORY
    assert "Tried to allocate 20.00 GiB" in broken["error"]
    assert broken["error"].endswith("or measure in smaller groups (measure: vectorise)")
    assert [t.error for t in study.record().measured if t.state == "broken"] == [broken["error"]] * calls[0]
    assert len(outcomes(study)) == 10


def test_where_one_arm_cannot_be_stacked_all_arms_are_trained_alone(opened: Opened) -> None:
    study = opened(TEXT.replace("[identity]", "[identity, dropout]"))
    assert all(not slot.group for slot in study.measure_slots())
    lines = study.told_groups()
    assert lines[0] == "As one program are trained none of them."
    assert re.match(r"The arm dropout, .* random numbers", lines[1])


def test_auto_groups_small_networks_and_leaves_large_ones_alone(opened: Opened) -> None:
    small = TEXT.replace("vectorise: 3", "vectorise: auto")
    assert {len(slot.group) for slot in opened(small).measure_slots()} == {5}
    assert {len(slot.group) for slot in opened(small.replace("[4, 8]", "[64, 64]")).measure_slots()} == {0}


def test_replicates_that_decided_on_other_networks_are_in_other_groups(opened: Opened) -> None:
    study = opened(TEXT.replace("    shortcut:", "    block: {choices: [basic, preact_basic]}\n    shortcut:"))
    drawn = {t.slot: dict(t.sample.decisions)["architecture.staged.block"] for t in study.owed_trainings()}
    slots = study.measure_slots()
    assert len(set(drawn.values())) == 2
    assert any(slot.group for slot in slots)
    assert all(len({drawn[member.slot] for member in slot.group}) <= 1 for slot in slots)


def test_groups_stay_as_they_were_when_replicates_are_added(opened: Opened, registry: Registry) -> None:
    study = opened()
    more = Study.open(parse_space(TEXT.replace("replicates: 5", "replicates: 7"), "grouped.yaml", registry), study.storage_url)
    assert grouped(more.measure_slots())["none"] == {("r0", "r1"), ("r2", "r3", "r4"), ("r5", "r6")}


def test_trainings_together_and_alone_are_designs_of_their_own(registry: Registry) -> None:
    def name(line: str) -> str:
        space = parse_space(TEXT.replace("  vectorise: 3\n", line), "grouped.yaml", registry)
        assert space.measure
        return Twins(space.measure).name

    assert name("") == name("  vectorise: none\n") == name("  vectorise: 1\n")
    assert len({name(""), *(name(f"  vectorise: {limit}\n") for limit in (3, 8, "auto"))}) == 4


def test_a_group_of_no_trainings_is_refused(registry: Registry) -> None:
    with pytest.raises(SpaceError, match=r"measure\.vectorise.*1"):
        parse_space(TEXT.replace("vectorise: 3", "vectorise: 0"), "grouped.yaml", registry)
