"""A ledger whose database is away, lost in the midst of a question, or full: waited for, asked again, or said in words; nothing is lost."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
import torch
from optuna.trial import TrialState
from servers import stoppable_postgresql

from nas.errors import StudyError, disk_trouble
from nas.study.ledger import outages
from nas.study.ledger.healing import heal
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.outages import LostMidwayError
from nas.study.ledger.slots import Slot
from nas.study.ledger.storage import open_storage
from nas.study.worker import worker
from nas.training.checkpoint import save

SLOTS = [Slot(f"t{i}", i, {}) for i in range(4)]
Tell = Callable[[str], object]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[str, Tell]]:
    with stoppable_postgresql() as found:
        yield found


@pytest.fixture
def ledger(server: tuple[str, Tell], request: pytest.FixtureRequest) -> Ledger:
    address = server[0].replace("@", ":geheim@")
    return Ledger.create(open_storage(address), request.node.name, direction="maximize", about={"phase": "measure"})


def engine_of(ledger: Ledger) -> sqlalchemy.Engine:
    engine: sqlalchemy.Engine = ledger.storage._backend.engine  # type: ignore[attr-defined]
    return engine


def test_a_server_that_is_started_again_is_waited_for(
    ledger: Ledger, server: tuple[str, Tell], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "RETRY_S", 0.05)
    _, tell = server
    ledger.ensure(SLOTS)
    trial = ledger.claim()
    assert trial
    tell("stop")
    again = threading.Thread(target=lambda: (time.sleep(0.5), tell("start")))
    again.start()
    with caplog.at_level(logging.WARNING):
        ledger.report(trial, 1, 0.5)
    again.join()
    assert ledger.storage.get_trial(trial._trial_id).intermediate_values == {1: 0.5}
    assert [message.partition(" (")[0].rpartition("nas-pg-")[0] for message in caplog.messages] == [
        "The ledger postgresql:///nas?host=/tmp/"
    ] * 2
    assert "it is waited for, up to 5 minutes" in caplog.messages[0]
    assert caplog.messages[1].endswith("is back.")


def test_nobody_is_given_up_for_a_heartbeat_that_found_no_server(ledger: Ledger) -> None:
    ledger.ensure(SLOTS)
    trial = ledger.claim()
    assert trial
    trial.set_user_attr("worker", ["another machine", 1])
    with engine_of(ledger).begin() as connection:
        connection.exec_driver_sql("UPDATE trial_heartbeats SET heartbeat = heartbeat - interval '70 seconds'")
    ledger._memory.watch.back_at = time.monotonic()
    assert heal(ledger) == 0
    assert ledger.storage.get_trial(trial._trial_id).state == TrialState.RUNNING
    ledger._memory.watch.back_at -= 60
    heal(ledger)
    assert ledger.storage.get_trial(trial._trial_id).state == TrialState.FAIL


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_ctrl_c_in_the_midst_of_a_question_is_no_outage(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Neither is the question asked again, nor is Ctrl-C lost with that; the next question is answered."""
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    ledger = request.getfixturevalue("ledger") if kind == "postgresql" else Ledger.create(
        open_storage(url), "study", direction="maximize", about={"phase": "measure"}
    )  # fmt: skip
    asked: list[str] = []

    def interrupt(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        asked.append(statement)
        if len(asked) == 1:
            raise KeyboardInterrupt

    sqlalchemy.event.listen(engine_of(ledger), "before_cursor_execute", interrupt)
    with pytest.raises(KeyboardInterrupt):
        ledger.about["phase"]
    assert len(asked) == 1
    assert ledger.about["phase"] == "measure"


def test_what_may_be_asked_twice_is_asked_again_where_the_server_went_away_before_it_answered(ledger: Ledger) -> None:
    lost: list[str] = []

    def lose(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not lost and "study_user_attributes" in statement:
            lost.append(statement)
            connection.connection.dbapi_connection.close()

    sqlalchemy.event.listen(engine_of(ledger), "before_cursor_execute", lose)
    assert ledger.about["phase"] == "measure"
    assert lost


def test_what_may_not_is_said_in_words(ledger: Ledger) -> None:
    with (
        pytest.raises(LostMidwayError, match=r"went away in the midst of a question; what is finished is kept: once it answers, the same"),
        engine_of(ledger).begin() as connection,
    ):
        connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")


def test_a_server_that_stays_away_is_said_in_words_without_secrets_and_then_waited_for_no_more(
    ledger: Ledger, server: tuple[str, Tell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outages, "AWAY_S", 0.2)
    monkeypatch.setattr(outages, "RETRY_S", 0.05)
    _, tell = server
    tell("stop")
    try:
        with pytest.raises(
            StudyError, match=r"does not answer \(.*\); what is finished is kept: once it does, the same command goes on"
        ) as raised:
            ledger.count_open()
        assert "geheim" not in str(raised.value)
        monkeypatch.setattr(outages, "AWAY_S", 300.0)
        with pytest.raises(StudyError, match="does not answer"):
            ledger.count_open()
    finally:
        tell("start")
    assert ledger.count_open() == 0


def test_ctrl_c_does_not_wait_for_the_thread_that_waits_for_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "HEARTBEAT_S", 0.001)
    asked, answered = threading.Event(), threading.Event()

    class Away:
        def beat(self, _trial: object) -> None:
            asked.set()
            answered.wait(20)

    started = time.monotonic()
    heartbeat = worker._Heartbeat(Away(), (object(),))  # type: ignore[arg-type]
    heartbeat.__enter__()
    asked.wait(20)
    heartbeat.__exit__(KeyboardInterrupt)
    answered.set()
    assert time.monotonic() - started < 10


def test_a_full_disk_is_said_in_words_and_with_room_the_queue_goes_on(tmp_path: Path) -> None:
    ledger = Ledger.create(open_storage(f"sqlite:///{tmp_path}/optuna.db"), "full", direction="maximize", about={"phase": "measure"})
    many = [Slot(f"t{i}" + 500 * "-", i, {}) for i in range(40)]
    engine = engine_of(ledger)
    with engine.begin() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def limit(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")

    sqlalchemy.event.listen(engine, "connect", limit)
    engine.dispose()
    with pytest.raises(StudyError) as raised:
        ledger.ensure(many)
    assert str(raised.value) == (
        f"the ledger sqlite:///{tmp_path}/optuna.db: database or disk is full; what is finished is kept: with room on its disk, "
        "the same command goes on"
    )
    sqlalchemy.event.remove(engine, "connect", limit)
    engine.dispose()
    there = ledger.count_open()
    assert 0 < there < len(many)
    assert ledger.ensure(many) == len(many) - there


def test_what_sqlalchemy_does_not_see_is_said_in_words_too(tmp_path: Path) -> None:
    refusal = sqlite3.OperationalError("database or disk is full")
    refusal.sqlite_errorcode = sqlite3.SQLITE_FULL
    watch = open_storage(f"sqlite:///{tmp_path}/optuna.db").watch
    with pytest.raises(StudyError, match="database or disk is full; what is finished is kept: with room on its disk"), watch.telling():
        raise refusal


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="nothing here is always full")
def test_a_network_that_finds_no_room_is_said_with_its_file_and_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "4.pt"
    save({"weight": torch.ones(3)}, file)
    (tmp_path / ".4.pt.new").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as raised:
        save({"weight": torch.zeros(100_000)}, file)
    assert raised.value.filename == str(file)
    assert disk_trouble(raised.value).startswith(f"{file}: No space left on device; once that is mended")
    assert torch.equal(torch.load(file, weights_only=True)["weight"], torch.ones(3))
    assert [path.name for path in tmp_path.iterdir()] == ["4.pt"]
