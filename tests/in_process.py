"""The command line within this process, its trainings too: real ones, without the seconds that each further process takes to start.

Worker processes, their deaths and their heartbeats have tests of their own (test_search.py, test_ledger.py, test_replacements.py).
"""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from nas.cli.main import main
from nas.paths import CACHE
from nas.study.crew.crew import Task
from nas.study.worker.worker import work


class OwnCrew:
    """In place of `nas.study.crew.crew.Crew`: whoever listens to it works through the queues."""

    size = 1
    identities: frozenset[tuple[str, int] | None] = frozenset()

    def __init__(self, storage_url: str, *, capacity: int, plugins: Sequence[str] = (), engine: object = None) -> None:
        self.storage_url, self.plugins = storage_url, plugins
        self.at_work: tuple[str, ...] = ()

    def __enter__(self) -> "OwnCrew":
        return self

    def __exit__(self, *_: object) -> None:
        """Nobody is left to end."""

    def assign(self, task: Task, *, size: int) -> None:
        self.task = task

    def fill(self, wanted: int) -> None:
        self.at_work = self.task.ledgers

    def events(self, timeout: float) -> list[Mapping[str, Any]]:
        said: list[Mapping[str, Any]] = []
        if self.at_work:
            task, self.at_work = self.task, ()
            work(self.storage_url, task.ledgers, emit=said.append, plugins=self.plugins, deadline=task.deadline, networks=task.networks)
        return said

    def dismiss_dead(self) -> list[Any]:
        return []


def nas_here(folder: Path, *arguments: str, own_workers: bool = False) -> subprocess.CompletedProcess[str]:
    """Run `nas ARGUMENTS` in `folder` within this process, with `own_workers` in processes of their own, and return what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            patch.delenv(name)
        patch.setenv("COLUMNS", "80")
        patch.setenv(CACHE, "")  # the command sets it; this sets it back
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["nas", *arguments])
        # The process would outlast the command within this one, and work for the next one, in this one's folder.
        patch.setattr("nas.study.crew.early.start", lambda: None)
        if not own_workers:
            patch.setattr("nas.study.driving.Crew", OwnCrew)
            # Nobody else works here, so there is nothing to wait for.
            patch.setattr("nas.study.run.HEAL_EVERY_S", 0.05)
            patch.setattr("nas.study.worker.worker.IDLE_S", 0.05)
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
    return subprocess.CompletedProcess(["nas", *arguments], code, out.getvalue(), err.getvalue())
