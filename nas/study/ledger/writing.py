"""Layer 4: what is written of a trial, in as few statements as it takes: a third of the time that Optuna's writing of objects takes.

Every function is one transaction, and leaves in the database what Optuna would: `tests/test_storing.py` compares them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import Connection, Engine

_trial: Any = models.TrialModel  # Any: SQLAlchemy's columns, which Optuna does not type
_user: Any = models.TrialUserAttributeModel
_step: Any = models.TrialIntermediateValueModel
_value: Any = models.TrialValueModel
_param: Any = models.TrialParamModel


def claim(engine: Engine, trial_id: int, worker: Sequence[Any]) -> bool:
    """Let a waiting trial run in `worker`, which is alive now; say whether it was waiting still. Of several that try, one gets it."""
    running = {_trial.state: TrialState.RUNNING, _trial._datetime_start_utc: _now()}
    waiting = sqlalchemy.update(_trial).where(_trial.trial_id == trial_id, _trial.state == TrialState.WAITING)
    with engine.begin() as connection:
        if not connection.execute(waiting.values(running)).rowcount:
            return False
        _put(connection, _user, {"trial_id": trial_id, "key": "worker"}, value_json=json.dumps(list(worker)))
        # Over one that is there: a worker that was given up for dead may still say that it is not.
        _put(connection, models.TrialHeartbeatModel, {"trial_id": trial_id}, heartbeat=sqlalchemy.func.current_timestamp())
    return True


def release(engine: Engine, trial_id: int, attributes: Mapping[str, Any], *, held_by: Sequence[Any] | None = None) -> bool:
    """Let a running trial wait again with `attributes`, all that is known of it but its steps; say whether it was running still.

    Where it is said whom it is `held_by`, then only in that worker: of several processes that saw it die, one releases its trial, and
    none that of the worker which has claimed it since. Nor where its outcome is recorded, which is about to be told. The steps are
    reported anew; a pruner would judge the first by the last.
    """
    waiting = {_trial.state: TrialState.WAITING, _trial._datetime_start_utc: None}
    running = sqlalchemy.update(_trial).where(_trial.trial_id == trial_id, _trial.state == TrialState.RUNNING)
    running = running.where(~sqlalchemy.exists().where(_user.trial_id == trial_id, _user.key == "outcome"))
    if held_by is not None:
        holder = sqlalchemy.select(_user.value_json).where(_user.trial_id == trial_id, _user.key == "worker").scalar_subquery()
        running = running.where(holder == json.dumps(list(held_by)))
    with engine.begin() as connection:
        if not connection.execute(running.values(waiting)).rowcount:
            return False
        for key, told in attributes.items():
            _put(connection, _user, {"trial_id": trial_id, "key": key}, value_json=json.dumps(told))
        heartbeat: Any = models.TrialHeartbeatModel
        for outdated in (heartbeat, _step):
            connection.execute(sqlalchemy.delete(outdated).where(outdated.trial_id == trial_id))
    return True


def note(engine: Engine, trial_id: int, attributes: Mapping[str, Any], *, drop: Sequence[str] = ()) -> None:
    """Keep attributes of a trial, and `drop` others. Raises UpdateFinishedTrialError where it has finished, as the others do."""
    with _unfinished(engine, trial_id) as connection:
        for key, told in attributes.items():
            _put(connection, _user, {"trial_id": trial_id, "key": key}, value_json=json.dumps(told))
        for key in drop:
            connection.execute(sqlalchemy.delete(_user).where(_user.trial_id == trial_id, _user.key == key))


def report(engine: Engine, trial_id: int, step: int, value: float) -> None:
    """Keep what a trial has come to at a step."""
    stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
    with _unfinished(engine, trial_id) as connection:
        _put(connection, _step, {"trial_id": trial_id, "step": step}, intermediate_value=stored, intermediate_value_type=kind)


def decide(engine: Engine, trial_id: int, name: str, stored: float, distribution: BaseDistribution) -> None:
    """Keep what was decided for a trial; `stored` is Optuna's number for it."""
    text = distribution_to_json(distribution)
    with _unfinished(engine, trial_id) as connection:
        _put(connection, _param, {"trial_id": trial_id, "param_name": name}, param_value=stored, distribution_json=text)


def forget_decisions(engine: Engine, trial_id: int) -> None:
    """Let a trial have decided nothing."""
    with _unfinished(engine, trial_id) as connection:
        connection.execute(sqlalchemy.delete(_param).where(_param.trial_id == trial_id))


def close(engine: Engine, trial_id: int, state: TrialState, values: Sequence[float]) -> None:
    """Let a trial finish in `state` with its values. Of several that try, one does."""
    with _unfinished(engine, trial_id, alone=True) as connection:
        for objective, value in enumerate(values):
            stored, kind = models.TrialValueModel.value_to_stored_repr(value)
            _put(connection, _value, {"trial_id": trial_id, "objective": objective}, value=stored, value_type=kind)
        ended = {_trial.state: state, _trial._datetime_complete_utc: _now()}
        connection.execute(sqlalchemy.update(_trial).where(_trial.trial_id == trial_id).values(ended))


@contextmanager
def _unfinished(engine: Engine, trial_id: int, *, alone: bool = False) -> Iterator[Connection]:
    """Open a transaction on a trial that has not finished; `alone` holds other writers off, where the database would not."""
    with engine.begin() as connection:
        asked = sqlalchemy.select(_trial.state, _trial.number).where(_trial.trial_id == trial_id)
        found = connection.execute(asked.with_for_update() if alone else asked).one_or_none()
        if found is None:
            raise KeyError(f"no trial has the id {trial_id}")
        if found.state.is_finished():
            raise optuna.exceptions.UpdateFinishedTrialError(f"trial {found.number} has finished and can not be updated")
        yield connection


def _put(connection: Connection, model: Any, key: Mapping[str, Any], **row: Any) -> None:
    """Write a row of a trial, over the one that is there: it alone writes them, so none comes between."""
    there = [getattr(model, name) == value for name, value in key.items()]
    if not connection.execute(sqlalchemy.update(model).where(*there).values(row)).rowcount:
        connection.execute(sqlalchemy.insert(model).values(**key, **row))


def _now() -> datetime:
    """Return the time as Optuna stores it: in UTC, without a zone."""
    return datetime.now(UTC).replace(tzinfo=None)
