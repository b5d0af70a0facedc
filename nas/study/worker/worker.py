"""Layer 4: the worker: claims a training from the ledger, builds it, trains it, tells what it came to, until none is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import optuna
from optuna.trial import Trial

from nas.errors import StudyError
from nas.faults import gpu_is_lost
from nas.registry import Registry, discover
from nas.sampling import Sample
from nas.study.crew.crew import Task
from nas.study.jobs.job import Job, run_in_processes, run_job
from nas.study.jobs.kept import keep_best_alone
from nas.study.jobs.seeds import done_before, note_seeds, run_seeds, stacks_of, told_before
from nas.study.jobs.together import Measures, run_jobs
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.slots import group_of
from nas.study.ledger.storage import HEARTBEAT_S, open_storage
from nas.study.searching.gating import with_score
from nas.study.worker.deciding import decide
from nas.study.worker.desk import Desk, open_desk
from nas.study.worker.telling import Emit, broke, job_of, place_of, run_group
from nas.values.outcome import Cost, Outcome

WAIT_S = 0.2
IDLE_S = 10.0
"""A worker that found nothing for this long, where more was to come, ends; whoever queues more starts another."""


def work(
    storage_url: str, names: Sequence[str], *, emit: Emit, plugins: Sequence[str] = (), deadline: float | None = None,
    networks: Path | None = None,
) -> None:  # fmt: skip
    """Work through the queues of the ledgers `names`, in their order.

    `deadline` (Unix time) ends claims of search trials; `networks` is the folder in which trained networks are kept.
    """
    task = Task(tuple(names), deadline, networks)
    work_on(task, open_storage(storage_url), discover(plugins), plugins, emit)


def work_on(task: Task, storage: optuna.storages.BaseStorage, registry: Registry, plugins: Sequence[str], emit: Emit) -> None:
    """Work through a task's queues: searches first, what is measured last."""
    desks = [replace(open_desk(storage, name, registry, plugins, task.deadline), networks=task.networks) for name in task.ledgers]
    for desk in [desk for desk in desks if desk.ledger.phase == "search"]:
        _work_through(desk, registry, emit)
    _work_around([desk for desk in desks if desk.ledger.phase == "tune"], registry, emit)
    for desk in [desk for desk in desks if desk.is_measuring or desk.ledger.phase == "baseline"]:
        _work_through(desk, registry, emit)


def _work_around(desks: Sequence[Desk], registry: Registry, emit: Emit) -> None:
    """Work on searches that have one open trial at a time: take whichever has one, wait while another worker has them."""
    idle_since = time.time()
    while time.time() - idle_since < IDLE_S:
        for desk in desks:
            if trial := desk.claim():
                _run_claimed(desk, trial, registry, emit)
                idle_since = time.time()
                break
        else:
            if not desks:
                return
            if any(desk.ledger.count_open() for desk in desks):
                idle_since = time.time()
            time.sleep(WAIT_S)


def _work_through(desk: Desk, registry: Registry, emit: Emit) -> None:
    """Work on one queue until it is empty and will not be filled, or its deadline has passed."""
    idle_since = time.time()
    while desk.deadline is None or time.time() < desk.deadline:
        trial = desk.claim()
        if trial:
            _run_claimed(desk, trial, registry, emit)
            idle_since = time.time()
        elif desk.is_open_ended or (desk.ledger.about.get("more") and time.time() - idle_since < IDLE_S):
            time.sleep(WAIT_S)
        else:
            break


def _run_claimed(desk: Desk, trial: Trial, registry: Registry, emit: Emit) -> None:
    """Train what was claimed, and with it what waits of its group. Raises LostGPUError where nothing more can be trained here."""
    trials = (trial, *desk.ledger.claim_rest(trial)) if group_of(trial.user_attrs) else (trial,)
    with _Heartbeat(desk.ledger, trials):
        if group_of(trial.user_attrs):
            run_group(desk, trials, registry, emit)
        else:
            _run(desk, trial, registry, emit)
    if gpu_is_lost():
        raise LostGPUError("the last training made the GPU unusable for this process (CUDA says why above); start the worker again")


def _run(desk: Desk, trial: Trial, registry: Registry, emit: Emit) -> None:
    where = place_of(desk, trial)
    try:
        sampled, cost = decide(desk, trial, registry)
        if sampled is None:
            emit({"event": "invalid", **where})
            return
        emit({"event": "started", **where, "decisions": dict(sampled.decisions)})
        outcome = _train(desk, trial, sampled, cost, registry, lambda epoch: emit({"event": "epoch", **where, "epoch": epoch}))
    except optuna.exceptions.UpdateFinishedTrialError:
        return  # as below
    except Exception as error:
        emit({"event": "broken", **where, **broke(desk, trial, error)})
        return
    try:
        desk.ledger.finish(trial, sampled.configuration, outcome)
    except optuna.exceptions.UpdateFinishedTrialError:
        # This worker was given up for dead (a suspended machine), and its training went on elsewhere.
        return
    if desk.networks and desk.ledger.phase == "search":
        keep_best_alone(desk.networks, desk.ledger)
    emit({"event": "finished", **where})


def _train(desk: Desk, trial: Trial, sampled: Sample, cost: Cost, registry: Registry, on_epoch: Callable[[int], None]) -> Outcome:
    def is_poor(step: int, value: float) -> bool:
        return desk.prunes and desk.ledger.report(trial, step, value)

    def watch(epoch: int, value: float) -> bool:
        on_epoch(epoch)
        # Of a trial with several seeds, the seeds are its steps.
        return not desk.seeds and is_poor(epoch, value)

    def run(job: Job) -> Outcome:
        return run_in_processes(job, desk.plugins) if job.needs_processes(registry) else run_job(job, registry, watch)

    def run_stack(jobs: Sequence[Job], measures: Measures) -> Sequence[Outcome]:
        return run_jobs(jobs, registry, on_epoch, measures=measures)

    job = job_of(desk, sampled, cost, trial.user_attrs["seed"], trial)
    if not desk.seeds:
        outcome = run(job)
    elif known := told_before(desk.ledger, sampled.configuration):
        outcome = known
        for place, score in enumerate(known.seed_scores, start=1):
            is_poor(place, score)  # it may be the best trial that later ones are compared with, and is not ended itself
    else:
        outcome = run_seeds(
            job, stacks_of(desk.space, sampled.configuration), run, run_stack, is_poor,
            done=done_before(trial, job), note=lambda outcomes: note_seeds(desk.ledger, trial, outcomes),
        )  # fmt: skip
    return with_score(outcome, desk.gate, trial) if desk.gate else outcome


class LostGPUError(StudyError):
    """A fault of the training that was told last has ended this process's access to its GPU; another process has it still."""


class _Heartbeat:
    """Says every few seconds that the worker is alive, from a thread, while trials run."""

    def __init__(self, ledger: Ledger, trials: Sequence[Trial]) -> None:
        self.ledger, self.trials, self.done = ledger, trials, threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.done.set()
        if kind is None:  # at Ctrl-C it may be waiting for a ledger that does not answer
            self.thread.join()

    def _beat(self) -> None:
        while not self.done.wait(HEARTBEAT_S):
            with suppress(StudyError):  # the ledger does not answer: the training will see, or it is back by the next time
                for trial in self.trials:
                    self.ledger.beat(trial)
