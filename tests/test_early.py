"""The worker that is started before its study is known."""

import socket
import time
from pathlib import Path

import pytest

from nas.space import Space
from nas.study import early
from nas.study.crew import Crew, Task
from nas.study.study import Study


@pytest.fixture(autouse=True)
def none_left() -> None:
    early._ready.clear()


def test_a_worker_that_was_started_early_does_the_first_training(tmp_path: Path, small: Space) -> None:
    early.start()
    (process,) = early._ready
    study = Study.open(small, f"sqlite:///{tmp_path / 'optuna.db'}")
    study.search.ensure(study.search_slots(ahead=0)[:1])
    with Crew(study.storage_url, capacity=1) as crew:
        crew.assign(Task((study.search.name,)), size=1)
        crew.fill(1)
        assert [worker.identity() for _, worker in crew.members] == [(socket.gethostname(), process.pid)]
        assert early.take((), {}) is None
        seen, until = list[str](), time.time() + 120
        while "finished" not in seen and time.time() < until:
            seen += [event["event"] for event in crew.events(timeout=0.5)]
            assert not crew.dismiss_dead()
    assert seen[0] == "started"
    assert study.search.count_told() == 1


def test_one_that_was_killed_meanwhile_is_not_taken() -> None:
    early.start()
    (process,) = early._ready
    process.kill()
    process.wait()
    assert early.take((), {}) is None


def test_one_that_nothing_takes_ends_with_its_starter() -> None:
    early.start()
    (process,) = early._ready
    early._end()
    assert process.poll() is not None
