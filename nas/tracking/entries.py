"""Layer 3: a training or a study as MLflow keeps it, before it is sent: a name, tags, params and metric points."""

from __future__ import annotations

import contextlib
import getpass
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from nas.tracking.keys import MAX_PARAM_LENGTH, MAX_TAG_LENGTH, cut, safe_keys
from nas.tracking.names import run_name
from nas.values.architecture import write
from nas.values.outcome import Outcome
from nas.values.records import StudyRecord, TrainingRecord

NOTE = "mlflow.note.content"
PARENT = "mlflow.parentRunId"
# An interrupted training is queued again under another number, and that one becomes the run.
WRITTEN_STATES = frozenset({"complete", "pruned", "failed", "broken"})


@dataclass(frozen=True)
class Point:
    """One value of a metric. A value that is not finite is NaN, which MLflow draws as a gap."""

    key: str
    value: float
    step: int
    timestamp_ms: int


@dataclass(frozen=True)
class Entry:
    """One run: everything that is written of it, with times in milliseconds since 1970. `status` is MLflow's word."""

    name: str
    status: str
    start_ms: int
    end_ms: int
    tags: Mapping[str, str]
    params: Mapping[str, str]
    points: tuple[Point, ...]


def training_entry(training: TrainingRecord, record: StudyRecord) -> Entry:
    """Return the run of one finished training: always the same, so that writing it twice changes nothing."""
    end_ms = milliseconds(training.finished or training.started or record.created)
    start_ms = min(milliseconds(training.started or training.finished or record.created), end_ms)
    keys = safe_keys(path for path, _ in training.decisions)
    return Entry(
        name=run_name(training, record),
        status="FAILED" if training.state == "broken" else "FINISHED",
        start_ms=start_ms,
        end_ms=end_ms,
        tags=_cut_tags(_training_tags(training, record)),
        params={keys[path]: cut(str(value), MAX_PARAM_LENGTH) for path, value in training.decisions},
        points=tuple(_outcome_points(training.outcome, start_ms, end_ms)) if training.outcome else (),
    )


def study_entry(record: StudyRecord) -> Entry:
    """Return the parent run of a study as it starts; what grows while it runs is set as tags later."""
    starts = [t.started for t in record.trainings if t.started] if record.created is None else [record.created]
    start_ms = milliseconds(min(starts, default=datetime.now()))
    tags = {"nas.study": record.title, "nas.phase": "study", **_common_tags(record)}
    return Entry(record.title, "RUNNING", start_ms, start_ms, _cut_tags(tags), _plan_params(record), ())


def study_end_ms(record: StudyRecord, start_ms: int) -> int:
    """Return when the last training of a study ended; now where none has."""
    ends = [t.finished for t in record.trainings if t.finished]
    return max(start_ms, milliseconds(max(ends, default=datetime.now())))


def milliseconds(moment: datetime | None) -> int:
    """Return milliseconds since 1970, taking a time without a zone as local; 0 where it is not known."""
    return max(0, round(moment.timestamp() * 1000)) if moment else 0


def _common_tags(record: StudyRecord) -> dict[str, str]:
    tags = {"mlflow.source.name": Path(record.space_file).name or "nas", "mlflow.source.type": "LOCAL"}
    with contextlib.suppress(OSError, KeyError):  # a container may run under a number that has no name
        tags["mlflow.user"] = getpass.getuser()
    return tags


