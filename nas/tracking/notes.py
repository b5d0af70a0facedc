"""Layer 3: what the study's run says about itself in MLflow's description: progress, verdict and table, in Markdown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from operator import attrgetter

from nas.tracking.effects import step_axis
from nas.tracking.entries import NOTE
from nas.tracking.keys import MAX_TAG_LENGTH, cut
from nas.tracking.names import run_name
from nas.values.architecture import write
from nas.values.domains import Scalar
from nas.values.effects import CellSummary, Effects, Estimate, slug_of
from nas.values.plans import MeasurePlan
from nas.values.records import StudyRecord

_ENDS = {"pruned": "pruned", "did not train": "failed", "broken": "broken"}


def study_tags(record: StudyRecord, effects: Effects | None, artifacts: Sequence[str], note: str) -> dict[str, str]:
    """Return the tags of the study's run that change while it runs, its description among them."""
    so_far = progress(record)
    tags = {"nas.progress": so_far, "nas.trials_planned": str(record.planned_search)}
    if record.plan:
        tags["nas.replicates_planned"] = str(record.plan.replicates)
        tags["nas.plan"] = plan_text(record.plan)
    for best in record.best(1):
        tags["nas.best"] = f"{run_name(best, record)}: {best.outcome.score:.4f}" if best.outcome else ""
    if effects:
        tags["nas.verdict"] = effects.sentence
        tags["nas.effect_step"] = step_axis(effects)[0]
        tags["nas.estimand"] = effects.estimand
        tags |= {f"nas.verdict.{slug_of(c.effects.estimand)}": c.effects.sentence for c in effects.contrasts}
        tags |= {
            f"nas.look.{look.replicates}": f"{'decided' if look.decided else 'undecided'} at alpha {look.alpha}" for look in effects.looks
        }
    tags[NOTE] = study_note(record, effects, artifacts, note, so_far)
    return {key: cut(value, MAX_TAG_LENGTH) for key, value in tags.items()}


def study_note(record: StudyRecord, effects: Effects | None, artifacts: Sequence[str], note: str, so_far: str) -> str:
    """Return the description: the verdict, then the table, the progress, the best trials and where the report is."""
    parts = [f"**{effects.sentence}**" if effects and effects.sentence else ""]
    parts += [_table(effects, in_points=record.judged_by.is_share), *(f"- {line}" for line in effects.notes)] if effects else []
    for contrast in effects.contrasts if effects else ():
        parts += [f"**{contrast.effects.estimand}**: {contrast.effects.sentence}", *(f"- {line}" for line in contrast.effects.notes)]
    parts += [so_far, _best(record)]
    if artifacts:
        parts.append("See " + ", ".join(f"`{name}`" for name in artifacts) + " among this run's artifacts.")
    return cut("\n\n".join(part for part in (*parts, note) if part), MAX_TAG_LENGTH)


def progress(record: StudyRecord) -> str:
    """Return `12 of 30 trials, 40 of 60 measured trainings (2 did not train, 1 broken)`."""
    states = [Counter[str](map(attrgetter("state"), trainings)) for trainings in (record.search, record.tuning, record.measured)]
    done, tuned, measured = (found["complete"] + found["pruned"] + found["failed"] for found in states)
    told = [f"{done} of {record.planned_search} trials"] if record.has_search and not record.is_beside else []
    if record.plan:
        told.append(f"{measured} of {record.planned_measured} {'measured trainings' if record.plan.levels else 'seeds'}")
    if record.planned_tuning:
        told.insert(-1, f"{tuned} of {record.planned_tuning} tuning trials")
    text = ", ".join(told)
    counts = {what: sum(found[state] for found in states) for what, state in _ENDS.items()}
    remarks = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{text} ({remarks})" if remarks else text


def plan_text(plan: MeasurePlan) -> str:
    """Return what is measured: `shortcut: identity against none, by depth 1, 3, 9; 10 replicates (standard)`."""
    if not plan.levels:
        return f"one architecture from {plan.replicates} fresh seeds, by {plan.metric}"
    arms = ", ".join(write(level) for level in plan.levels if level != plan.reference)
    text = f"{_leaf(plan.factor)}: {arms} against {write(plan.reference)}"
    for path, values in plan.by:
        text += f", by {_leaf(path)} " + ", ".join(write(value) for value in values)
    tuned = f"; tuned: {plan.tune_trials} trials an arm" if plan.tune_trials else ""
    return f"{text}{tuned}; {plan.replicates} replicates"


def _best(record: StudyRecord) -> str:
    best = record.best(3)
    if not best:
        return ""
    lines = [f"- {run_name(t, record)}: {t.outcome.score:.4f}" for t in best if t.outcome]
    of = f" on the front of {', '.join(name for name, _ in record.objectives)}" if record.costs else ""
    return "\n".join([f"Best trials by {record.objective}{of} (exploratory: adaptive sampling):", "", *lines])


def _table(effects: Effects, *, in_points: bool) -> str:
    scale = 100.0 if in_points else 1.0
    head = [_leaf(path) for path in effects.by]
    head += ["layers", "level", "mean", "n", "failed", "effect, points" if in_points else "effect", "interval", "Holm p"]
    head += ["wins", "Δ parameters", "Δ MACs", "verdict"]
    rows = [head, ["---"] * len(head)]
    for at, layers in zip(effects.at, effects.num_layers, strict=True):
        for level in dict.fromkeys((effects.reference, *effects.levels)):
            rows.append([*(write(value) for value in at), _or_dash(layers), *_cells(effects, level, at, scale)])
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows)


def _cells(effects: Effects, level: Scalar, at: tuple[Scalar, ...], scale: float) -> list[str]:
    cell = next((c for c in effects.cells if (c.level, c.at) == (level, at)), None)
    estimate = next((e for e in effects.at_each if (e.level, e.at) == (level, at)), None)
    if level == effects.reference:
        return [write(level), *_facts(cell, scale), "reference", *[""] * 6]
    return [write(level), *_facts(cell, scale), *_effect(estimate, scale), *_beside(cell), _verdict(estimate)]


def _facts(cell: CellSummary | None, scale: float) -> list[str]:
    if cell is None:
        return ["-", "-", "-"]
    return [_figure(cell.mean, scale), str(cell.n), str(cell.failures)]


def _effect(estimate: Estimate | None, scale: float) -> list[str]:
    if estimate is None:
        return ["-", "-", "-"]
    interval = estimate.interval
    span = f"[{_figure(interval.low, scale, '+')}, {_figure(interval.high, scale, '+')}]" if interval else "-"
    holm = f"{estimate.p_holm:.3g}" if estimate.p_holm is not None else "-"
    return [_figure(estimate.mean, scale, "+"), span, holm]


def _beside(cell: CellSummary | None) -> list[str]:
    """Write how often the arm beats its twin (a tie as half), and what it costs more."""
    if cell is None:
        return ["-", "-", "-"]
    costs = (f"{more:+,.0f}" if more else "-" if more is None else "0" for more in (cell.parameter_difference, cell.mac_difference))
    return ["-" if cell.wins is None else f"{cell.wins:.0%}", *costs]


def _verdict(estimate: Estimate | None) -> str:
    return (estimate.verdict or estimate.reason) if estimate else "not measured"


def _figure(value: float | None, scale: float, sign: str = "") -> str:
    return _or_dash(None) if value is None or math.isnan(value) else f"{scale * value:{sign}.{2 if scale > 1 else 4}f}"


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]
