"""Layer 4: the trainings of a group, run in this process as one program; then each is measured, kept and told for itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from nas.building import build, build_recipe
from nas.registry import Registry
from nas.study.jobs.job import Job, concluded, goal_of
from nas.study.jobs.materials import load_split
from nas.training.checkpoint import Checkpoint
from nas.training.stacked import Member, OnEpoch, train_together
from nas.values.outcome import Outcome

Measures = Callable[[Job, Sequence[Outcome]], Job]


def run_jobs(
    jobs: Sequence[Job], registry: Registry, on_epoch: OnEpoch = lambda _epoch: None, *, checkpoint: Checkpoint | None = None,
    measures: Measures = lambda job, _: job,
) -> tuple[Outcome, ...]:  # fmt: skip
    """Train jobs of one architecture and one recipe but for the optimizer, and return the outcome of each in their order.

    With a `checkpoint` they go on in the middle, where that holds one; each job's own is of no account. `measures` settles for each
    job what is measured and kept of it, given the outcomes of those before it.
    """
    members = [
        Member(
            build(job.configuration.architecture, registry, job.context, seed=job.seed),
            build_recipe(job.configuration.train, registry),
            load_split(job.configuration.data, registry, job.split_seed, job.configuration.task),
            job.seed,
        )
        for job in jobs
    ]
    alike = len({job.configuration.train["optimizer"] for job in jobs}) == 1
    goal = goal_of(jobs[0], registry)
    outcomes = train_together(members, jobs[0].cost, goal, alike=alike, on_epoch=on_epoch, checkpoint=checkpoint)
    found: list[Outcome] = []
    for job, member, outcome in zip(jobs, members, outcomes, strict=True):
        found.append(concluded(measures(job, found), registry, member.network, member.split, outcome))
    if checkpoint:
        checkpoint.remove()
    return tuple(found)
