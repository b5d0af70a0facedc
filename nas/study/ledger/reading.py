"""Layer 4: all trials of a study out of the database at once: a fifth of the time that Optuna's reading of objects takes."""

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

_distribution = cache(json_to_distribution)  # a search has a few, each trial all of them


def read_trials(engine: sqlalchemy.Engine, study_id: int) -> list[FrozenTrial]:
    """Return the trials of a study by number, exactly as Optuna returns them."""
    trial, value, step = models.TrialModel, models.TrialValueModel, models.TrialIntermediateValueModel
    param, user, system = models.TrialParamModel, models.TrialUserAttributeModel, models.TrialSystemAttributeModel
    with engine.begin() as connection:

        def rows(model: Any, place: Any, *columns: Any) -> defaultdict[int, list[Any]]:
            entities: tuple[Any, ...] = (model.trial_id, *columns)
            asked = sqlalchemy.select(*entities).join(trial, trial.trial_id == model.trial_id)
            found: defaultdict[int, list[Any]] = defaultdict(list)
            for trial_id, *row in connection.execute(asked.where(trial.study_id == study_id).order_by(place)):
                found[trial_id].append(row)
            return found

        # First: of a trial that is finished here, everything has been written.
        columns: tuple[Any, ...] = (trial.trial_id, trial.number, trial.state, trial._datetime_start_utc, trial._datetime_complete_utc)
        heads = connection.execute(sqlalchemy.select(*columns).where(trial.study_id == study_id).order_by(trial.number)).all()
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
