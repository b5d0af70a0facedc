"""Layer 4: what running a space would mean: its size, what its networks cost, how many trainings, how long."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch

from nas.building import build, build_recipe, cost_of
from nas.errors import PluginError
from nas.measuring.design import PlannedTraining, Twins
from nas.measuring.looks import nominal_alpha
from nas.sampling import Sample, first_choice, fixing, keyed_draw, sample
from nas.space import Space, size_of
from nas.study.crew.room import workers_of
from nas.study.jobs.grouping import grouping_in, told
from nas.study.jobs.materials import context_of, describe_data, load_data, load_task
from nas.study.searching.gating import check_probes
from nas.values.architecture import Configuration
from nas.values.domains import Scalar, written
from nas.values.outcome import Cost

NUM_TIMED_STEPS = 3
EVALUATION = 1.15
"""What an epoch costs beside its steps: a pass over the validation split, forwards only, and the loop around it."""


@dataclass(frozen=True)
class Preview:
    """What a space holds and what a run of it would take.

    `size` and `architectures` are None where infinite. `violating` is the share of random samples that break a constraint.
    `planned_search` is None where minutes alone end the search, or where nothing can be trained; `minutes` is None where
    nothing can be timed: `input:` stands in for the data.
    """

    architectures: int | None
    size: int | None
    samples: int
    parameters: tuple[int, int]
    macs: tuple[int, int]
    num_layers: tuple[int, int]
    constraints: tuple[str, ...]
    violating: float
    planned_search: int | None
    planned_measure: int
    arms: int
    matched: tuple[str, ...]
    searches: int
    tune_trials: int
    replicates: int | None
    looks: tuple[int, ...]
    groups: tuple[str, ...]
    """Which measured trainings are trained as one program, and why others are not."""
    detectable: float | None
    minutes: float | None
    workers: int
    probes: tuple[str, ...] = ()
    starts: int = 0
    start_from: str | None = None
    gate: str = ""
    seeds: int = 1
    """How many trainings each trial of a search has, one a seed."""
    objectives: tuple[str, ...] = ()
    """What a search with several objectives looks for: `maximize val_accuracy`, `minimize parameters`."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)


def preview(space: Space, *, samples: int = 32) -> Preview:
    """Sample and build architectures without training them, and time a few steps to estimate a run.

    `samples` architectures are drawn at random; a few more make sure that every choice is built once. Raises PluginError,
    with the decisions, where one cannot be built, and UserError where constraints refuse every draw of the measured twins.
    """
    check_probes(space)
    return _Look(space, samples).preview()


def seconds_of(space: Space, decided: Sequence[Sample]) -> list[float]:
    """Estimate how long each of some trainings takes on one thread of this machine, by timing a few steps."""
    look = _Look(space, 3)
    return [look.seconds(one) for one in decided]


