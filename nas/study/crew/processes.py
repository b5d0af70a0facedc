"""Layer 4: one worker process as whoever started it holds it: given tasks, heard, ended with its starter.

A node of a cluster loads this too, for one process a worker, so it imports nothing heavy.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nas.study.crew import early

MAX_ERROR_LINES = 30

LOST = "lost"
"""In place of an exit status: the machine that the worker ran on is gone, and nobody saw it end."""


@dataclass(frozen=True)
class End:
    """How a worker ended: its exit status, negative for a signal, or LOST; and the last lines that it wrote to standard error."""

    status: int | str
    said: str = ""


class WorkerProcess:
    """A worker process of this machine, which ends when this one does, however that ends.

    It works in `folder`, made where there is none; in the current one by default.
    """

    def __init__(
        self, arguments: Sequence[str], *, threads: int, environment: Mapping[str, str] | None = None, folder: Path | None = None
    ) -> None:  # fmt: skip
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
        words = [*arguments, "--threads", str(threads)]
        surroundings = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), **(environment or {})}
        self.process = early.worker(words, surroundings, folder)
        self._errors: list[str] = []
        self._listener = threading.Thread(target=self._keep_errors, daemon=True)
        self._listener.start()

    def identity(self) -> tuple[str, int]:
        """Return the machine's name and the process id: how the ledger names who runs a trial."""
        return socket.gethostname(), self.process.pid

    def give(self, line: str) -> None:
        """Give it a line to read."""
        assert self.process.stdin is not None  # it was asked for
        with suppress(BrokenPipeError):  # it has just died: `ended` will say so
            self.process.stdin.write(line)
            self.process.stdin.flush()

    def lines(self) -> Iterator[str]:
        """Yield what it says, line by line, until it ends."""
        assert self.process.stdout is not None  # it was asked for
        for line in self.process.stdout:  # noqa: UP028  # Ray sends to what it iterates over, and a file takes nothing
            yield line

    def ended(self) -> End | None:
        """Return how it ended; None while it runs."""
        status = self.process.poll()
        return None if status is None else self.wait()

    def stop(self) -> None:
        """End it at once."""
        self.process.kill()

    def wait(self) -> End:
        """Wait until it has ended, and return how."""
        status = self.process.wait()
        self._listener.join(timeout=1.0)  # a process that it left behind may hold the pipe
        return End(status, "\n".join(self._errors))

    def _keep_errors(self) -> None:
        assert self.process.stderr is not None  # it was asked for
        for line in self.process.stderr:
            self._errors.append(line.rstrip())
            del self._errors[:-MAX_ERROR_LINES]
