"""Layer 4: what a measured design takes and what it can find, said before it is trained (docs/method.md, "How many replicates")."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from nas.measuring.looks import nominal_alpha
from nas.study.crew.room import workers_of
from nas.study.pace import where_timed
from nas.study.preview import pace_of
from nas.study.study import Study
from nas.values.effects import LOOKS

LEAST_REPLICATES = 6


@dataclass(frozen=True)
class Outlook:
    """A design before it is trained. `detectable` is in standard deviations of the differences; None for one replicate."""

    trainings: int
    left: int
    arms: int
    replicates: int
    minutes: float
    workers: int
    detectable: float | None
    looks: tuple[int, ...] = ()
    matched: int = 0
    searches: int = 0
    tune_trials: int = 0
    seeds: int = 1
    """How many trainings each trial of those searches has."""
    groups: tuple[str, ...] = ()
    """Which trainings are trained as one program, and why others are not."""
    share: float = 1.0
    """How long one of its trainings takes, of what it takes alone: less where they are trained as one program."""
    trial_share: float = 1.0
    """The same of a seed of the search's trials."""

    @property
    def compares(self) -> bool:
        """Whether it is a measurement, rather than a retraining."""
        return self.arms > 1

    def lines(self) -> Iterator[str]:
        """Yield the plan in sentences."""
        matched = f" and {self.matched} matched reference{'s' * (self.matched > 1)}" if self.matched else ""
        replicates = f"{self.replicates} replicate{'s' * (self.replicates > 1)}"
        of = f"{replicates}, {self.arms} arms{matched}" if self.compares else "one architecture, a fresh seed each"
        told = f"{self.trainings:,} training{'s' * (self.trainings > 1)} ({of})"
        if self.left < self.trainings:
            told += f", {self.left:,} of them still to do"
        took = (
            "under a minute"
            if self.minutes < 1
            else f"about {self.minutes:.0f} min"
            if self.minutes < 90
            else f"about {self.minutes / 60:.1f} h"
        )
        workers = f"{self.workers} worker{'s' * (self.workers > 1)}"
        yield f"The {'measurement' if self.compares else 'retraining'}: {told}; {took} with {workers} on this machine.{where_timed()}"
        yield from self.groups
        if not self.compares:
            return
        if self.searches:
            trials = f"{self.tune_trials} trials" + (f" of {self.seeds} seeds" if self.seeds > 1 else "")
            trainings = self.searches * self.tune_trials * self.seeds
            told = f"{self.searches} searches of {trials}, {trainings:,} trainings"
            yield f"Before it, each arm is tuned for itself: {told}; the time is that of both."
        if self.looks:
            rates = " and ".join(f"{at} replicates (alpha {alpha:g})" for at, alpha in LOOKS)
            yield f"Looks are planned at {rates}: it ends after the first that decides, and there is no verdict between."
        if self.detectable is not None:
            yield f"It finds an effect of {self.detectable:.2f} sd of the paired differences with power .8, before Holm's correction."
        if self.replicates < LEAST_REPLICATES:
            yield f"With fewer than {LEAST_REPLICATES} replicates there will be no verdict."


def outlook(study: Study, *, workers: int | None = None) -> Outlook | None:
    """Say what is left of a study's measured design, timing a few steps on this machine; None where nothing is."""
    if study.design is None:
        return None
    plan, total, record = study.design.plan, study.planned_measure, study.record()
    left = total - sum(t.state in ("complete", "failed") for t in record.measured)
    untuned = record.planned_tuning - sum(t.state in ("complete", "pruned", "failed") for t in record.tuning)
    if left <= 0:
        return None
    size = workers or workers_of(study.space)
    pace, slots = pace_of(study.space, study.cost), study.measure_slots()
    first = list(study.design.trainings(study.space, study.fits, [0]))
    alone = statistics.fmean(pace.seconds(p.sample) for p in first)
    grouped = any(slot.group for slot in slots)
    each = pace.total(list(study.owed_trainings()), slots) / len(slots) if grouped else alone
    tuning = statistics.fmean(pace.trial(p.sample) for p in first) if untuned else 0.0
    seconds = each * left + tuning * untuned
    alpha = nominal_alpha(plan.replicates, planned_looks=bool(plan.looks))
    found = None
    if plan.levels and plan.replicates > 1:
        from nas.measuring.power import detectable  # over a second of imports, wanted only here

        found = detectable(plan.replicates, alpha=alpha)
    return Outlook(
        total, left, 1 + len(plan.levels), plan.replicates, seconds / size / 60, size, found,
        looks=plan.looks, matched=len(plan.matched), searches=plan.num_searches, tune_trials=plan.tune_trials,
        seeds=study.space.search.seeds,
        groups=study.told_groups(), share=each / alone, trial_share=pace.trial_share,
    )  # fmt: skip
