"""Layer 4: what a claimed trial is to train: sampled or fixed by its slot; refused where it breaks a constraint or fails at the gate."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from optuna.trial import Trial

from nas.building import cost_of
from nas.errors import StudyError
from nas.measuring.capacity import with_widths
from nas.measuring.retraining import with_epochs
from nas.plugin import NetworkContext
from nas.registry import Registry
from nas.sampling import Sample, sample
from nas.study.jobs.job import Job, split_seed_of
from nas.study.jobs.materials import context_of
from nas.study.ledger.trials import suggest
from nas.study.searching.gating import refuses
from nas.study.worker.desk import Desk
from nas.values.architecture import Architecture, Configuration
from nas.values.outcome import Cost

MAX_INVALID = 1000


@lru_cache(maxsize=64)
def counted(architecture: Architecture, registry: Registry, context: NetworkContext) -> Cost:
    """Count what a network costs, once for all replicates that have it."""
    return cost_of(architecture, registry, context)


def decide(desk: Desk, trial: Trial, registry: Registry) -> tuple[Sample | None, Cost]:
    """Sample a configuration that keeps the constraints and passes the gate. Another one is closed and its slot queued anew.

    Raises StudyError where hardly any architecture keeps them.
    """
    space = desk.space
    sampled = sample(space, lambda decision: suggest(trial, decision))
    if widths := trial.user_attrs.get("widths"):
        sampled = replace(sampled, configuration=with_widths(sampled.configuration, widths))
    sampled = replace(sampled, configuration=with_epochs(sampled.configuration, desk.epochs))
    cost = counted(sampled.configuration.architecture, registry, context_of(space, sampled.configuration))
    if not desk.is_measuring and not all(c.holds(cost) for c in space.constraints):
        _close_invalid(desk, trial)
        return None, cost
    if desk.gate and refuses(
        desk.gate, desk.ledger, trial, bare_job(desk, sampled.configuration, cost, trial.user_attrs["seed"]), registry
    ):
        desk.ledger.requeue(trial)
        desk.ledger.fail(trial, "gated")
        return None, cost
    return sampled, cost


def bare_job(desk: Desk, configuration: Configuration, cost: Cost, seed: int) -> Job:
    """Return a training of a ledger as it is, nothing of it kept."""
    space, split_seed = desk.space, split_seed_of(desk.ledger.phase, seed, desk.space.seed)
    return Job(configuration, cost, context_of(space, configuration), desk.metric, seed, split_seed, space.probes)


def _close_invalid(desk: Desk, trial: Trial) -> None:
    constraints = [str(c) for c in desk.space.constraints]
    invalid = desk.ledger.study.user_attrs.get("num_invalid", 0)
    # A long search may see many that break them; one slot may not.
    if (trial.user_attrs.get("refused", 0) if desk.ledger.phase == "search" else invalid) >= MAX_INVALID:
        raise StudyError(f"{MAX_INVALID} sampled architectures break the constraints {constraints}; loosen them")
    desk.ledger.study.set_user_attr("num_invalid", invalid + 1)
    if desk.ledger.phase == "search":
        desk.ledger.requeue(trial)
    # A tuning search has one open trial at a time: whoever runs the study queues the slot again, at the event.
    desk.ledger.fail(trial, "invalid")
