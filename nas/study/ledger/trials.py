"""Layer 4: one trial of a ledger: the values that are suggested to it, the record it makes, whether its worker is there."""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping
from datetime import UTC
from typing import Any

from optuna.trial import FrozenTrial, Trial, TrialState

from nas.space import Decision
from nas.study.ledger.alive import is_running
from nas.study.ledger.slots import group_of
from nas.values.architecture import Configuration
from nas.values.domains import Choices, IntRange, Scalar
from nas.values.outcome import Outcome
from nas.values.plans import Cell
from nas.values.records import Phase, State, TrainingRecord

OPEN = (TrialState.WAITING, TrialState.RUNNING)
TOLD = (TrialState.COMPLETE, TrialState.PRUNED)
GATE_SCORE = "gate"
"""The attribute of a trial that holds the score which its search's gate took; null for a network that has none."""
SEEDS = "seeds"
"""The attribute of a running trial that holds what those of its several seeds came to that are done."""
KILLED = "killed"
"""The attribute of a trial that says how many workers were killed that trained it, each by no fault of its own."""


def suggest(trial: Trial, decision: Decision) -> Scalar:
    """Let Optuna's sampler choose a value for `decision`, under its full path."""
    domain = decision.domain
    if isinstance(domain, Choices):
        return trial.suggest_categorical(decision.path, domain.labels)
    if isinstance(domain, IntRange):
        return trial.suggest_int(decision.path, domain.low, domain.high, step=domain.step, log=domain.log)
    return trial.suggest_float(decision.path, domain.low, domain.high, log=domain.log)


def record_of(frozen: FrozenTrial, phase: Phase) -> TrainingRecord:
    """Read a trial of the ledger as a record."""
    attrs = frozen.user_attrs
    outcome = Outcome.from_dict(attrs["outcome"]) if "outcome" in attrs else None
    fixed = frozen.system_attrs.get("fixed_params", {})
    return TrainingRecord(
        number=frozen.number,
        phase=phase,
        state=_state(frozen, outcome),
        decisions=tuple((frozen.params or fixed).items()),
        configuration=Configuration.from_dict(attrs["configuration"]) if "configuration" in attrs else None,
        seed=attrs.get("seed", 0),
        cell=cell_of(attrs),
        outcome=outcome,
        started=frozen.datetime_start.astimezone(UTC) if frozen.datetime_start else None,
        finished=frozen.datetime_complete.astimezone(UTC) if frozen.datetime_complete else None,
        worker=":".join(str(part) for part in attrs.get("worker", ())),
        error=attrs.get("error", ""),
        group=group_of(attrs),
    )


def cell_of(attrs: Mapping[str, Any]) -> Cell | None:
    """Read the cell of a measured trial from its attributes; None for a trial of a search."""
    cell = attrs.get("cell")
    return Cell(cell[0], cell[1], tuple((path, value) for path, value in cell[2])) if cell else None


def _state(frozen: FrozenTrial, outcome: Outcome | None) -> State:
    if frozen.state in TOLD and outcome:
        return outcome.status
    if frozen.state == TrialState.WAITING:
        return "waiting"
    if frozen.state == TrialState.RUNNING:
        return "running"
    end = frozen.user_attrs.get("end", "interrupted")
    ends: dict[str, State] = {"invalid": "invalid", "gated": "gated", "broken": "broken"}
    return ends.get(end, "interrupted")


def is_orphaned(frozen: FrozenTrial, *, but: Collection[tuple[str, int] | None] = ()) -> bool:
    """Say whether a running trial's worker, none of `but`, was on this machine and is gone, or never said who it is."""
    if "worker" not in frozen.user_attrs:
        return True  # whoever claims a trial says who it is at once
    host, pid = frozen.user_attrs["worker"]
    return bool(host == socket.gethostname() and (host, pid) not in but and not is_running(pid))


def is_of(frozen: FrozenTrial, worker: tuple[str, int]) -> bool:
    """Say whether a trial was claimed by `worker`: a machine's name and a process there."""
    return tuple(frozen.user_attrs.get("worker", ())) == worker
