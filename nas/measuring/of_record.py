"""Layer 3: the record of a study → its measured trainings as results, and the effects read from them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from nas.measuring.ablation import tell_ablation
from nas.measuring.estimates import estimate
from nas.values.effects import Effects, Result
from nas.values.records import StudyRecord


def results_of(record: StudyRecord) -> tuple[Result, ...]:
    """Return the measured trainings as the estimator takes them; one that never ended has no value."""
    cells: dict[Any, Result] = {}
    for training in record.measured:
        cell, outcome = training.cell, training.outcome
        if cell is None or (cell in cells and outcome is None):
            continue
        told = outcome is not None and training.state in ("complete", "failed") and math.isfinite(outcome.score)
        cells[cell] = Result(
            replicate=cell.replicate,
            level=cell.level,
            by=tuple(value for _, value in cell.by),
            value=outcome.score if outcome and told else None,
            failed=told and training.state == "failed",
            parameters=outcome.cost.parameters if outcome else None,
            macs=outcome.cost.macs if outcome else None,
            num_layers=outcome.cost.num_layers if outcome else None,
        )
    return tuple(cells.values())


def effects_of(record: StudyRecord) -> Effects | None:
    """Estimate the effects of a record, or return None where nothing was measured yet."""
    plan, results = record.plan, results_of(record)
    if plan is None or not any(r.value is not None and r.level == plan.reference for r in results):
        return None
    unit = "points" if record.metric(plan.metric).is_share else ""
    effects = estimate(
        results,
        factor=plan.factor,
        reference=plan.reference,
        levels=plan.levels,
        by=tuple(path for path, _ in plan.by),
        smallest_effect=plan.smallest_effect,
        maximize=plan.direction == "maximize",
        unit=unit,
        scope=str(record.data.get("name", "")),
        planned_looks=bool(plan.looks),
    )
    if plan.looks_changed_after:
        done = "planned" if plan.looks else "taken back"
        late = (
            f"The looks were {done} when {plan.looks_changed_after} trainings were there already: the error rate holds only if "
            "nobody had read those."
        )
        effects = replace(effects, notes=(late, *effects.notes))
    if not record.changes:
        return effects
    return replace(effects, sentence=tell_ablation(effects, record.changes, scope=str(record.data.get("name", "")), unit=unit))
