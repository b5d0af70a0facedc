"""Layer 1: the Pareto fronts of a search: the finished trials that no other one beats in score and in cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nas.values.dominance import undominated
from nas.values.outcome import COSTS, CostName
from nas.values.records import StudyRecord, TrainingRecord


def costs_of(record: StudyRecord) -> tuple[CostName, ...]:
    """Return the costs that every finished trial of the search has: parameters and MACs, and the latency where that was searched for."""
    return tuple(cost for cost in COSTS if cost != "latency" or cost in record.costs)


def front_of(record: StudyRecord, cost: CostName) -> tuple[TrainingRecord, ...]:
    """Return the completed trials of the search than which no other is both as good and as cheap; cheapest first.

    One trial is beaten by another that is at least its equal in score and in `cost`, and better in one of them. Of trials that
    are equal in both the first stands for all.
    """
    done, sign = sorted(record.finished, key=lambda t: t.number), 1.0 if record.direction == "maximize" else -1.0
    front = undominated([(sign * score_in(training), -cost_in(training, cost)) for training in done])
    return tuple(done[place] for place in reversed(front))


def score_in(training: TrainingRecord) -> float:
    """Return the score of a finished training."""
    assert training.outcome is not None, "a finished training has its outcome"
    return training.outcome.score


def cost_in(training: TrainingRecord, cost: CostName) -> float:
    """Return what the network of a finished training costs; of the latency, in milliseconds."""
    assert training.outcome is not None, "a finished training has its outcome"
    return training.outcome.costing(cost)


def fronts_document(record: StudyRecord) -> Mapping[str, Any]:
    """Return the front of the score and each cost by the cost's name, and that of all objectives as `all`, as plain JSON data."""
    found: dict[str, Any] = {cost: [_document(t, record) for t in front_of(record, cost)] for cost in costs_of(record)}
    return {**found, "all": [_document(t, record) for t in record.front]} if record.costs else found


def _document(training: TrainingRecord, record: StudyRecord) -> dict[str, Any]:
    assert training.outcome is not None, "a finished training has its outcome"
    cost, latency = training.outcome.cost, "latency" in record.costs
    return {
        "number": training.number, "score": training.outcome.score, "parameters": cost.parameters, "macs": cost.macs,
        **({"latency_ms": training.outcome.costing("latency")} if latency else {}),
        "num_layers": cost.num_layers, "decisions": dict(training.decisions),
    }  # fmt: skip
