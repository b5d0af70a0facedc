"""Layer 4: the commands that make a study, and its effects, again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from nas.measuring.of_record import scope_of, unit_of
from nas.measuring.table import write_scalar
from nas.values.domains import written
from nas.values.effects import Effects
from nas.values.plans import MeasurePlan
from nas.values.records import StudyRecord


def again(record: StudyRecord) -> str:
    """Return the command that makes the study, or what stands beside it, from its space file."""
    if record.changes:
        return shlex.join(["nas", "ablate", record.title])
    if not record.is_beside or record.plan is None:
        return shlex.join(["nas", "search", record.space_file, *["--baseline"] * bool(record.planned_baseline)])
    return shlex.join(["nas", "measure", record.space_file, *_asked(record.plan)])


def effects_again(record: StudyRecord, effects: Effects, table: str) -> str:
    """Return the command that computes the effects, and says the same sentence, from the raw replicates alone."""
    plan = record.plan
    parts = ["nas", "effects", table, "--reference", write_scalar(effects.reference), "--smallest-effect", f"{effects.smallest_effect:g}"]
    parts += ["--factor", effects.factor]
    if plan and (scope := scope_of(record, plan)):
        parts += ["--scope", scope]
    if effects.contrasts:  # the matched references stand in the same file, and are no arms of this effect
        parts += [part for level in effects.levels for part in ("--levels", write_scalar(level))]
    parts += ["--minimize"] if plan and plan.direction == "minimize" else []
    parts += ["--planned-looks"] if plan and plan.looks else []
    parts += ["--unit", unit_of(record, plan) or "plain"] if plan else []
    return shlex.join(parts)


def _asked(plan: MeasurePlan) -> Iterator[str]:
    yield from ("--factor", plan.factor, "--reference", written(plan.reference))
    for level in plan.levels:
        yield from ("--levels", written(level))
    for path, values in plan.by:
        yield from ("--by", f"{path}={','.join(map(written, values))}")
    for path, value in plan.held:
        yield from ("--set", f"{path}={written(value)}")
    yield from ("--replicates", str(plan.replicates), "--smallest-effect", f"{plan.smallest_effect:g}")
