"""Layer 4: one recorded training run again, to see whether its numbers come back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from nas.building import cost_of
from nas.errors import UserError
from nas.measuring.capacity import with_widths
from nas.measuring.retraining import Retraining, with_epochs
from nas.sampling import first_choice, fixing, sample
from nas.space import Space
from nas.study.environment import environment
from nas.study.jobs.job import Job, run_in_processes, run_job, split_seed_of
from nas.study.jobs.materials import context_of
from nas.study.jobs.seeds import run_seeds, stacks_of
from nas.study.jobs.together import Measures, run_jobs
from nas.study.study import Study
from nas.tracking.networks import tags_of
from nas.tracking.runs import identity
from nas.values.architecture import Configuration
from nas.values.outcome import LATENCY, Outcome, is_of_a_probe
from nas.values.records import SEARCHING, TrainingRecord


@dataclass(frozen=True)
class Rerun:
    """A training as it was recorded and as it went now; `differences` names each figure that is another, with both values.

    `changed` says what of the study's surroundings is another now: packages, processor, plugins.
    """

    title: str
    before: TrainingRecord
    after: Outcome
    differences: Mapping[str, tuple[float, float]]
    changed: Mapping[str, tuple[str, str]]

    @property
    def came_back(self) -> bool:
        """Whether every figure and every point of every curve is the same, bit for bit."""
        return not self.differences


def find_training(study: Study, phase: str, number: int) -> TrainingRecord:
    """Return a training of a study by phase and number. Raises UserError where there is none that was trained to an end."""
    found = next((t for t in study.with_search().trainings if identity(t) == (phase, str(number))), None)
    numbers = sorted(t.number for t in study.with_search().trainings if t.phase == phase and t.outcome and t.outcome.status != "pruned")
    known = (
        f"trained to their end were {', '.join(map(str, numbers[:12]))}{' …' if len(numbers) > 12 else ''}" if numbers else "it has none"
    )
    if found is None or found.outcome is None or found.configuration is None:
        raise UserError(f"{study.title}: there is no {phase} training {number} with an outcome; {known}")
    if found.outcome.status == "pruned":
        raise UserError(f"{study.title}: {phase} training {number} was pruned, which depended on the others then; {known}")
    return found


def place_of_run(run: str, uri: str) -> tuple[str, str, int]:
    """Return study, phase and number of the training that an MLflow run is of. Raises UserError for the run of a study, or no such run."""
    tags = tags_of(uri, run)
    if tags.get("nas.phase", "study") == "study" or "nas.number" not in tags:
        raise UserError(f"run {run}: is that of a whole study; give the run of one of its trainings")
    return tags["nas.study"], tags["nas.phase"], int(tags["nas.number"])


def rerun(study: Study, record: TrainingRecord, *, on_epoch: Callable[[int], None], threads: int = 1) -> Rerun:
    """Train `record` again as it was trained, with as many threads as a worker had, and compare every figure.

    Nothing is written. Probes are not run again, and their figures not compared.
    """
    assert record.configuration is not None, "find_training returns built ones"
    assert record.outcome is not None, "find_training returns those with an outcome"
    torch.set_num_threads(threads)
    space, configuration = study.space, record.configuration
    context = context_of(space, configuration)
    ledger = next((ledger for ledger in study.ledgers if ledger.phase == record.phase and "metric" in ledger.about), None)
    metric = str(ledger.about["metric"]) if ledger and record.phase not in SEARCHING else space.search.objective
    split_seed = split_seed_of(record.phase, record.seed, space.seed)
    cost = cost_of(configuration.architecture, space.registry, context)
    job = Job(configuration, cost, context, metric, record.seed, split_seed)

    after = _again(study, record, job, on_epoch)
    return Rerun(study.title, record, after, _differences(record.outcome, after), _changed(study))


def _again(study: Study, record: TrainingRecord, job: Job, on_epoch: Callable[[int], None]) -> Outcome:
    """Train a job as `record` was trained: in its group's company, with all seeds of a trial that has several, or alone."""
    space = study.space

    def watch(epoch: int, _value: float) -> bool:
        on_epoch(epoch)
        return False

    def run(one: Job) -> Outcome:
        return run_in_processes(one, study.plugins) if one.needs_processes(space.registry) else run_job(one, space.registry, watch)

    def run_stack(jobs: Sequence[Job], measures: Measures) -> Sequence[Outcome]:
        return run_jobs(jobs, space.registry, on_epoch, measures=measures)

    if record.group:
        splits = [split_seed_of(record.phase, m.seed, space.seed) for m in record.group]
        epochs = study.design.epochs if isinstance(study.design, Retraining) else None
        company = zip(_group_of(record, space, epochs), record.group, splits, strict=True)
        together = [replace(job, configuration=one, seed=member.seed, split_seed=split) for one, member, split in company]
        return run_jobs(together, space.registry, on_epoch)[record.place_in_group]
    is_of_several = record.phase in SEARCHING and space.search.seeds > 1
    return run_seeds(job, stacks_of(space, job.configuration), run, run_stack) if is_of_several else run(job)


def _group_of(record: TrainingRecord, space: Space, epochs: int | None) -> Iterator[Configuration]:
    """Yield what was trained as one program with a training, itself among them: its figures come back in the same company alone."""
    for member in record.group:
        configuration = with_epochs(sample(space, fixing(dict(member.decisions), first_choice)).configuration, epochs)
        yield with_widths(configuration, member.widths) if member.widths else configuration


def _differences(before: Outcome, after: Outcome) -> dict[str, tuple[float, float]]:
    then, now = _figures(before), _figures(after)
    return {name: (then[name], now.get(name, math.nan)) for name in then if not _same(then[name], now.get(name, math.nan))}


def _figures(outcome: Outcome) -> dict[str, float]:
    """Return every figure of a training itself by name, the points of curves by epoch; a probe's have a dot in theirs.

    Its latency is left out: that is measured on a machine as it is at the moment.
    """
    points = {f"{name} after epoch {i + 1}": v for name, values in outcome.curves.items() for i, v in enumerate(values)}
    points |= {f"score of seed {i + 1}": value for i, value in enumerate(outcome.seed_scores)}
    return {"score": outcome.score, **{k: v for k, v in outcome.metrics.items() if not is_of_a_probe(k) and k != LATENCY}, **points}


def _same(before: float, after: float) -> bool:
    return before == after or (math.isnan(before) and math.isnan(after))


def _changed(study: Study) -> dict[str, tuple[str, str]]:
    """Return what explains a difference: what the study ran in, and its plugins, where those are others now."""
    about = study.search.about
    then, now = _flat(about.get("environment", {})), _flat(environment())
    found = {name: (then[name], now[name]) for name in then if name in now and name != "git" and then[name] != now[name]}
    if study.space.identity()["plugins"] != about["identity"].get("plugins"):
        found["plugins"] = ("their sources then", "other sources now")
    return found


def _flat(about: Mapping[str, Any], before: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in about.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{before}{name} ")
        else:
            flat[before + name] = ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)
    return flat
