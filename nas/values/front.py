"""Layer 1: the Pareto front of a search: the finished trials that no other one beats in score and in cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

from nas.values.records import StudyRecord, TrainingRecord

CostName = Literal["parameters", "macs"]
COSTS: tuple[CostName, ...] = get_args(CostName)


def front_of(record: StudyRecord, cost: CostName) -> tuple[TrainingRecord, ...]:
    """Return the completed trials of the search than which no other is both as good and as cheap; cheapest first.

    One trial is beaten by another that is at least its equal in score and in `cost`, and better in one of them. Of trials that
    are equal in both the first stands for all.
    """
    sign, front = 1 if record.direction == "maximize" else -1, list[TrainingRecord]()
    reached = -math.inf
    for training, score in sorted(finished(record), key=lambda done: (cost_in(done[0], cost), -sign * done[1], done[0].number)):
        if sign * score > reached:
            front.append(training)
            reached = sign * score
    return tuple(front)


def finished(record: StudyRecord) -> list[tuple[TrainingRecord, float]]:
    """Return the completed trials of the search that have a score, with it."""
    done = [(t, t.outcome.score) for t in record.search if t.state == "complete" and t.outcome]
    return [(t, score) for t, score in done if math.isfinite(score)]


def cost_in(training: TrainingRecord, cost: CostName) -> int:
    """Return what the network of a finished training costs."""
    assert training.outcome is not None, "a finished training has its outcome"
    return int(getattr(training.outcome.cost, cost))


def fronts_document(record: StudyRecord) -> Mapping[str, Any]:
    """Return the fronts by the name of the cost, as plain JSON data."""
    return {
        cost: [
            {
                "number": t.number, "score": t.outcome.score, "parameters": t.outcome.cost.parameters, "macs": t.outcome.cost.macs,
                "num_layers": t.outcome.cost.num_layers, "decisions": dict(t.decisions),
            }
            for t in front_of(record, cost) if t.outcome
        ]
        for cost in COSTS
    }  # fmt: skip
