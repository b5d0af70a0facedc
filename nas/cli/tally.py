"""Layer 6: how far a running study is: what is done of what is owed, the best so far, the pace, the measured effect so far."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.errors import NasError

if TYPE_CHECKING:
    from nas.study.study import Study
    from nas.values.records import StudyRecord, TrainingRecord

TOLD = ("complete", "pruned", "failed")
EFFECT_EVERY_S = 10.0
BETWEEN_S = 20.0
LEAST_FRESH = 3
"""Trainings that have to be done in this run before a pace is said."""


@dataclass(frozen=True)
class Count:
    """One phase: how many trainings have an outcome, of how many (0 where a time ends it), and how many of them ended early."""

    phase: str
    done: int
    owed: int
    pruned: int = 0
    failed: int = 0
    weight: float = 1.0
    """How long one takes, of what a training alone takes."""

    @classmethod
    def of(cls, phase: str, trainings: tuple[TrainingRecord, ...], owed: int, weight: float = 1.0) -> Count:
        """Count the trainings of a phase by their states."""
        states = [training.state for training in trainings]
        pruned, failed = states.count("pruned"), states.count("failed")
        return cls(phase, states.count("complete") + pruned + failed, owed, pruned, failed, weight)


class Tally:
    """Counts one study from its first event on; `left_s` and `per_minute` go by what was done since."""

    def __init__(self, study: Study) -> None:
        self.study, self.started, self.counts = study, time.time(), tuple[Count, ...]()
        self.record: StudyRecord = study.record()
        self._seen = dict[str, float]()
        minutes = study.space.search.minutes if "search" in study.driven else None
        self.search_ends = self.started + 60 * minutes - study.search.about.get("searched_s", 0.0) if minutes else None
        self.ended, self.done_at_start = self.started, dict[str, int]()
        self.done_at_start = {count.phase: count.done for count in self.read()}
        self.ended = self.started  # when the last training of this run ended

    def read(self) -> tuple[Count, ...]:
        """Count anew."""
        study = self.study
        record = self.record = study.record()
        counts, seeds = [], study.space.search.seeds * study.trial_share  # a trial of several seeds is as many trainings
        if not record.is_beside and "search" in study.driven:
            counts.append(Count.of("search", record.search, record.planned_search, seeds))
        if record.planned_tuning:
            counts.append(Count.of("tune", record.tuning, record.planned_tuning, seeds))
        if record.plan:
            phase = study.design.phase if study.design else "measure"
            counts.append(Count.of(phase, record.measured, record.planned_measured, study.share))
        if record.planned_baseline and "baseline" in study.driven:
            counts.append(Count.of("random", record.baseline, record.planned_baseline, seeds))
        if sum(count.done for count in counts) > sum(count.done for count in self.counts):
            self.ended = time.time()
        self.counts = tuple(counts)
        return self.counts

    def saw(self, training: TrainingRecord | None) -> None:
        """Take up that a training was begun or ended, and so that its worker is there."""
        if training and training.worker:
            self._seen[training.worker] = time.time()

    @property
    def workers(self) -> int:
        """How many are at work: those that train, and those between one training and the next."""
        training = {t.worker for t in self.record.trainings if t.state == "running"}
        return len(training | {worker for worker, at in self._seen.items() if time.time() - at < BETWEEN_S})

    @property
    def measuring(self) -> Count | None:
        """The count of the measured design; None without one."""
        return next((count for count in self.counts if count.phase not in ("search", "tune", "random")), None)

    @property
    def fresh(self) -> int:
        """How many trainings got their outcome since the tally began."""
        return sum(self._fresh(count) for count in self.counts)

    def _fresh(self, count: Count) -> int:
        return count.done - self.done_at_start.get(count.phase, 0)

    @property
    def per_minute(self) -> float | None:
        """Trainings a minute in this run, until the last that ended: those of a group end at once. None before there is a pace."""
        passed = self.ended - self.started
        return 60 * self.fresh / passed if self.fresh >= LEAST_FRESH and passed > 0 else None

    @property
    def left_s(self) -> float | None:
        """How long the rest will take at the pace so far, in seconds; None where that is not known, or nothing is left.

        Trainings as one program count for what one of them takes, trials of several seeds for all of theirs.
        """
        owed = sum(count.weight * max(count.owed - count.done, 0) for count in self.counts if count.owed)
        by_clock = max(self.search_ends - time.time(), 0.0) if self.search_ends and not self.counts[0].owed else 0.0
        if self.per_minute is None:
            return by_clock if by_clock and not owed else None
        done = sum(count.weight * self._fresh(count) for count in self.counts)
        by_pace = owed * (self.ended - self.started) / done - (time.time() - self.ended) if owed else 0.0
        return by_clock + max(by_pace, 0.0) if owed or by_clock else None


class SoFar:
    """The measured effect so far, read from the record now and then: each reading costs what the final one does."""

    def __init__(self) -> None:
        self.next_at, self.done, self.lines = 0.0, -1, tuple[str, ...]()

    def read(self, record: StudyRecord, count: Count) -> tuple[str, ...]:
        """Return the lines to show: none before two replicates are complete, none once all is measured.

        Interim figures are no verdict: the error rate holds for one reading at the planned end, and the lines say so
        (docs/method.md, "Looking early").
        """
        if count.done >= count.owed or not record.plan:
            return ()
        started = time.monotonic()
        if started >= self.next_at and count.done != self.done:
            self.done = count.done
            try:
                self.lines = tuple(_effect_lines(record))
            except NasError:
                self.lines = ()
            # A large ablation takes long to estimate: never more than a twentieth of one core.
            self.next_at = started + max(EFFECT_EVERY_S if self.lines else 1.0, 20 * (time.monotonic() - started))
        return self.lines


def _effect_lines(record: StudyRecord) -> list[str]:
    from nas.measuring.of_record import effects_of  # a second of imports, wanted only here
    from nas.report.words import Unit, level_text

    plan, effects = record.plan, effects_of(record)
    if plan is None or effects is None:
        return []
    unit = Unit.of(record.metric(plan.metric))
    shown = [found for found in effects.overall if found.mean is not None and found.n > 1]
    lines = []
    for found in sorted(shown, key=lambda found: -abs(found.mean or 0.0))[:3]:
        interval = f" {unit.interval(found.interval)}" if found.interval else ""
        against = "" if record.changes else f" against {level_text(effects.reference)}"
        label = _change_text(record, str(found.level)) if record.changes else level_text(found.level)
        lines.append(f"{unit.signed(found.mean)}{interval}{unit.suffix}: {label}{against}, {found.n} of {plan.replicates} replicates")
    if not lines:
        return []
    more = f"{len(shown) - len(lines)} smaller ones not shown; " if len(shown) > len(lines) else ""
    read = f"at {' and '.join(map(str, _looks()))} replicates" if plan.looks else "when all replicates are in"
    return [*lines, f"so far, not a verdict: {more}it is read {read}"]


def _change_text(record: StudyRecord, label: str) -> str:
    from nas.report.words import level_text, short_names

    names = short_names(change.path for change in record.changes)
    change = next((change for change in record.changes if change.level == label), None)
    return f"{names[change.path]}={level_text(change.after)}" if change else label


def _looks() -> tuple[int, ...]:
    from nas.values.effects import LOOKS

    return tuple(at for at, _ in LOOKS)
