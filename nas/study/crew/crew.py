"""Layer 4: the crew: workers, given queues to work on, replaced when they die, ended with their starter.

A worker imports torch for seconds before it can train. So a crew is not a study's: it takes one task after another, and only its
first one waits for that. Where its workers run, on this machine or on a cluster, is its engine's business.
"""

from __future__ import annotations

import json
import math
import os
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from nas.study.crew.processes import End, WorkerProcess

Hear = Callable[[str], None]
"""Told each line that a worker says."""


def default_workers() -> int:
    """Return one worker a GPU where there are any, else one a core that this process may use."""
    return torch.cuda.device_count() or num_cores()


def num_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chosen_threads() -> int | None:
    """Return how many threads a person wants for each worker, by OMP_NUM_THREADS."""
    chosen = os.environ.get("OMP_NUM_THREADS", "")
    return int(chosen) if chosen.isdecimal() and int(chosen) else None


def threads_for(workers: int) -> int:
    """Return how many threads each of some workers has: its share of the cores, or OMP_NUM_THREADS where a person set that."""
    return chosen_threads() or max(1, num_cores() // workers)


def devices_for(place: int, workers: int) -> dict[str, str]:
    """Return the environment that gives the worker at `place`, one of `workers`, its GPU: of those that this process may use.

    A single worker keeps them all, for a recipe that shares one training between them.
    """
    count = torch.cuda.device_count()
    if count < 2 or workers < 2:
        return {}
    # A person or a scheduler may have left only some to us, by their numbers or names.
    named = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    visible = [name for name in named if name] or [str(i) for i in range(count)]
    return {"CUDA_VISIBLE_DEVICES": visible[place % min(count, len(visible))]}


def sharing_of(workers: int, gpus: int) -> list[str]:
    """Return what a worker is told of those that share its GPU, so that it leaves them their part of the memory."""
    return ["--sharing", str(math.ceil(workers / gpus))] if 0 < gpus < workers else []


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


class Worker(Protocol):
    """A worker that an engine has started."""

    def identity(self) -> tuple[str, int] | None:
        """Return machine and process id, as the ledger names who runs a trial; None where it has not got so far."""

    def give(self, line: str) -> None:
        """Give it a task to read."""

    def ended(self) -> End | None:
        """Return how it ended; None while it runs, or waits to be placed."""

    def stop(self) -> None:
        """End it at once, without waiting for that."""

    def wait(self) -> object:
        """Wait until it has ended."""


class Engine(Protocol):
    """Where workers run."""

    def num_workers(self, per_gpu: Callable[[], int] = lambda: 1) -> int:
        """Return how many there are by default; `per_gpu` says, where there are GPUs, how many share one."""

    def start(self, arguments: Sequence[str], *, place: int, capacity: int, hear: Hear) -> Worker:
        """Start the worker at `place` of a crew of `capacity`, with these arguments of `nas.study.worker`; `hear` what it says."""


class ThisMachine:
    """The engine of this machine's own processes."""

    def num_workers(self, per_gpu: Callable[[], int] = lambda: 1) -> int:
        """Return as many as share a GPU for each where there are any, else one a core."""
        gpus = torch.cuda.device_count()
        return gpus * per_gpu() if gpus else num_cores()

    def start(self, arguments: Sequence[str], *, place: int, capacity: int, hear: Hear) -> Worker:
        """Start a process; a thread hears it."""
        arguments = [*arguments, *sharing_of(capacity, torch.cuda.device_count())]
        started = WorkerProcess(arguments, threads=threads_for(capacity), environment=devices_for(place, capacity))

        def listen() -> None:
            for line in started.lines():
                hear(line)

        threading.Thread(target=listen, daemon=True).start()
        return started


@dataclass
class Member:
    """One worker of a crew, and whether it is at work."""

    place: int
    at_work: bool = False


class Crew:
    """Up to `capacity` workers of one ledger database. Use as a context manager: leaving it ends every worker at once."""

    def __init__(self, storage_url: str, *, capacity: int, plugins: Sequence[str] = (), engine: Engine | None = None) -> None:
        self.capacity, self.size, self.task = capacity, capacity, Task(())
        self.engine = engine or ThisMachine()
        self.arguments = [storage_url, *(word for folder in plugins for word in ("--plugins", folder))]
        self.members: list[tuple[Member, Worker]] = []
        self.inbox: queue.Queue[Mapping[str, Any]] = queue.Queue()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for _member, worker in self.members:
            worker.stop()
        for _member, worker in self.members:
            worker.wait()

    def assign(self, task: Task, *, size: int) -> None:
        """Say what is to be worked on from now on, by at most `size` workers; `fill` sets them to it."""
        self.task, self.size = task, min(size, self.capacity)

    @property
    def at_work(self) -> list[Member]:
        """Those that have a task and have not said that its queues are empty."""
        return [member for member, _ in self.members if member.at_work]

    @property
    def identities(self) -> set[tuple[str, int] | None]:
        """Who its workers are, those with them that have ended and are not dismissed yet."""
        return {worker.identity() for _, worker in self.members}

    def fill(self, wanted: int) -> None:
        """Set workers to the task until `wanted` are at work, at most the crew's size; start them where none are idle."""
        missing = min(wanted, self.size) - len(self.at_work)
        free = sorted(set(range(self.capacity)) - {member.place for member, _ in self.members})
        idle = [pair for pair in self.members if not pair[0].at_work]
        for member, worker in [*idle[: max(missing, 0)], *map(self._start, free[: max(missing - len(idle), 0)])]:
            member.at_work = True
            worker.give(self.task.to_line())

    def events(self, timeout: float) -> list[Mapping[str, Any]]:
        """Return what the workers have said since the last call, waiting up to `timeout` seconds for the first word."""
        found: list[Mapping[str, Any]] = []
        try:
            found.append(self.inbox.get(timeout=timeout))
            while True:
                found.append(self.inbox.get_nowait())
        except queue.Empty:
            return found

    def dismiss_dead(self) -> list[tuple[tuple[str, int] | None, End]]:
        """Forget the workers that have ended; return, of those that ended badly, who they were and how they ended."""
        ends = [(pair, pair[1].ended()) for pair in self.members]
        self.members = [pair for pair, end in ends if end is None]
        return [(pair[1].identity(), end) for pair, end in ends if end is not None and end.status != 0]

    def _start(self, place: int) -> tuple[Member, Worker]:
        member = Member(place)

        def hear(line: str) -> None:
            event = json.loads(line)
            if event["event"] == "idle":
                member.at_work = False
            else:
                self.inbox.put(event)

        worker = self.engine.start(self.arguments, place=place, capacity=self.capacity, hear=hear)
        self.members.append((member, worker))
        return member, worker
