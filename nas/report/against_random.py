"""Layer 4: a search beside as many trials drawn at random: the best so far of both, and what came of it in words."""

from __future__ import annotations

from collections.abc import Sequence

from nas.report.reading import score_of, sign_of
from nas.report.words import Unit, plural
from nas.values.records import StudyRecord, TrainingRecord

TOLD = ("complete", "pruned", "failed")


def best_so_far(record: StudyRecord, trainings: Sequence[TrainingRecord]) -> list[tuple[int, float]]:
    """Return after how many trials the best score rose, and to what; the trainings are told ones in their order."""
    sign, steps = sign_of(record), list[tuple[int, float]]()
    for count, training in enumerate((t for t in sorted(trainings, key=lambda t: t.number) if t.state in TOLD), 1):
        score = score_of(training)
        if training.state == "complete" and score is not None and (not steps or sign * score > sign * steps[-1][1]):
            steps.append((count, score))
    return steps


def told(record: StudyRecord) -> str:
    """Say in a sentence or two how the search stands beside random trials; '' where there are none."""
    drawn = sum(t.state in TOLD for t in record.baseline)
    if not drawn:
        return ""
    unit, ours, random = Unit.of(record.objective), best_so_far(record, record.search), best_so_far(record, record.baseline)
    who = f"{plural(drawn, 'trial')} drawn at random from the same space, with the same pruner"
    if not ours or not random:
        without = "neither they nor the search have a" if not ours and not random else "they have no" if ours else "the search has no"
        return f"{who}: {without} completed trial, so nothing is compared."
    difference = random[-1][1] - ours[-1][1]
    size = unit.signed(abs(difference)).removeprefix("+")
    place = (
        "as good as the search's"
        if size == unit.signed(0.0)
        else f"{size}{unit.suffix} {'above' if difference > 0 else 'below'} the search's"
    )
    reached = next((count for count, score in ours if sign_of(record) * (score - random[-1][1]) >= 0), None)
    when = f" The search was there after {plural(reached, 'trial')}, they after {random[-1][0]:,}." if reached else ""
    level = f"{unit.level(random[-1][1])}{unit.mark}"
    few = f" Only {drawn:,} of {record.planned_baseline:,} are trained." if drawn < record.planned_baseline else ""
    return f"{who}, reached {level} at best, {place}.{when}{few} Each is one run of many that could have been: no interval can be given."
