"""Layer 3: a study's record → its results and effects, with what the machine lost said beside them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from nas.measuring.ablation import tell_ablation
from nas.measuring.capacity import MISMATCH_ALLOWED
from nas.measuring.estimates import estimate
from nas.values.domains import Scalar, written
from nas.values.effects import MATCHED, Contrast, Effects, Mismatch, Result
from nas.values.plans import Cell, MeasurePlan
from nas.values.records import MAX_ATTEMPTS, StudyRecord


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
    if plan is None or not plan.levels or not any(r.value is not None and r.level == plan.reference for r in results):
        return None
    matched = {m.label for m in plan.matched}
    main = [r for r in results if r.level not in matched]
    effects = _estimated(record, plan, main, levels=plan.levels, estimand=plan.estimand, between=_searched(plan))
    contrasts, told = tuple(_contrasts(record, plan, results)), (*_unmatched(plan), *_conditions(record, plan))
    effects = replace(effects, contrasts=contrasts, notes=(*_losses(record), *effects.notes, *_floored(record, plan), *told))
    if plan.looks_changed_after:
        done = "planned" if plan.looks else "taken back"
        late = (
            f"The looks were {done} when {plan.looks_changed_after} trainings were there already: the error rate holds only if "
            "nobody had read those."
        )
        effects = replace(effects, notes=(late, *effects.notes))
    if not record.changes:
        return effects
    return replace(effects, sentence=tell_ablation(effects, record.changes, scope=scope_of(record, plan), unit=unit_of(record, plan)))


def scope_of(record: StudyRecord, plan: MeasurePlan) -> str:
    """Return where the finding holds: the data set, and one configuration where the replicates draw nothing."""
    name = str(record.data.get("name", ""))
    return f"{name} with one configuration" if name and plan.held and not record.drawn and not plan.tuned and not record.changes else name


def unit_of(record: StudyRecord, plan: MeasurePlan) -> str:
    """Return `points` where the measured metric is a share, else ''."""
    return "points" if record.metric(plan.metric).is_share else ""


def _estimated(record: StudyRecord, plan: MeasurePlan, results: Sequence[Result], **how: Any) -> Effects:
    return estimate(
        results,
        factor=plan.factor,
        reference=plan.reference,
        by=tuple(path for path, _ in plan.by),
        smallest_effect=plan.smallest_effect,
        maximize=plan.direction == "maximize",
        unit=unit_of(record, plan),
        scope=scope_of(record, plan),
        planned_looks=bool(plan.looks),
        **how,
    )


def _searched(plan: MeasurePlan) -> str:
    """Say, for a tuned effect, what was searched with which budget; '' for any other."""
    if not plan.tune_trials:
        return ""
    each = "arm and cell" if plan.by else "arm"
    trials = f"{plan.tune_trials} trial{'s' * (plan.tune_trials > 1)}"
    return f"between the winners of equal searches, {trials} for each {each}, retrained with fresh seeds"


def _contrasts(record: StudyRecord, plan: MeasurePlan, results: Sequence[Result]) -> Iterator[Contrast]:
    """Yield, for each quantity, the arms against the references that were widened to it: one family each."""
    there = {result.level for result in results if result.value is not None}
    for quantity in plan.match:
        references = {m.level: m.label for m in plan.matched if m.quantity == quantity and {m.label, m.level} <= there}
        if references:
            between = f"from the reference widened to an equal number of {'MACs' if quantity == 'macs' else quantity}"
            effects = _estimated(record, plan, results, references=references, estimand=MATCHED[quantity], between=between)
            mismatches = tuple(_mismatch(results, level, label, quantity) for level, label in references.items())
            notes = tuple(_told(found, quantity) for found in mismatches)
            yield Contrast(quantity, replace(effects, notes=(*notes, *effects.notes)), mismatches)


def _mismatch(results: Sequence[Result], level: Scalar, label: str, quantity: str) -> Mismatch:
    costs = {(r.level, r.replicate, r.by): getattr(r, quantity) for r in results if getattr(r, quantity)}
    shares = [
        (count - costs[level, replicate, by]) / costs[level, replicate, by]
        for (own, replicate, by), count in costs.items()
        if own == label and (level, replicate, by) in costs
    ]
    worst = max(shares, key=abs, default=0.0)
    return Mismatch(level, worst, abs(worst) <= MISMATCH_ALLOWED)


def _told(found: Mismatch, quantity: str) -> str:
    name = "MACs" if quantity == "macs" else quantity
    size = f"{abs(found.worst):.2%} {'more' if found.worst > 0 else 'fewer'} {name}" if found.worst else f"the same {name}"
    most = "at most " if found.worst else ""
    less = "" if found.close else f"; over {MISMATCH_ALLOWED:.0%}: whole widths come no nearer"
    return f"The wider reference of {written(found.level)} has {most}{size}{less}."


def _unmatched(plan: MeasurePlan) -> Iterator[str]:
    """Say which arms have no wider reference, since they cost no more than the reference does."""
    for quantity in plan.match:
        matched = {m.level for m in plan.matched if m.quantity == quantity}
        if free := [written(level) for level in plan.levels if level not in matched]:
            name = "MACs" if quantity == "macs" else quantity
            yield f"No more {name} than the reference, so the effect stands as it is: {', '.join(free)}."


def _floored(record: StudyRecord, plan: MeasurePlan) -> Iterator[str]:
    """Say which trainings failed with a score above the one that they count at: few examples cannot tell a weak network from a guess."""
    sign = 1 if plan.direction == "maximize" else -1
    outcomes = [t.outcome for t in record.measured if t.outcome and t.outcome.failure.startswith("learned nothing")]
    own = [o.metrics[plan.metric] for o in outcomes if plan.metric in o.metrics and sign * (o.metrics[plan.metric] - o.score) > 1e-9]
    if own and (count := record.data.get("num_test")):
        best = max(own) if sign > 0 else min(own)
        shown = f"{best:.1%}" if record.metric(plan.metric).is_share else f"{best:.4g}"
        yield (
            f"{len(own)} of the failed trainings scored better than what they count at, up to {shown}: on {count} test examples that is "
            "not surely more than guessing. A larger test part would tell."
        )


def _conditions(record: StudyRecord, plan: MeasurePlan) -> Iterator[str]:
    """Say over what the finding was taken: what every replicate has alike, and what each draws anew."""
    if record.changes:
        return
    if plan.tuned:
        yield f"Tuned for each arm by itself: {_listing([_leaf(path) for path in plan.tuned])}."
    held = _listing([f"{_leaf(path)} {written(value)}" for path, value in plan.held])
    drawn = _listing([_leaf(path) for path in record.drawn])
    if held:
        anew = f"; {drawn} {'is' if len(record.drawn) == 1 else 'are'} drawn anew for each" if drawn else ""
        yield f"Every replicate has {held}{anew}."
    elif drawn:
        yield f"Drawn anew for each replicate: {drawn}."


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]


def _listing(items: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def _losses(record: StudyRecord) -> Iterator[str]:
    """Say what the machine lost for good, and what was drawn in its place (docs/method.md, "Trainings that fail")."""
    if not record.lost:
        return
    gone, drawn = len({cell.replicate for cell in record.lost}), record.replacements
    told = f"{_count(len(drawn), 'replacement')} {'was' if len(drawn) == 1 else 'were'} drawn"
    named = f" (replicate {', '.join(map(str, drawn))})" if drawn else ""
    yield (
        f"The machine lost {_count(len(record.lost), 'training')} for good, {MAX_ATTEMPTS} attempts each: {_listed(record.lost)}. "
        f"{_count(gone, 'replicate')} {'is' if gone == 1 else 'are'} incomplete by it; {told}{named}."
    )


def _listed(lost: tuple[Cell, ...], most: int = 6) -> str:
    named = ["replicate " + ", ".join(map(str, (c.replicate, written(c.level), *(written(v) for _, v in c.by)))) for c in lost]
    return "; ".join(named[:most]) + (f" and {len(named) - most} more" if len(named) > most else "")


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
