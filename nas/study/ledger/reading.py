"""Layer 4: trials out of the database, all that are asked for at once: a fifth of the time that Optuna's reading of objects takes."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime
from functools import cache
from typing import Any

import sqlalchemy
from optuna.distributions import json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial

FEW = 500
"""So many trials are looked up one by one; of more, whole tables are read. SQLite takes 999 places in a statement, old ones at least."""
_distribution = cache(json_to_distribution)  # a search has a few, each trial all of them


def read_trials(engine: sqlalchemy.Engine, *which: sqlalchemy.ColumnElement[bool]) -> list[FrozenTrial]:
    """Return the trials that meet any of some conditions on their table, by id, exactly as Optuna returns them.

    The conditions are asked one after the other, and no trial may meet two. All of it is one transaction.
    """
    trial, value, step = models.TrialModel, models.TrialValueModel, models.TrialIntermediateValueModel
    param, user, system = models.TrialParamModel, models.TrialUserAttributeModel, models.TrialSystemAttributeModel
    with engine.begin() as connection:
        # First: of a trial that is finished here, everything has been written.
        columns: tuple[Any, ...] = (trial.trial_id, trial.number, trial.state, trial._datetime_start_utc, trial._datetime_complete_utc)
        # One by one: for `this or that` SQLite walks through all trials of the study.
        heads = sorted(row for condition in which for row in connection.execute(sqlalchemy.select(*columns).where(condition)))
        ids = [trial_id for trial_id, *_ in heads]

        def rows(model: Any, place: Any, *columns: Any) -> defaultdict[int, list[Any]]:
            asked = sqlalchemy.select(model.trial_id, *columns).order_by(place)
            if len(ids) <= FEW:
                asked = asked.where(model.trial_id.in_(ids))
            else:
                asked = asked.join(trial, trial.trial_id == model.trial_id).where(sqlalchemy.or_(*which))
            found: defaultdict[int, list[Any]] = defaultdict(list)
            for trial_id, *row in connection.execute(asked):
                found[trial_id].append(row)
            return found

        if not ids:
            return []
        values = rows(value, value.objective, value.value, value.value_type)
        params = rows(param, param.param_id, param.param_name, param.param_value, param.distribution_json)
        users, systems = (rows(model, model.key, model.key, model.value_json) for model in (user, system))
        steps = rows(step, step.step, step.step, step.intermediate_value, step.intermediate_value_type)
    return [
        FrozenTrial(
            number=number, state=state, value=None, datetime_start=_local(start), datetime_complete=_local(complete), trial_id=trial_id,
            values=[value.stored_repr_to_value(*row) for row in values[trial_id]] or None,
            params={name: _distribution(text).to_external_repr(stored) for name, stored, text in params[trial_id]},
            distributions={name: _distribution(text) for name, _, text in params[trial_id]},
            user_attrs={key: json.loads(text) for key, text in users[trial_id]},
            system_attrs={key: json.loads(text) for key, text in systems[trial_id]},
            intermediate_values={at: step.stored_repr_to_intermediate_value(*row) for at, *row in steps[trial_id]},
        )
        for trial_id, number, state, start, complete in heads
    ]  # fmt: skip


def _local(stored: datetime | None) -> datetime | None:
    """Return a time that is stored in UTC as Optuna gives it: in local time, without a zone."""
    return stored.replace(tzinfo=UTC).astimezone().replace(tzinfo=None) if stored else None
