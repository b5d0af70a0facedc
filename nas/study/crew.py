"""Layer 4: the crew: worker processes of this machine, started, listened to, replaced when they die, ended with their starter."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import torch

MAX_ERROR_LINES = 30

# glibc gives the memory of each freed activation back and faults it in again at the next step: 30,000 page faults a training of
# 20 layers. With these it keeps what it has, and what a step needs is the same at every step.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**31), "MALLOC_MMAP_THRESHOLD_": str(2**30)}


def default_workers() -> int:
    """Return one worker a GPU where there are any, else one a core that this process may use."""
    return torch.cuda.device_count() or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Member:
    """One worker process and the last lines it wrote to standard error."""

    process: subprocess.Popen[str]
    place: int
    errors: list[str] = field(default_factory=list)


class Crew:
    """Keeps up to `size` workers on the ledgers. Use as a context manager: leaving it ends every worker at once."""

    def __init__(
        self, storage_url: str, ledgers: Sequence[str], *, size: int, plugins: Sequence[str] = (), deadline: float | None = None,
        networks: Path | None = None,
    ) -> None:  # fmt: skip
        self.size = size
        self.command = [sys.executable, "-m", "nas.study.worker", storage_url, *ledgers]
        for folder in plugins:
            self.command += ["--plugins", folder]
        if deadline is not None:
            self.command += ["--deadline", str(deadline)]
        if networks is not None:
            self.command += ["--networks", str(networks)]
        self.threads = max(1, len(os.sched_getaffinity(0)) // size) if hasattr(os, "sched_getaffinity") else 1
        self.command += ["--threads", str(self.threads)]
        self.members: list[Member] = []
        self.inbox: queue.Queue[Mapping[str, Any]] = queue.Queue()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.process.kill()
        for member in self.members:
            member.process.wait()

    def fill(self, wanted: int) -> None:
        """Start workers until `wanted` run, at most the crew's size."""
        free = sorted(set(range(self.size)) - {m.place for m in self.members})
        for place in free[: max(min(wanted, self.size) - len(self.members), 0)]:
            self.members.append(self._start(place))

    def events(self, timeout: float) -> list[Mapping[str, Any]]:
        """Return what the workers have said since the last call, waiting up to `timeout` seconds for the first word."""
        found: list[Mapping[str, Any]] = []
        try:
            found.append(self.inbox.get(timeout=timeout))
            while True:
                found.append(self.inbox.get_nowait())
        except queue.Empty:
            return found

    def dismiss_dead(self) -> list[Member]:
        """Forget the workers that have ended; return those that ended badly."""
        ended = [m for m in self.members if m.process.poll() is not None]
        self.members = [m for m in self.members if m not in ended]
        return [m for m in ended if m.process.returncode != 0]

    def _start(self, place: int) -> Member:
        threads = str(self.threads)
        environment = {**KEEP_MEMORY, **os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        if torch.cuda.device_count() > 1:
            environment["CUDA_VISIBLE_DEVICES"] = str(place % torch.cuda.device_count())
        process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,  # it closes when this process ends, however it ends, and the worker with it
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C goes to the starter alone, which then ends its workers
        )
        member = Member(process, place)
        assert process.stdout is not None  # it was asked for
        assert process.stderr is not None
        threading.Thread(target=self._listen, args=(process.stdout,), daemon=True).start()
        threading.Thread(target=_keep, args=(process.stderr, member.errors), daemon=True).start()
        return member

    def _listen(self, stream: TextIO) -> None:
        for line in stream:
            self.inbox.put(json.loads(line))


def _keep(stream: TextIO, lines: list[str]) -> None:
    for line in stream:
        lines.append(line.rstrip())
        del lines[:-MAX_ERROR_LINES]
