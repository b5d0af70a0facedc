"""Ablations and retrainings in groups, where `measure: vectorise` says so: designs of their own, whose trainings come back."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from nas.cli import tally
from nas.keeping import read_about
from nas.measuring.ablation import UNCHANGED, Ablation
from nas.measuring.retraining import Retraining
from nas.registry import Registry
from nas.space import parse_space
from nas.study import pace
from nas.study.aiming import ablation_of
from nas.study.jobs.kept import kept_files
from nas.study.origins import study_to_train
from nas.study.outlook import outlook
from nas.study.preview import preview
from nas.study.rerunning import rerun
from nas.study.study import Study
from nas.study.worker import telling
from nas.study.worker.worker import work

SHORTCUT = "architecture.staged.shortcut"
TEXT = """\
name: grouped
architecture: {staged: {widths: [4], depth: 1, shortcut: {choices: [identity, none, dropout]}}}
train: {epochs: 1, batch_size: 32, optimizer: {sgd: {lr: {float: [0.05, 0.2], log: true}}}}
measure: {factor: architecture.staged.shortcut, reference: none, levels: [identity], replicates: 2, vectorise: auto}
"""
Opened = Callable[..., Study]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('ledger')}/optuna.db"


@pytest.fixture(scope="module")
def opened(registry: Registry, url: str) -> Opened:
    """Open the study of a text; the trainings of all are in one ledger."""
    return lambda text=TEXT: Study.open(parse_space(text, "grouped.yaml", registry), url)


def ablated(study: Study, level: str = "none") -> Study:
    return ablation_of(study, {}, best=False, references={SHORTCUT: level}, only=[SHORTCUT])


def retrained(study: Study, seeds: int = 3, epochs: int | None = 2) -> Study:
    given = {"store": Path(), "settings": {}, "architecture": None, "plugins": ()}
    return study_to_train(study.space, study.storage_url, seeds=seeds, epochs=epochs, **given)  # type: ignore[arg-type]


def worked_through(study: Study, networks: Path | None = None) -> Study:
    assert study.measured
    study.measured.ensure(study.measure_slots())
    work(study.storage_url, [study.measured.name], emit=lambda _event: None, networks=networks)
    study.refresh()
    return study


def metrics(study: Study) -> dict[int, Mapping[str, float]]:
    return {t.seed: t.outcome.metrics for t in study.record().measured if t.outcome}


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def three_seeds(opened: Opened, networks: Path) -> Study:
    return worked_through(retrained(opened()), networks)


def test_the_seeds_of_a_retraining_are_one_group_with_the_epochs_and_the_split_that_it_asks_for(three_seeds: Study) -> None:
    trainings = three_seeds.record().measured
    assert [[member.slot for member in t.group] for t in trainings] == [["s0", "s1", "s2"]] * 3
    assert [t.outcome.num_epochs for t in trainings if t.outcome] == [2, 2, 2]


def test_each_seed_of_a_group_keeps_its_network_on_the_split_of_the_search(three_seeds: Study, networks: Path) -> None:
    record = three_seeds.record()
    files = kept_files(networks, record, {"train": three_seeds.title})
    about = [read_about(file) for file in files.values()]
    assert [one.seed for one in about] == [t.seed for t in record.measured]
    assert {one.split_seed for one in about} == {three_seeds.space.seed}
    assert [dict(one.figures)["test_accuracy"] for one in about] == [t.outcome.score for t in record.measured if t.outcome]


def test_one_seed_of_a_group_is_run_again_to_the_same_bits(three_seeds: Study) -> None:
    (_, second, _) = three_seeds.record().measured
    assert rerun(three_seeds, second, on_epoch=lambda _epoch: None).came_back


def test_a_group_of_seeds_that_was_killed_goes_on_in_the_middle(
    opened: Opened, three_seeds: Study, tmp_path: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TEXT.replace("name: grouped", "name: killed")
    study, epochs, run_jobs = retrained(opened(text)), list[int](), telling.run_jobs

    def killed_once(jobs, registry, on_epoch, **options):  # type: ignore[no-untyped-def]
        def watch(epoch: int) -> None:
            epochs.append(epoch)
            if epochs == [1]:
                raise ProcessLookupError

        return run_jobs(jobs, registry, watch, **options)

    monkeypatch.setattr(telling, "run_jobs", killed_once)
    worked_through(study, tmp_path)
    assert epochs == [1, 2]
    assert not list(tmp_path.rglob("*.checkpoint"))
    assert metrics(study) == metrics(three_seeds)


def test_more_seeds_form_a_group_of_their_own(three_seeds: Study, opened: Opened) -> None:
    more = retrained(opened(), seeds=5)
    assert more.title == three_seeds.title
    assert [[member.slot for member in slot.group] for slot in more.measure_slots()] == [["s0", "s1", "s2"]] * 3 + [["s3", "s4"]] * 2
    retrained(opened())


def test_the_time_left_counts_from_the_end_of_the_last_group(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    now, left = [1000.0], list[float | None]()
    monkeypatch.setattr(tally.time, "time", lambda: now[0])
    study = retrained(opened(TEXT.replace("vectorise: auto", "vectorise: 3")), seeds=6, epochs=1)
    assert study.measured
    study.measured.ensure(study.measure_slots())
    counted = tally.Tally(study)

    def watch(event: Mapping[str, object]) -> None:
        if event["event"] == "finished" and event["slot"] == "s2":
            now[0] += 100
            study.refresh()
            counted.read()
            left.append(counted.left_s)
            now[0] += 60
            left.append(counted.left_s)

    work(study.storage_url, [study.measured.name], emit=watch)
    assert left == [pytest.approx(100.0), pytest.approx(40.0)]


def test_groups_are_counted_in_the_time_that_is_told_beforehand(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = opened(TEXT.replace("vectorise: auto", "vectorise: none"))
    monkeypatch.setattr(pace, "_timed", lambda step: 0.01 if step.__qualname__.startswith("_step_alone") else 0.012)
    grouped, apart = outlook(retrained(opened(), 4, 3), workers=1), outlook(retrained(alone, 4, 3), workers=1)
    assert grouped
    assert apart
    assert grouped.minutes / apart.minutes == pytest.approx(grouped.share) == pytest.approx(1.2 / 4)
    assert "As one program are trained 4 of 4, in groups of 4." in grouped.lines()
    assert apart.share == 1
    assert preview(opened().space).minutes < preview(alone.space).minutes  # type: ignore[operator]  # both are known


def test_the_replicates_of_each_arm_of_an_ablation_are_one_group(opened: Opened) -> None:
    study = worked_through(ablated(opened()))
    trainings = study.record().measured
    assert sorted((t.cell.level, len(t.group)) for t in trainings if t.cell) == [(f"{SHORTCUT}=none", 2)] * 2 + [(UNCHANGED, 2)] * 2
    last = next(t for t in trainings if t.cell and t.cell.replicate == 1 and t.cell.level != UNCHANGED)
    assert rerun(study, last, on_epoch=lambda _epoch: None).came_back


def test_where_one_change_cannot_be_stacked_the_whole_ablation_is_trained_alone(opened: Opened) -> None:
    assert {len(slot.group) for slot in ablated(opened(), "dropout").measure_slots()} == {0}


def test_trainings_together_and_alone_are_designs_of_their_own_and_come_back_as_what_they_are(opened: Opened) -> None:
    alone = opened(TEXT.replace("vectorise: auto", "vectorise: none"))
    for plan in (ablated, retrained):
        together, apart = plan(opened()).design, plan(alone).design
        assert isinstance(together, Ablation | Retraining)
        assert isinstance(apart, Ablation | Retraining)
        assert together.name != apart.name
        assert type(together).from_dict(together.to_dict()) == together
        before = apart.to_dict()
        del before["vectorise"]  # as it was written before there were groups
        assert type(apart).from_dict(before).name == apart.name == replace(together, vectorise=1).name