def _training_tags(training: TrainingRecord, record: StudyRecord) -> dict[str, str]:
    tags = {
        "nas.study": record.title,
        "nas.phase": training.phase,
        "nas.number": str(training.number),
        "nas.seed": str(training.seed),
        "nas.status": training.state,
        **_common_tags(record),
    }
    if record.data:
        # A search has one split, by the space's seed, and its best is retrained on that; a replicate has a split of its own.
        alone = training.phase in ("measure", "ablate")
        split_seed = training.seed if alone else record.data.get("search_split_seed")
        tags |= {"nas.data": str(record.data.get("name", "")), "nas.data_fingerprint": str(record.data.get("fingerprint", ""))}
        if split_seed is not None:
            tags["nas.split_seed"] = str(split_seed)
    if training.configuration:
        tags["nas.architecture_key"] = training.configuration.architecture.key
        tags["nas.configuration_key"] = training.configuration.key
    if training.cell and training.phase == "train":
        tags["nas.replicate"] = str(training.cell.replicate)
    elif training.cell:
        tags["nas.factor"] = record.plan.factor if record.plan else ""
        tags["nas.level"] = write(training.cell.level)
        tags["nas.replicate"] = str(training.cell.replicate)
    if training.group:
        tags |= {"nas.group_size": str(len(training.group)), "nas.group_place": str(training.place_in_group)}
    if training.worker:
        tags["nas.worker"] = training.worker
    if training.outcome:
        tags["nas.device"] = training.outcome.device
        tags |= {f"nas.probe.{name}": words for name, words in training.outcome.words.items()}
        tags |= {f"nas.probe.{name}.error": error for name, error in training.outcome.errors.items()}
    why = training.error or (training.outcome.failure if training.outcome else "")
    if why:
        tags["nas.reason"] = cut(why.strip().splitlines()[-1] if why.strip() else why, 250)
        tags[NOTE] = f"```\n{cut(why, MAX_TAG_LENGTH - 8)}\n```"
    return tags


def _cut_tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: cut(value, MAX_TAG_LENGTH) for key, value in tags.items()}


def _outcome_points(outcome: Outcome, start_ms: int, end_ms: int) -> Iterator[Point]:
    keys = safe_keys((*outcome.curves, *outcome.metrics, *outcome.series))
    last = {}
    for name, values in outcome.curves.items():
        # Times are shared out evenly: a training record holds no time per epoch.
        for epoch, value in enumerate(values, start=1):
            at_ms = start_ms + (end_ms - start_ms) * epoch // (len(values) + 1)
            yield Point(keys[name], _finite(value), epoch, at_ms)
            last[name] = value
    for name, values in outcome.series.items():
        # One point a unit or layer, its index as the step: the UI then draws the network from front to back.
        yield from (Point(keys[name], _finite(value), index, end_ms) for index, value in enumerate(values))
    for name, value in _final_figures(outcome).items():
        if name not in last:
            yield Point(keys.get(name, name), _finite(value), 0, end_ms)
        elif not _equal(last[name], value):
            # A final figure that is not its curve's last value becomes the newest point of that curve.
            yield Point(keys[name], _finite(value), len(outcome.curves[name]), end_ms + 1)


def _final_figures(outcome: Outcome) -> dict[str, float]:
    return {
        **outcome.metrics,
        "score": outcome.score,
        "parameters": outcome.cost.parameters,
        "macs": outcome.cost.macs,
        "num_layers": outcome.cost.num_layers,
        "num_epochs": outcome.num_epochs,
        "duration_s": outcome.duration_s,
    }


def _finite(value: float) -> float:
    # SQL has no infinity: MLflow would write the largest double, and every chart would be drawn to its scale.
    return float(value) if math.isfinite(value) else math.nan


def _equal(first: float, second: float) -> bool:
    return first == second or (math.isnan(first) and math.isnan(second))


def _plan_params(record: StudyRecord) -> dict[str, str]:
    # MLflow never changes a param, and numbers of trials and replicates may grow: those are tags.
    params = {
        "data": str(record.data.get("description") or record.data.get("name", "")),
        "search.objective": ", ".join(f"{way} {name}" for name, way in record.objectives),
    }
    if record.plan and record.plan.levels:
        params |= {
            "measure.factor": record.plan.factor,
            "measure.reference": write(record.plan.reference),
            "measure.levels": ", ".join(write(level) for level in record.plan.levels),
            "measure.smallest_effect": str(record.plan.smallest_effect),
        }
        if record.plan.tune_trials:
            params |= {"measure.estimand": record.plan.estimand, "measure.tune_trials": str(record.plan.tune_trials)}
        keys = safe_keys(f"measure.by.{path}" for path, _ in record.plan.by)
        for path, values in record.plan.by:
            params[keys[f"measure.by.{path}"]] = ", ".join(write(value) for value in values)
    return {key: cut(value, MAX_PARAM_LENGTH) for key, value in params.items()}
