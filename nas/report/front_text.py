"""Layer 4: the front of a search with several objectives, in words."""

from __future__ import annotations

from nas.report.words import Unit, cost_text, listing, objective_name, plural
from nas.values.front import cost_in, front_of, score_in
from nas.values.records import StudyRecord, TrainingRecord

MOST_OF_FRONT = 12
"""How many of a front a table shows; the figure and the JSON have them all."""


def front_sentence(record: StudyRecord) -> str:
    """Say in a sentence what the front of all objectives of a search is."""
    front, unit = record.front, Unit.of(record.metric(record.objective))
    told = listing(f"{'high' if way == 'maximize' else 'low'} {objective_name(name)}" for name, way in record.objectives)
    ends = [f"{_level(unit, t)} at {costs_text(t, record)}" for t in (front[0], front[-1])]
    reach = f"from {ends[0]} (trial {front[0].number}) to {ends[1]} (trial {front[-1].number})" if len(front) > 1 else ends[0]
    share = f"{len(front)} of {plural(len(record.finished), 'finished trial')} {'is' if len(front) == 1 else 'are'}"
    return f"{share} on the Pareto front of {told}: {reach}."


def costs_text(training: TrainingRecord, record: StudyRecord) -> str:
    """Write what a finished trial came to in each cost that was searched for: `1.2k parameters and 0.31 ms`."""
    return listing(
        cost_text(cost_in(training, cost), cost) + ("" if cost == "latency" else f" {objective_name(cost)}") for cost in record.costs
    )


def front_caption(record: StudyRecord) -> str:
    """Say under a table of the front what it holds."""
    count = len(record.front)
    some = f"the {MOST_OF_FRONT} of {count:,} with the best" if count > MOST_OF_FRONT else "best"
    told = listing(objective_name(name) for name, _ in record.objectives)
    return f"The Pareto front of {told}, {some} {record.objective} first: no finished trial is better in one and as good in the others."


def fronts_told(record: StudyRecord) -> tuple[str, ...]:
    """Say in lines for a terminal who is on the front: of score and parameters, or of all objectives where there are several."""
    unit = Unit.of(record.metric(record.objective))
    if not record.costs:
        ends = (f"{_level(unit, t)} at {cost_in(t, 'parameters'):,.0f} (trial {t.number})" for t in front_of(record, "parameters"))
        return (f"The front of {record.objective} and parameters: {', '.join(ends)}",)
    each = (f"  {_level(unit, t)} at {costs_text(t, record)} (trial {t.number})" for t in record.front)
    return (f"It has the best {record.objective} of the front. {front_sentence(record)}", *each)


def _level(unit: Unit, training: TrainingRecord) -> str:
    return f"{unit.level(score_in(training))}{unit.mark}"
