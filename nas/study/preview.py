"""Layer 4: what running a space would mean: its size, what its networks cost, how many trainings, how long."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from nas.building import cost_of
from nas.errors import PluginError
from nas.measuring.design import CostOf, PlannedTraining, Twins
from nas.measuring.looks import nominal_alpha
from nas.sampling import Sample, first_choice, fixing, keyed_draw, sample
from nas.space import Space, size_of
from nas.study.crew.room import room_of, workers_of
from nas.study.jobs.grouping import grouping_in
from nas.study.jobs.materials import context_of
from nas.study.jobs.seeds import stacks_of
from nas.study.ledger.slots import Slot
from nas.study.pace import Pace
from nas.study.searching.gating import check_probes
from nas.values.architecture import Configuration
from nas.values.domains import Scalar, written
from nas.values.outcome import Cost


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
    stacks: str = ""
    """For how many samples these are trained as one program, and why not for others."""
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


def pace_of(space: Space, cost: CostOf) -> Pace:
    """Return how long the trainings of a space take, by samples of it."""
    return Pace(space, cost, [sample(space, keyed_draw(space.seed, "preview", i)) for i in range(3)])


@dataclass(frozen=True)
class Groups:
    """The trainings of a design with groups, their slots, and what is said of the groups; with looks, up to the first of them."""

    planned: tuple[PlannedTraining, ...]
    slots: tuple[Slot, ...]
    told: tuple[str, ...]
    times: float
    """How often so many trainings there are in all."""


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
        groups = self.groups(twins) if twins else None
        replicates = options.replicates if options else 0
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
            stacks=self.stacks(),
            objectives=tuple(space.search.sought.split(", ")) if space.search.costs else (),
            looks=options.looks if options else (),
            groups=groups.told if groups else (),
            detectable=_detectable(replicates, looks=bool(options and options.looks)),
            minutes=None if space.input else self.minutes(planned, replicates, groups, tunings=twins.plan.tune_trials if twins else 0),
            workers=self.workers,
        )

    def groups(self, twins: Twins) -> Groups | None:
        """Plan all replicates of a design with groups; None for one without, or one that is not known yet."""
        vectorise, space = twins.vectorise, self.space
        if vectorise == 1 or space.input or twins.waits_for_winners:
            return None
        planned, grouping = list(twins.trainings(space, self.fits, range(twins.replicates))), grouping_in(space, vectorise)
        room = room_of(space, self.workers)
        slots = grouping.slots(planned, {}, room)
        return Groups(tuple(planned), tuple(slots), grouping.told(planned, slots, room), twins.options.replicates / twins.replicates)

    def stacks(self) -> str:
        """Say for how many of the random samples the seeds of a trial are trained as one program; '' where that is not asked for."""
        space, vectorise = self.space, self.space.search.together
        if vectorise == 1 or space.input:
            return ""
        configurations = [one.configuration for one in self.random]
        sizes = [size for one in configurations if (size := max(map(len, stacks_of(space, one)))) > 1]
        count = f", {max(sizes)} at once at most" if sizes else ""
        told = f"The seeds of a trial are trained as one program{count}, in {len(sizes):,} of {len(configurations):,} random samples"
        reason = next(filter(None, map(grouping_in(space, vectorise).why_not, configurations)), "")
        return f"{told}; not in others: {reason}." if reason else f"{told}."

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

    def minutes(self, planned: Sequence[PlannedTraining], replicates: int, groups: Groups | None = None, *, tunings: int = 0) -> float:
        """Estimate the whole run on this machine, pruning left out; each arm is tuned in so many trials."""
        search = self.space.search
        trials_s = (search.trials or math.inf) * sum(self.pace.trial(s) for s in self.random) / self.samples
        search_s = min(trials_s, (search.minutes or math.inf) * 60 * self.workers)
        measure_s = replicates * sum(self.seconds(p.sample) for p in planned)
        if groups:
            measure_s = groups.times * self.pace.total(groups.planned, groups.slots)
        if tunings:
            measure_s += tunings * sum(self.pace.trial(p.sample) for p in planned)
        return (search_s + measure_s) / self.workers / 60

    def seconds(self, decided: Sample) -> float:
        """Estimate one training on one thread."""
        return self.pace.seconds(decided)

    @cached_property
    def pace(self) -> Pace:
        return Pace(self.space, self._cost, self.random)


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


def _detectable(replicates: int, *, looks: bool) -> float | None:
    if replicates < 2:
        return None
    from nas.measuring.power import detectable  # over a second of imports, wanted only here

    return detectable(replicates, alpha=nominal_alpha(replicates, planned_looks=looks))


def _ends(values: Sequence[int]) -> tuple[int, int]:
    return min(values), max(values)


def _whole(value: float) -> int | None:
    return None if math.isinf(value) else int(value)
