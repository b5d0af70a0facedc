"""A search with several seeds a trial in a finite space that a time is to end: it ends when there is nothing new to train."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from in_process import nas_here

from nas.registry import Registry
from nas.space import parse_space
from nas.study.jobs.job import Job
from nas.study.study import Study
from nas.study.worker import worker
from nas.study.worker.desk import open_desk
from nas.values.outcome import Cost, Outcome

TEXT = """\
name: finite
architecture: {staged: {widths: [8], depth: DEPTH}}
train: {epochs: 1, batch_size: 64, optimizer: {sgd: {lr: {choices: [0.3, 0.2, 0.1]}}}}
"""


def text_with(search: str, depth: str = "1", more: str = "") -> str:
    return TEXT.replace("DEPTH", depth) + f"search: {{minutes: 5, workers: 1, {search}}}\n{more}"


def test_it_ends_before_its_minutes_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "finite.yaml").write_text(text_with("seeds: 2"))
    started = time.time()
    done = nas_here(tmp_path, "search", "finite.yaml", own_workers=True)
    assert done.returncode == 0, done.stderr
    assert time.time() - started < 120
    told = "The search ends before its 5 minutes: all 3 configurations of the space have been tried, "
    assert told in " ".join(done.stdout.split())
    (study,) = [Study.reopen(None, f"sqlite:///{tmp_path / 'mlflow' / 'optuna.db'}")]
    trained = [t.decisions for t in study.search.records() if t.outcome and not t.outcome.is_repeat]
    assert len(trained) == len(set(trained)) == 3
    again = nas_here(tmp_path, "search", "finite.yaml", own_workers=True)
    assert "The search ends before its 5 minutes" in again.stdout
    assert len(Study.reopen(None, study.storage_url).search.records()) == len(study.search.records())


def searched(study: Study, registry: Registry, monkeypatch: pytest.MonkeyPatch, *, at_most: int) -> Counter[tuple[object, ...]]:
    """Go through trials as a worker does, with made-up scores; return how often each configuration was proposed."""

    def pretended(job: Job, *_: object) -> Outcome:
        depth = dict(job.configuration.architecture.network.parameters)["depth"]
        assert isinstance(depth, int)
        return Outcome("complete", 1 / depth, {}, {}, Cost(1, 1, 1), 1, 1.0, "cpu")

    monkeypatch.setattr(worker, "run_job", pretended)
    desk = open_desk(study.storage, study.search.name, registry, (), time.time() + 300)
    while not study.has_ended_early:
        assert study.search.count_told() < at_most, "the search goes on for ever"
        study.search.ensure(study.search_slots(ahead=2), workers=1)
        trial = desk.ledger.claim()
        assert trial is not None
        worker._run(desk, trial, registry, lambda _: None)
    assert study.search.ensure(study.search_slots(ahead=2), workers=1) == 0
    assert not desk.is_open_ended
    return Counter(t.decisions for t in study.search.records() if t.outcome)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "grid", "evolution"])
def test_every_sampler_comes_to_whatever_there_is(
    sampler: str, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = parse_space(text_with(f"seeds: 2, sampler: {sampler}", "{int: [1, 5]}"), "f.yaml", registry)
    study = Study.open(space, f"sqlite:///{tmp_path / 'optuna.db'}")
    assert len(searched(study, registry, monkeypatch, at_most=300)) == 15


def test_what_breaks_the_constraints_is_not_waited_for(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    constrained = text_with("seeds: 2", "{int: [1, 4]}", "constraints: [num_layers <= 6]\n")
    study = Study.open(parse_space(constrained, "f.yaml", registry), f"sqlite:///{tmp_path / 'optuna.db'}")
    assert len(searched(study, registry, monkeypatch, at_most=200)) == 6


def test_a_space_with_one_seed_a_trial_is_never_exhausted(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.open(parse_space(text_with("seeds: 1"), "f.yaml", registry), f"sqlite:///{tmp_path / 'optuna.db'}")
    with pytest.raises(AssertionError, match="goes on for ever"):
        searched(study, registry, monkeypatch, at_most=9)
