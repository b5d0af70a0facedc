"""The worker that is started before its study is known."""

import socket
import time
from pathlib import Path

import pytest

from nas.registry import discover
from nas.space import Space, parse_space
from nas.study.crew import early
from nas.study.crew.crew import Crew, Task
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
        assert not early._ready
        seen, until = list[str](), time.time() + 120
        while "finished" not in seen and time.time() < until:
            seen += [event["event"] for event in crew.events(timeout=0.5)]
            assert not crew.dismiss_dead()
    assert seen[0] == "started"
    assert study.search.count_told() == 1


def test_it_finds_the_plugins_of_the_folder_that_it_is_taken_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    early.start()
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "still.py").write_text(
        "from nas.plugin import Schedule, plugin\n\n\n@plugin('still')\nclass Still(Schedule):\n    '''Constant.'''\n\n"
        "    def factor(self, step, num_steps):\n        return 1.0\n"
    )
    monkeypatch.chdir(tmp_path)
    text = "data: digits\narchitecture: {staged: {widths: [4], depth: 1}}\ntrain: {epochs: 1, schedule: still}\nsearch: {trials: 1}\n"
    study = Study.open(parse_space(text, "still.yaml", discover()), f"sqlite:///{tmp_path / 'optuna.db'}")
    study.search.ensure(study.search_slots(ahead=0))
    with Crew(study.storage_url, capacity=1) as crew:
        crew.assign(Task((study.search.name,)), size=1)
        crew.fill(1)
        until = time.time() + 120
        while not study.search.count_told() and time.time() < until:
            assert "stopped" not in [event["event"] for event in crew.events(timeout=0.5)]
    assert study.search.count_told() == 1


def test_one_that_was_killed_meanwhile_is_not_taken() -> None:
    early.start()
    (process,) = early._ready
    process.kill()
    process.wait()
    another = early.worker(("sqlite:///none.db",), {})
    assert another.pid != process.pid
    another.communicate(timeout=60)


def test_no_command_line_shows_the_ledgers_address() -> None:
    process = early.worker(("postgresql://me:secret@localhost/nas",), {})
    shown, until = b"", time.time() + 30
    while b"nas.study.worker" not in shown and time.time() < until:  # for a moment after its start it shows nothing
        shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    assert b"nas.study.worker" in shown
    assert b"secret" not in shown
    process.kill()
    process.communicate()


def test_one_that_nothing_takes_ends_with_its_starter() -> None:
    early.start()
    (process,) = early._ready
    early._end()
    assert process.poll() is not None
