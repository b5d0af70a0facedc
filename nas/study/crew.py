"""Layer 4: the crew: worker processes of this machine, given queues to work on, replaced when they die, ended with their starter.

A worker imports torch for seconds before it can train. So a crew is not a study's: it takes one task after another, and only its
first one waits for that.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import torch

from nas.study import early

MAX_ERROR_LINES = 30


def default_workers() -> int:
    """Return one worker a GPU where there are any, else one a core that this process may use."""
    return torch.cuda.device_count() or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_for(workers: int) -> int:
    """Return how many threads each of some workers has: its share of the cores, or OMP_NUM_THREADS where a person set that."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    if chosen.isdecimal() and int(chosen):
        return int(chosen)
    return max(1, len(os.sched_getaffinity(0)) // workers) if hasattr(os, "sched_getaffinity") else 1


def devices_for(place: int, workers: int) -> dict[str, str]:
    """Return the environment that gives the worker at `place`, one of `workers`, its GPU: of those that this process may use.

    A single worker keeps them all, for a recipe that shares one training between them.
    """
    count = torch.cuda.device_count()
    if count < 2 or workers < 2:
        return {}
    # A person or a scheduler may have left only some to us, by their numbers or names.
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name] or [str(i) for i in range(count)]
    return {"CUDA_VISIBLE_DEVICES": visible[place % min(count, len(visible))]}


@dataclass(frozen=True)
class Task:
    """What workers are given: ledgers in the order of work, until when search trials are claimed, where networks are kept."""

    ledgers: tuple[str, ...]
    deadline: float | None = None
    networks: Path | None = None

    def to_line(self) -> str:
        """Return it as the line that a worker reads."""
        return json.dumps({**vars(self), "networks": str(self.networks) if self.networks else None}) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Task:
        """Read what `to_line` wrote."""
        told = json.loads(line)
        return cls(tuple(told["ledgers"]), told["deadline"], Path(told["networks"]) if told["networks"] else None)


@dataclass
class Member:
    """One worker process, whether it is at work, and the last lines it wrote to standard error."""

    process: subprocess.Popen[str]
    place: int
    at_work: bool = False
    errors: list[str] = field(default_factory=list)


class Crew:
    """Up to `capacity` workers of one ledger database. Use as a context manager: leaving it ends every worker at once."""

    def __init__(self, storage_url: str, *, capacity: int, plugins: Sequence[str] = ()) -> None:
        self.capacity, self.size, self.task = capacity, capacity, Task(())
        self.threads = threads_for(capacity)
        self.arguments = [storage_url, "--threads", str(self.threads)]
        for folder in plugins:
            self.arguments += ["--plugins", folder]
        self.members: list[Member] = []
        self.inbox: queue.Queue[Mapping[str, Any]] = queue.Queue()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.process.kill()
        for member in self.members:
            member.process.wait()

    def assign(self, task: Task, *, size: int) -> None:
        """Say what is to be worked on from now on, by at most `size` workers; `fill` sets them to it."""
        self.task, self.size = task, min(size, self.capacity)

    @property
    def at_work(self) -> list[Member]:
        """Those that have a task and have not said that its queues are empty."""
        return [member for member in self.members if member.at_work]

    def fill(self, wanted: int) -> None:
        """Set workers to the task until `wanted` are at work, at most the crew's size; start them where none are idle."""
        missing = min(wanted, self.size) - len(self.at_work)
        free = sorted(set(range(self.capacity)) - {member.place for member in self.members})
        idle = [member for member in self.members if not member.at_work]
        for member in [*idle[: max(missing, 0)], *map(self._start, free[: max(missing - len(idle), 0)])]:
            self._give(member)

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

    def _give(self, member: Member) -> None:
        member.at_work = True
        assert member.process.stdin is not None  # it was asked for
        with suppress(BrokenPipeError):  # it has just died: `dismiss_dead` will say so
            member.process.stdin.write(self.task.to_line())
            member.process.stdin.flush()

    def _start(self, place: int) -> Member:
        threads = str(self.threads)
        environment = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **devices_for(place, self.capacity)}
        process = early.take(self.arguments, environment)
        process = process or early.spawn([sys.executable, "-m", "nas.study.worker", *self.arguments], environment)
        member = Member(process, place)
        self.members.append(member)
        assert process.stdout is not None  # it was asked for
        assert process.stderr is not None
        threading.Thread(target=self._listen, args=(process.stdout, member), daemon=True).start()
        threading.Thread(target=_keep, args=(process.stderr, member.errors), daemon=True).start()
        return member

    def _listen(self, stream: TextIO, member: Member) -> None:
        for line in stream:
            event = json.loads(line)
            if event["event"] == "idle":
                member.at_work = False
            else:
                self.inbox.put(event)


def _keep(stream: TextIO, lines: list[str]) -> None:
    for line in stream:
        lines.append(line.rstrip())
        del lines[:-MAX_ERROR_LINES]
