"""Layer 4: what the figures need of a study's record, as plain rows: pairs, curves, levels, accounts, spans of work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import fmean

from nas.report.words import short_names
from nas.values.domains import Scalar
from nas.values.records import State, StudyRecord, TrainingRecord

STATES: tuple[State, ...] = ("complete", "pruned", "failed", "invalid", "gated", "broken", "interrupted", "running", "waiting")
At = tuple[Scalar, ...]


@dataclass(frozen=True)
class Pair:
    """An arm and its reference in one replicate at one depth. `difference` is signed so that positive is better."""

    replicate: int
    level: Scalar
    at: At
    difference: float
    failed: bool
    arm: TrainingRecord
    reference: TrainingRecord


@dataclass(frozen=True)
class LevelCount:
    """What the search shows of one level of a factor: exploratory, for the sampler visited it as it pleased."""

    level: Scalar
    states: Mapping[State, int]
    scores: tuple[tuple[float, TrainingRecord], ...]

    @property
    def mean(self) -> float | None:
        """The mean score of the completed trials, None where there is none."""
        return fmean(score for score, _ in self.scores) if self.scores else None

    @property
    def unmeasured(self) -> bool:
        """Say whether every trial that was told was pruned: nothing is known then, least of all a score of 0."""
        return not self.scores and self.states.get("pruned", 0) > 0


def sign_of(record: StudyRecord) -> float:
    """Return 1 where higher is better, else −1."""
    return 1.0 if record.direction == "maximize" else -1.0


def score_of(training: TrainingRecord) -> float | None:
    """Return the score of a training that has a finite one."""
    outcome = training.outcome
    return outcome.score if outcome is not None and isfinite(outcome.score) else None


def pairs(record: StudyRecord) -> tuple[Pair, ...]:
    """Return every pair whose two trainings have a score, by replicate, depth and level; seeds of one cell are averaged."""
    if record.plan is None:
        return ()
    by, sign = tuple(path for path, _ in record.plan.by), 1.0 if record.plan.direction == "maximize" else -1.0
    cells: dict[tuple[int, At, Scalar], list[TrainingRecord]] = {}
    for training in record.measured:
        if training.cell and training.state in ("complete", "failed") and score_of(training) is not None:
            values = dict(training.cell.by)
            at = tuple(values[path] for path in by)
            cells.setdefault((training.cell.replicate, at, training.cell.level), []).append(training)
    found = []
    for (replicate, at, level), arms in cells.items():
        references = cells.get((replicate, at, record.plan.reference), [])
        if level != record.plan.reference and references:
            difference = sign * (_mean(arms) - _mean(references))
            failed = any(t.state == "failed" for t in (*arms, *references))
            found.append(Pair(replicate, level, at, difference, failed, arms[-1], references[-1]))
    return tuple(found)


def curve_name(record: StudyRecord, trainings: Iterable[TrainingRecord], *, measured: str = "") -> str:
    """Return the curve that stands for the metric `measured`, else for the objective: itself, its validation twin, accuracy, any."""
    names = dict.fromkeys(n for t in trainings if t.outcome for n, values in t.outcome.curves.items() if values)
    of = [(full, full.split("_", 1)[-1]) for full in (measured, record.objective) if full]
    wanted = (*(name for full, metric in of for name in (full, f"val_{metric}", f"train_{metric}")), "val_accuracy", *names)
    return next((name for name in wanted if name in names), "")


def curve_of(training: TrainingRecord, name: str) -> tuple[float, ...]:
    """Return one curve of a training, a value an epoch; empty where it was not recorded."""
    return tuple(training.outcome.curves.get(name, ())) if training.outcome else ()


def states(trainings: Iterable[TrainingRecord]) -> Mapping[State, int]:
    """Count trainings by state, in the order of STATES, those with none left out."""
    counts = Counter(t.state for t in trainings)
    return {state: counts[state] for state in STATES if counts[state]}


def levels_of(record: StudyRecord, factor: str) -> tuple[LevelCount, ...]:
    """Return what the search shows of each level of `factor`, the plan's order first, then as they appeared."""
    found: dict[str, tuple[Scalar, list[TrainingRecord]]] = {}
    plan = record.plan
    if plan is not None and plan.factor == factor:
        found = {repr(level): (level, []) for level in (plan.reference, *plan.levels)}
    for training in record.search:
        decided = dict(training.decisions)
        if factor in decided:
            found.setdefault(repr(decided[factor]), (decided[factor], []))[1].append(training)
    return tuple(_count(level, trainings) for level, trainings in found.values())


def factors_of(record: StudyRecord, *, most_levels: int = 6, most_factors: int = 6) -> tuple[str, ...]:
    """Return the factor that is measured, or for a search alone the decisions with a handful of labels."""
    if record.plan is not None:
        return (record.plan.factor,)
    values: dict[str, set[str]] = {}
    numeric: set[str] = set()
    for training in record.search:
        for path, value in training.decisions:
            values.setdefault(path, set()).add(repr(value))
            if isinstance(value, int | float) and not isinstance(value, bool):
                numeric.add(path)
    labels = [path for path, seen in values.items() if 2 <= len(seen) <= most_levels and path not in numeric]
    return tuple(sorted(labels, key=lambda path: "shortcut" not in path)[:most_factors])


def names_of(record: StudyRecord) -> Mapping[str, str]:
    """Return the short name of every decision of the study."""
    return short_names(path for t in record.trainings for path, _ in t.decisions)


def thin(items: Sequence[TrainingRecord], most: int, keep: Iterable[TrainingRecord] = ()) -> list[TrainingRecord]:
    """Return at most `most` trainings spread evenly, and always those in `keep`, in order of their numbers."""
    kept = {t.number: t for t in keep}
    rest = [t for t in items if t.number not in kept]
    room = max(most - len(kept), 0)
    step = max(len(rest) / room, 1.0) if room else 0.0
    spread = [rest[int(i * step)] for i in range(min(room, len(rest)))] if room else []
    return sorted([*kept.values(), *spread], key=lambda t: t.number)


def _mean(trainings: Sequence[TrainingRecord]) -> float:
    return fmean(score for t in trainings if (score := score_of(t)) is not None)


def _count(level: Scalar, trainings: Sequence[TrainingRecord]) -> LevelCount:
    scores = [(s, t) for t in trainings if t.state == "complete" and (s := score_of(t)) is not None]
    return LevelCount(level, states(trainings), tuple(scores))