class _Look:
    """One look at a space: draws, builds and times, each architecture once."""

    def __init__(self, space: Space, samples: int) -> None:
        self.space, self.samples = space, samples if space.decisions else 1
        self.costs: dict[str, Cost] = {}
        self.random = [sample(space, keyed_draw(space.seed, "preview", i)) for i in range(self.samples)]
        self.drawn = [*self.random, *_covering(space, self.random)]

    def preview(self) -> Preview:
        space, options = self.space, self.space.measure
        costs = [self.cost(s) for s in self.drawn]
        violating = sum(not self.fits(s.configuration) for s in self.random)
        twins = Twins.of(space, options, fits=self.fits, cost=self._cost) if options else None
        planned = tuple(twins.trainings(space, self.fits, [0])) if twins else ()
        replicates = options.replicates if options else 0
        tunings = twins.plan.tune_trials * space.search.seeds if twins else 0
        return Preview(
            architectures=_whole(size_of(space.architecture)),
            size=_whole(size_of(*space.roots.values())),
            samples=len(self.drawn),
            parameters=_ends([c.parameters for c in costs]),
            macs=_ends([c.macs for c in costs]),
            num_layers=_ends([c.num_layers for c in costs]),
            constraints=tuple(str(c) for c in space.constraints),
            violating=violating / self.samples,
            planned_search=None if space.input else space.search.trials,
            planned_measure=0 if space.input else len(planned) * replicates,
            arms=len(options.arms) if options else 0,
            matched=tuple(m.label for m in twins.matched) if twins else (),
            searches=twins.plan.num_searches if twins else 0,
            tune_trials=twins.plan.tune_trials if twins else 0,
            replicates=options.replicates if options else None,
            probes=tuple(probe.name for probe in space.probes),
            starts=len(space.starts),
            start_from=space.search.start_from,
            gate=str(space.gate or ""),
            seeds=space.search.seeds,
            objectives=tuple(space.search.sought.split(", ")) if space.search.costs else (),
            looks=options.looks if options else (),
            groups=self.groups(twins) if twins else (),
            detectable=_detectable(replicates, looks=bool(options and options.looks)),
            minutes=None if space.input else self.minutes(planned, replicates + tunings),
            workers=self.workers,
        )

    def groups(self, twins: Twins) -> tuple[str, ...]:
        vectorise, space = twins.options.vectorise, self.space
        if vectorise == 1 or space.input or twins.waits_for_winners:
            return ()
        planned, grouping = list(twins.trainings(space, self.fits, range(twins.replicates))), grouping_in(space, vectorise)
        return told(planned, grouping.slots(planned, {}), grouping.why_not)

    @property
    def workers(self) -> int:
        return workers_of(self.space)

    def cost(self, decided: Sample) -> Cost:
        with saying_the_decisions(self.space, decided):
            return self._cost(decided.configuration)

    def fits(self, configuration: Configuration) -> bool:
        constraints = self.space.constraints
        return not constraints or all(c.holds(self._cost(configuration)) for c in constraints)

    def _cost(self, configuration: Configuration) -> Cost:
        key = f"{configuration.architecture.key} {configuration.data}"
        if key not in self.costs:
            self.costs[key] = cost_of(configuration.architecture, self.space.registry, context_of(self.space, configuration))
        return self.costs[key]

    def minutes(self, planned: Sequence[PlannedTraining], replicates: int) -> float:
        """Estimate the whole run on this machine, pruning left out."""
        search = self.space.search
        trials_s = (search.trials or math.inf) * search.seeds * sum(self.seconds(s) for s in self.random) / self.samples
        search_s = min(trials_s, (search.minutes or math.inf) * 60 * self.workers)
        measure_s = replicates * sum(self.seconds(p.sample) for p in planned)
        return (search_s + measure_s) / self.workers / 60

    def seconds(self, decided: Sample) -> float:
        """Estimate one training on one thread."""
        recipe = build_recipe(decided.configuration.train, self.space.registry)
        examples: int = describe_data(self.space)["num_train"]
        steps = recipe.epochs * math.ceil(examples / recipe.batch_size)
        return steps * self.cost(decided).num_layers * self.seconds_per_layer * EVALUATION

    @cached_property
    def seconds_per_layer(self) -> float:
        """Train a few steps of a small, a middling and a large sample; return seconds a step and layer, on one thread."""
        ordered = sorted(self.random, key=lambda s: self.cost(s).macs)
        chosen = {s.configuration.key: s for s in (ordered[0], ordered[len(ordered) // 2], ordered[-1])}
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return statistics.fmean(_step_seconds(self.space, s.configuration) / self.cost(s).num_layers for s in chosen.values())
        finally:
            torch.set_num_threads(threads)


@contextmanager
def saying_the_decisions(space: Space, decided: Sample) -> Iterator[None]:
    """Add to what a plugin raises while it is built which file and which decisions led to it."""
    try:
        yield
    except PluginError as error:
        decisions = ", ".join(f"{path}={written(value)}" for path, value in decided.decisions)
        told = f"an architecture of it cannot be built; leave out one of its choices: {decisions}"
        raise PluginError(f"{space.file}: {told if decisions else 'its architecture cannot be built'}\n{error}") from error


def _covering(space: Space, drawn: Sequence[Sample]) -> Iterator[Sample]:
    """Yield samples that make the choices which none of `drawn` makes."""
    seen = {decision for decided in drawn for decision in decided.decisions}
    for placed in space.placed:
        for label, _ in placed.decision.labelled():
            if (placed.decision.path, label) not in seen:
                fixed: dict[str, Scalar] = {**dict(placed.under), placed.decision.path: label}
                decided = sample(space, fixing(fixed, first_choice))
                seen |= set(decided.decisions)
                yield decided


def _step_seconds(space: Space, configuration: Configuration) -> float:
    """Time one optimizer step on random data, in seconds."""
    context = context_of(space, configuration)
    network = build(configuration.architecture, space.registry, context)
    recipe = build_recipe(configuration.train, space.registry)
    optimizer = recipe.optimizer().build(network.parameters())
    data, task = load_data(configuration.data, space.registry, configuration.task), load_task(configuration.task, space.registry)
    inputs = torch.randn(recipe.batch_size, *context.input_shape)
    targets = data.targets[torch.arange(recipe.batch_size) % len(data.targets)]
    times = []
    for _ in range(1 + NUM_TIMED_STEPS):
        started = time.perf_counter()
        optimizer.zero_grad()
        task.loss(network(inputs), targets).backward()
        optimizer.step()
        times.append(time.perf_counter() - started)
    return min(times[1:])  # the first one pays for allocations; the least disturbed one is wanted


def _detectable(replicates: int, *, looks: bool) -> float | None:
    if replicates < 2:
        return None
    from nas.measuring.power import detectable  # over a second of imports, wanted only here

    return detectable(replicates, alpha=nominal_alpha(replicates, planned_looks=looks))


def _ends(values: Sequence[int]) -> tuple[int, int]:
    return min(values), max(values)


def _whole(value: float) -> int | None:
    return None if math.isinf(value) else int(value)
