"""Trainings that the machine loses for good: what leaves the effect, what is drawn instead, and that all of it is told."""

import csv
import json
from pathlib import Path

import pytest
from in_process import nas_here

from nas.errors import StudyError
from nas.registry import Registry
from nas.space import Space, parse_space
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.slots import Slot
from nas.study.ledger.storage import open_storage
from nas.study.run import refuse_hopeless
from nas.values.plans import Cell
from nas.values.records import TrainingRecord, lost_cells, owed_replicates
from nas.values.seeds import derive

DEPTH = "architecture.staged.depth"
PLAIN_AT_2 = 2822
"""The parameters of the network without shortcuts at depth 2; with projections it has more, at depth 1 less."""

SPACE = """\
name: lossy
architecture: {staged: {widths: [4, 8], depth: {int: [1, 2]}, shortcut: {choices: [none, projection]}}}
train: {epochs: 1, batch_size: 256, optimizer: fragile}
search: {trials: 1, workers: 1}
measure: {factor: architecture.staged.shortcut, reference: none, replicates: 2, by: {architecture.staged.depth: [1, 2]}}
"""

AT_2 = SPACE.replace("{int: [1, 2]}", "2").replace(", by: {architecture.staged.depth: [1, 2]}", "")

# The noise stream of a training is seeded by its replicate: so the plugin knows the one that it is to lose.
PLUGIN = """\
import os
import signal

import torch

from nas.plugin import Optimizer, plugin


@plugin("fragile")
class Fragile(Optimizer):
    '''SGD that is lost in one replicate.'''

    def build(self, parameters):
        parameters = list(parameters)
        if torch.initial_seed() == {seed} and sum(p.numel() for p in parameters) > {more_than}:
            {loss}
        return torch.optim.SGD(parameters, lr=0.1)
"""
LOSSES = {"memory": "raise MemoryError('no room for it')", "killed": "os.kill(os.getpid(), signal.SIGKILL)"}


def noise_seed(space: Space, replicate: int) -> int:
    return derive(derive(space.seed, "replicate", replicate), "noise")


def write(folder: Path, registry: Registry, *, how: str, more_than: int, space: str = SPACE) -> None:
    (folder / "lossy.yaml").write_text(space)
    (folder / "plugins").mkdir(exist_ok=True)
    seed = noise_seed(parse_space(space.replace("optimizer: fragile", "optimizer: sgd"), "lossy.yaml", registry), 1)
    (folder / "plugins" / "fragile.py").write_text(PLUGIN.format(seed=seed, more_than=more_than, loss=LOSSES[how]))


def test_a_pair_lost_for_good_leaves_its_depth_and_a_replacement_is_drawn(tmp_path: Path, registry: Registry) -> None:
    write(tmp_path, registry, how="memory", more_than=PLAIN_AT_2)
    done = nas_here(tmp_path, "measure", "lossy.yaml", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["lost"] == [{"replicate": 1, "level": "projection", "by": {DEPTH: 2}}]
    assert found["replacements"] == [2]
    assert found["measured_trainings"] == 11
    effects = found["effects"]
    assert {tuple(e["at"]): e["n"] for e in effects["at_each"]} == {(1,): 3, (2,): 2}
    assert (effects["overall"][0]["n"], effects["slopes"][0]["n"]) == (2, 2)
    assert [cell["missing"] for cell in effects["cells"] if cell["level"] == "projection"] == [0, 1]
    assert effects["notes"][0] == (
        "The machine lost 1 training for good, 3 attempts each: replicate 1, projection, 2. "
        "1 replicate is incomplete by it; 1 replacement was drawn (replicate 2)."
    )
    page = Path(found["report"]).read_text()
    assert "1 replacement was drawn (replicate 2)" in page
    assert "no room for it" in page
    rows = list(csv.DictReader((Path(found["report"]).parent / "replicates.csv").open()))
    assert [row["replicate"] for row in rows if row["value"] == ""] == ["1"]
    assert {row["replicate"] for row in rows} == {"0", "1", "2"}


def test_a_training_that_kills_its_worker_every_time_is_lost_and_not_tried_for_ever(tmp_path: Path, registry: Registry) -> None:
    write(tmp_path, registry, how="killed", more_than=PLAIN_AT_2, space=AT_2)
    done = nas_here(tmp_path, "measure", "lossy.yaml", "--json", own_workers=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["lost"], found["replacements"]) == ([{"replicate": 1, "level": "projection", "by": {}}], [2])
    assert found["effects"]["overall"][0]["n"] == 2
    assert "killed with SIGKILL" in Path(found["report"]).read_text()


def test_a_cell_that_no_replicate_can_train_ends_the_run(tmp_path: Path) -> None:
    ledger = Ledger.create(
        open_storage(f"sqlite:///{tmp_path / 'optuna.db'}"), "x/measure", direction="maximize", about={"phase": "measure"}
    )
    for replicate in range(3):
        lost = Slot(f"r{replicate}|identity|9", 0, {}, Cell(replicate, "identity", ((DEPTH, 9),)))
        for _ in range(3):
            assert ledger.ensure([lost]) == 1
            trial = ledger.claim()
            assert trial is not None
            refuse_hopeless(ledger.lost(), ledger)
            ledger.fail(trial, "broken", "out of memory")
    with pytest.raises(StudyError, match=r"identity, architecture.staged.depth 9: 3 replicates lost this training .*\n.*out of memory"):
        refuse_hopeless(ledger.lost(), ledger)


@pytest.mark.parametrize(
    ("planned", "lost", "owed"),
    [(3, (), 3), (3, (1,), 4), (3, (1, 1, 2), 5), (3, (1, 3), 5), (3, (0, 1, 2, 3, 4, 5), 6), (3, (7,), 3)],
)
def test_each_lost_replicate_is_replaced_by_the_next_one_and_at_most_as_many_as_planned(
    planned: int, lost: tuple[int, ...], owed: int
) -> None:
    assert owed_replicates(planned, [Cell(number, "none") for number in lost]) == range(owed)


def test_a_training_is_lost_after_three_attempts_and_not_where_a_later_one_was_told() -> None:
    def attempt(number: int, state: str) -> TrainingRecord:
        return TrainingRecord(number, "measure", state, (), cell=Cell(0, "none"))  # type: ignore[arg-type]

    broken = [attempt(number, "broken") for number in range(3)]
    assert lost_cells(broken[:2]) == ()
    assert lost_cells(broken) == (Cell(0, "none"),)
    assert lost_cells([*broken, attempt(3, "complete")]) == ()
