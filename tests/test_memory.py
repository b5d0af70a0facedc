"""What a group takes of memory, counted before it is trained, and what a worker may have: groups are smaller where it is short."""

import re
from pathlib import Path

import pytest
import torch

from nas.building import build
from nas.registry import Registry
from nas.sampling import first_choice, sample
from nas.space import Space, parse_space
from nas.study.crew import room
from nas.study.jobs import memory
from nas.study.jobs.materials import context_of
from nas.study.jobs.memory import Demand, Room, counting, demand_of, free_memory
from nas.study.study import Study
from nas.training.stacking import Stack

TEXT = """\
name: roomy
architecture: {staged: {widths: [4, 8], depth: {int: [1, 3]}, shortcut: {choices: [none, identity, projection]}}}
train: {epochs: 1, batch_size: 64}
measure:
  {factor: architecture.staged.shortcut, reference: none, levels: [identity, projection],
   by: {architecture.staged.depth: [1, 3]}, replicates: 6, vectorise: 6}
"""


@pytest.fixture(scope="module")
def space(registry: Registry) -> Space:
    return parse_space(TEXT, "roomy.yaml", registry)


@pytest.fixture
def study(space: Space, tmp_path: Path) -> Study:
    return Study.open(space, f"sqlite:///{tmp_path}/optuna.db")


def sizes(study: Study, free: int) -> dict[tuple[object, object], set[int]]:
    """The sizes of the groups at each place of the design, with so many bytes for a worker."""
    study.__dict__["_room"] = Room(free)
    found: dict[tuple[object, object], set[int]] = {}
    for slot in study.measure_slots():
        assert slot.cell
        found.setdefault((dict(slot.cell.by)["architecture.staged.depth"], slot.cell.level), set()).add(len(slot.group))
    return found


def demands(study: Study) -> dict[tuple[object, object], int]:
    return {
        (dict(p.cell.by)["architecture.staged.depth"], p.cell.level): demand_of(study.space, p.sample.configuration).num_bytes
        for p in study.owed_trainings()
    }


def test_a_stack_of_networks_keeps_as_often_as_much_as_one(space: Space) -> None:
    configuration = sample(space, first_choice).configuration
    context, alone = context_of(space, configuration), demand_of(space, configuration)
    stack = Stack([build(configuration.architecture, space.registry, context, seed=seed) for seed in range(3)])
    stack.bind()
    with counting() as kept:
        stack(torch.randn(64, 3, *context.input_shape))
    assert sum(kept.values()) == 3 * alone.kept


def test_groups_are_as_large_as_the_arm_that_takes_most_has_room_for_at_each_place(study: Study) -> None:
    taken = demands(study)
    assert taken[3, "projection"] > taken[3, "none"]
    assert taken[3, "projection"] > taken[1, "projection"]
    found = sizes(study, 3 * taken[3, "projection"])
    assert {found[3, arm] == {3} for arm in ("none", "identity", "projection")} == {True}
    assert min(found[1, "none"]) > 3
    assert found[1, "none"] == found[1, "identity"] == found[1, "projection"]


def test_where_two_do_not_fit_all_arms_are_trained_alone_and_it_is_said_why(study: Study) -> None:
    taken = demands(study)
    assert set().union(*sizes(study, 2 * taken[3, "projection"] - 1).values()) > {0}
    told = " ".join(study.told_groups())
    assert "The arm projection, and what is compared with it there, is trained alone: 2 networks of it take" in told


def test_smaller_groups_say_what_a_network_takes_and_what_there_is(study: Study) -> None:
    sizes(study, 3 * demands(study)[3, "projection"])
    told = r"Groups of projection are of 3 at most: a network of it takes [\d.]+ MB .*, and a worker here has [\d.]+ MB for it\."
    assert re.fullmatch(told, study.told_groups()[-1])


def test_groups_that_are_queued_stay_whatever_there_is_of_memory_later(study: Study) -> None:
    before = sizes(study, 10**12)
    assert study.measured
    study.measured.ensure(study.measure_slots())
    assert sizes(study, 0) == before


def test_each_worker_has_its_share_of_the_memory(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(room, "free_memory", lambda: 16 * 2**30)
    assert room.room_of(space, 4) == Room(4 * 2**30 - room.PROCESS_BYTES)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (16 * 2**30, 24 * 2**30))
    assert room.room_of(space, 4) == Room(8 * 2**30 - room.CONTEXT_BYTES - 4 * 1797 * 64)
    # Half of what there is, and the examples stay with the host.
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (2 * room.CONTEXT_BYTES + 2 * 4 * 1797 * 64, 24 * 2**30))
    assert room.room_of(space, 4) == Room(4 * 1797 * 64)
    monkeypatch.setattr(room, "free_memory", lambda: None)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert room.room_of(space, 4).num_networks(Demand(10**12, 10**12)) > 10**12


def test_a_container_that_may_have_less_than_its_machine_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {"/proc/meminfo": {"MemAvailable:": 8 * 2**20}, "/sys/fs/cgroup/memory.stat": {"anon": 2**30}}
    monkeypatch.setattr(memory, "_table", lambda file: tables[file])
    monkeypatch.setattr(Path, "read_text", lambda self: str(3 * 2**30) if self.name == "memory.max" else "max")
    assert free_memory() == 2 * 2**30
    monkeypatch.setattr(Path, "read_text", lambda _self: "max")
    assert free_memory() == 8 * 2**30
