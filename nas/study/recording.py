"""Layer 4: the record of a study: its ledgers' trials, its plan and what it was made of, frozen at one moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas.measuring.ablation import Ablation
from nas.measuring.design import Twins
from nas.paths import shipped
from nas.study.jobs.materials import describe_data
from nas.values.plans import MeasurePlan
from nas.values.records import StudyRecord, TrainingRecord

if TYPE_CHECKING:
    from nas.study.study import Study


def record_of(study: Study) -> StudyRecord:
    """Return the frozen state of a study."""
    space, ablation = study.space, study.design if isinstance(study.design, Ablation) else None
    return StudyRecord(
        name=space.name,
        key=f"{study.key}/{study.design.name}" if study.design and study.is_beside else study.key,
        space_file=space.file,
        space_text=space.text,
        objective=space.search.objective,
        direction=space.search.direction,
        costs=space.search.costs,
        gate=str(space.gate or ""),
        metrics=space.metrics,
        search=() if study.is_beside else study.results.of(study.search.name),
        measured=_measured_of(study),
        planned_search=0 if study.is_beside else space.search.trials or 0,
        plan=_plan_of(study),
        environment=study.search.about.get("environment", {}),
        data=study.search.about.get("data") or describe_data(space),
        created=study.results.begun,
        changes=ablation.changes if ablation else (),
        left_out=ablation.left_out if ablation else (),
        tuning=study.tuning.numbered(study.results.of) if study.tuning else (),
        baseline=study.results.of(study.baseline.ledger.name) if study.baseline and not study.is_beside else (),
        planned_baseline=study.baseline.size(study.results.of(study.search.name)) if study.baseline and not study.is_beside else 0,
        winners=study.design.winners if isinstance(study.design, Twins) else (),
        own_plugins=tuple(_own_plugins(study)),
        domains={path: decision.domain for path, decision in space.decisions.items()},
    )


def _own_plugins(study: Study) -> Iterator[str]:
    """Yield what somebody else lacks who has this package: plugins from folders or other packages, as the study was begun with."""
    there = shipped("plugins").resolve()
    for name, sha256 in study.search.about.get("identity", {}).get("plugins", {}).items():
        info = study.space.registry.find(*name.split("/", 1))
        file = Path(info.file).resolve()
        if there not in file.parents:
            yield f"{info.kind} {info.name} ({info.package or '/'.join(file.parts[-2:])}, SHA-256 {sha256[:12]}…)"


def _plan_of(study: Study) -> MeasurePlan | None:
    if study.design is None or study.measured is None:
        return None
    return replace(study.design.plan, looks_changed_after=study.measured.about.get("looks_changed_after", 0))


def _measured_of(study: Study) -> tuple[TrainingRecord, ...]:
    """Return the trainings of the design; references that were matched once and are no longer asked for are left out."""
    if study.design is None or study.measured is None:
        return ()
    levels = study.design.plan.trained_levels
    return tuple(t for t in study.results.of(study.measured.name) if t.cell and t.cell.level in levels)
