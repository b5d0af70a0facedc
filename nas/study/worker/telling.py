"""Layer 4: what a worker makes of claimed trials: the jobs to run, a group run as one, a break recorded and told."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import optuna
import torch
from optuna.trial import Trial

from nas.errors import NasError, StudyError, disk_trouble
from nas.faults import OUT_OF_MEMORY, out_of_memory, with_fault
from nas.measuring.capacity import with_widths
from nas.measuring.retraining import with_epochs
from nas.registry import Registry
from nas.sampling import Sample, first_choice, fixing, sample
from nas.study.jobs.job import Job
from nas.study.jobs.kept import checkpoint_file, network_file
from nas.study.jobs.materials import context_of
from nas.study.jobs.together import run_jobs
from nas.study.ledger.slots import group_of
from nas.study.worker.deciding import bare_job, counted, decide
from nas.study.worker.desk import Desk
from nas.training.checkpoint import Checkpoint
from nas.values.outcome import Cost

Emit = Callable[[Mapping[str, Any]], None]
"""Where a worker says what happens: one mapping an event, `{"event": "finished", "ledger": …, "trial": …}`."""


def place_of(desk: Desk, trial: Trial) -> dict[str, Any]:
    """Return what every event says of the trial that it is about."""
    return {"ledger": desk.ledger.name, "trial": trial._trial_id, "number": trial.number, "slot": trial.user_attrs["slot"]}


def job_of(desk: Desk, sampled: Sample, cost: Cost, seed: int, trial: Trial | None) -> Job:
    """Return what is to be trained for a trial; without one, nothing of it is kept."""
    phase, job = desk.ledger.phase, bare_job(desk, sampled.configuration, cost, seed)
    job = replace(job, is_timed="latency" in desk.ledger.costs)
    if trial is None:
        return replace(job, probes=())
    if desk.networks and desk.keeps:
        slot = trial.user_attrs["slot"]
        name = slot if phase == "train" else str(trial.number)
        job = replace(job, keep=str(network_file(desk.networks, desk.ledger.name, name)))
        if phase == "train":
            job = replace(job, checkpoint=str(checkpoint_file(desk.networks, desk.ledger.name, slot)))
    return job


def broke(desk: Desk, trial: Trial, error: Exception) -> Mapping[str, str]:
    """Close a trial that broke, queue its training once more while attempts are left, and return what is to be said: `error`, `kind`.

    Raises StudyError for a full disk: that is no fault of the training's, and the next one would meet it too.
    """
    if full := disk_trouble(error):
        raise StudyError(full) from error
    memory = out_of_memory(error)
    if memory and group_of(trial.user_attrs):
        memory += ", or measure in smaller groups (measure: vectorise)"
    elif memory and desk.seeds and desk.space.search.together != 1:
        memory += ", or train fewer seeds at once (search: vectorise)"
    message = memory or (str(error) if isinstance(error, NasError) else _in_full(error, desk.space.registry))
    with suppress(optuna.exceptions.UpdateFinishedTrialError):
        desk.ledger.retry(trial)
        desk.ledger.fail(trial, "broken", message)
    if memory:
        _let_go(error)
    return {"error": message, "kind": OUT_OF_MEMORY if memory else ""}


def _in_full(error: Exception, registry: Registry) -> str:
    """Return where an error came from, and in its last line what it was and which plugin is at fault, where one is."""
    return "".join([*traceback.format_exception(error)[:-1], with_fault(error, registry)])


def _let_go(error: Exception) -> None:
    """Give back the memory of a training that did not fit, which its traceback holds: the next one may need it."""
    traceback.clear_frames(error.__traceback__)
    gc.collect()
    torch.cuda.empty_cache()


def run_group(desk: Desk, trials: Sequence[Trial], registry: Registry, emit: Emit) -> None:
    """Train the group of claimed trials as one program and tell the claimed; always the whole group, so that it comes to the same."""
    first, places = trials[0], [place_of(desk, trial) for trial in trials]
    try:
        decided, jobs = _jobs_of(desk, trials, registry)
        for place, trial in zip(places, trials, strict=True):
            emit({"event": "started", **place, "decisions": dict(decided[trial.user_attrs["slot"]].decisions)})
        outcomes = run_jobs(
            list(jobs.values()), registry, lambda epoch: emit({"event": "epoch", **places[0], "epoch": epoch}),
            checkpoint=_checkpoint_of(desk, next(iter(jobs))),
        )  # fmt: skip
    except Exception as error:
        # One word of it: that the others of the group broke along with the first says nothing more of their plugins.
        for trial, place in zip(trials[1:], places[1:], strict=True):
            broke(desk, trial, error)
            emit({"event": "broken with its group", **place})
        emit({"event": "broken", **places[0], **broke(desk, first, error)})
        return
    came_to = dict(zip(jobs, outcomes, strict=True))
    for trial, place in zip(trials, places, strict=True):
        slot = trial.user_attrs["slot"]
        # A worker that was given up for dead finds its trials closed, and queued again elsewhere.
        with suppress(optuna.exceptions.UpdateFinishedTrialError):
            desk.ledger.finish(trial, decided[slot].configuration, came_to[slot])
            emit({"event": "finished", **place})


def _checkpoint_of(desk: Desk, slot: str) -> Checkpoint | None:
    """Return where the middle of a group's training lies, by its first member's slot; None where nothing of it is kept."""
    keeps = desk.networks is not None and desk.ledger.phase == "train"
    return Checkpoint(checkpoint_file(desk.networks, desk.ledger.name, slot)) if desk.networks and keeps else None


def _jobs_of(desk: Desk, trials: Sequence[Trial], registry: Registry) -> tuple[dict[str, Sample], dict[str, Job]]:
    """Return what each member of a group decided, and the job of each, by slot in the group's order."""
    claimed = {trial.user_attrs["slot"]: trial for trial in trials}
    decided: dict[str, Sample] = {}
    jobs: dict[str, Job] = {}
    for member in group_of(trials[0].user_attrs):
        trial = claimed.get(member.slot)
        sampled = decide(desk, trial, registry)[0] if trial else None
        if sampled is None:
            sampled = sample(desk.space, fixing(dict(member.decisions), first_choice))
            configuration = with_epochs(sampled.configuration, desk.epochs)
            configuration = with_widths(configuration, member.widths) if member.widths else configuration
            sampled = replace(sampled, configuration=configuration)
        cost = counted(sampled.configuration.architecture, registry, context_of(desk.space, sampled.configuration))
        decided[member.slot] = sampled
        jobs[member.slot] = job_of(desk, sampled, cost, member.seed, trial)
    return decided, jobs
