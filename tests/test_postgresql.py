"""The ledger on a real PostgreSQL server: several machines' worth of workers on one study."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import holding
import pytest
from conftest import clean_environment
from servers import postgresql

from nas.study.ledger.ledger import Ledger
from nas.study.ledger.slots import Slot
from nas.study.ledger.storage import open_storage


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql() as address:
        yield address


def test_workers_that_claim_at_the_same_moment_never_share_a_trial(server: str) -> None:
    Ledger.create(open_storage(server), "claims", direction="maximize", about={"phase": "measure"}).ensure(
        [Slot(f"t{i}", i, {}) for i in range(40)]
    )
    claimed: list[int] = []

    def work() -> None:
        own = Ledger(open_storage(server), "claims")
        while (trial := own.claim()) is not None:
            claimed.append(trial.number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == list(range(40))


def test_a_study_on_the_server_is_joined_from_elsewhere_and_survives_a_killed_worker(server: str, tmp_path: Path, small_text: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder in (tmp_path, elsewhere):
        holding.prepare(folder)
        holding.hold_at(folder, 1)
    (tmp_path / "small.yaml").write_text(small_text.replace("train:", "train:\n  schedule: holding"))

    def start(folder: Path, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "nas", *words, "--storage", server]
        return subprocess.Popen(
            command, cwd=folder, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )  # fmt: skip

    search = start(tmp_path, "search", "small.yaml")
    holding.wait_until_held(tmp_path, search)
    joined = start(elsewhere, "worker")
    holding.wait_until_held(elsewhere, joined)
    joined.kill()
    joined.wait()
    holding.release(tmp_path)
    output = search.communicate(timeout=240)[0]
    assert search.returncode == 0, output
    assert "search 6/6, measure 12/12" in output
