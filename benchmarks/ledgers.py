"""Ledgers with thousands of finished trials, written at once and not trained: what the other benchmarks begin with.

Every trial is one that the framework's own sampling decided, and stands in the database as a worker leaves it: decisions,
attributes, one intermediate value an epoch. Its scores are drawn; a deeper network with a shortcut gets better ones.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.sampling import sample
from nas.space import Space
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.trials import GATE_SCORE, suggest
from nas.values.outcome import Cost, Outcome
from nas.values.seeds import derive

EPOCHS = 10
SPACE = """
name: benchmark
data: digits
architecture:
  staged:
    widths: {choices: [[6, 12, 24], [8, 16, 32]]}
    depth: {int: [1, 9]}
    block: {choices: [basic, bottleneck, preact_basic]}
    shortcut: {choices: [none, identity, projection]}
train:
  epochs: 10
  batch_size: 128
  optimizer: {sgd: {lr: LR, momentum: 0.9, weight_decay: 5.0e-4}}
search: {trials: TRIALS, maximize: val_accuracy, sampler: SAMPLER, workers: 2GATE}
"""
GATE = ", gate: {score: synflow.log_score, keep: 0.5}"
ANY_LR, LISTED_LR = "{float: [0.03, 0.2], log: true}", "{choices: [0.03, 0.05, 0.08, 0.13, 0.2]}"
NO_WORKER = ["another-machine", 1]


def space_text(*, trials: int, sampler: str = "random", listed: bool = False, gated: bool = False) -> str:
    """Return the space of `search_spaces/residual.yaml` without its measurement.

    `listed` has learning rates that a grid can take; `gated` looks at each network before it is trained.
    """
    text = SPACE.replace("TRIALS", str(trials)).replace("SAMPLER", sampler).replace("GATE", GATE if gated else "")
    return text.replace("LR", LISTED_LR if listed else ANY_LR)


def outcome_of(decisions: dict[str, Any], epochs: int = EPOCHS) -> Outcome:
    """Draw what a training might have come to."""
    depth, good = decisions["architecture.staged.depth"], decisions["architecture.staged.shortcut"] != "none"
    score = 0.9 + (0.008 if good else -0.004) * depth + random.gauss(0, 0.01)
    rise = [min(score, 1) * (1 - math.exp(-(e + 1) / 2)) for e in range(epochs)]
    curves = {f"{part}_{name}": tuple(rise) for part in ("train", "val") for name in ("loss", "accuracy")}
    metrics = {name: curve[-1] for name, curve in curves.items()}
    return Outcome("complete", rise[-1], metrics, curves, Cost(8_000 * depth, 600_000 * depth, 6 * depth + 2), epochs, 2.0, "cpu")


def finished_trials(space: Space, count: int) -> list[FrozenTrial]:
    """Return trials of a random search of `space`, as a worker would have left them."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    random.seed(0)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))  # in memory
    begun = datetime.now() - timedelta(days=1)
    return [_finished(space, study.ask(), place, begun) for place in range(count)]


def _finished(space: Space, trial: optuna.Trial, place: int, begun: datetime) -> FrozenTrial:
    sampled = sample(space, lambda decision: suggest(trial, decision))
    outcome, drawn = outcome_of(trial.params), trial._cached_frozen_trial
    attrs = {
        "slot": f"t{place}", "seed": derive(space.seed, "trial", place), "worker": NO_WORKER,
        "configuration": sampled.configuration.to_dict(), "outcome": outcome.to_dict(),
        **({GATE_SCORE: random.gauss(0, 1)} if space.gate else {}),
    }  # fmt: skip
    found = create_trial(
        state=TrialState.COMPLETE, value=outcome.score, params=drawn.params, distributions=drawn.distributions, user_attrs=attrs,
        system_attrs={"fixed_params": {}}, intermediate_values=dict(enumerate(outcome.curves["val_accuracy"])),
    )  # fmt: skip
    found.datetime_start = begun + timedelta(seconds=2 * place)
    found.datetime_complete = found.datetime_start + timedelta(seconds=2)
    return found


def fill(ledger: Ledger, trials: Sequence[FrozenTrial]) -> None:
    """Write finished trials into an empty ledger on SQLite, in one go."""
    engine, study_id = ledger.storage._backend.engine, ledger.study._study_id  # type: ignore[attr-defined]  # Optuna's cache of an RDBStorage
    with engine.begin() as connection:
        first = connection.execute(sqlalchemy.select(sqlalchemy.func.max(models.TrialModel.trial_id))).scalar() or 0
        for model, rows in _rows(trials, study_id, first + 1).items():
            for start in range(0, len(rows), 500):
                connection.execute(sqlalchemy.insert(model), rows[start : start + 500])


def _rows(trials: Sequence[FrozenTrial], study_id: int, first: int) -> dict[Any, list[dict[str, Any]]]:
    tables: dict[Any, list[dict[str, Any]]] = {}

    def add(model: Any, **row: Any) -> None:
        tables.setdefault(model, []).append(row)

    as_json = cache(distribution_to_json)
    for trial_id, (number, trial) in enumerate(enumerate(trials), start=first):
        add(
            models.TrialModel, trial_id=trial_id, number=number, study_id=study_id, state=trial.state,
            datetime_start=_stored(trial.datetime_start), datetime_complete=_stored(trial.datetime_complete),
        )  # fmt: skip
        add(
            models.TrialValueModel,
            trial_id=trial_id,
            objective=0,
            value=trial.value,
            value_type=models.TrialValueModel.TrialValueType.FINITE,
        )
        for name, distribution in trial.distributions.items():
            value = distribution.to_internal_repr(trial.params[name])
            add(models.TrialParamModel, trial_id=trial_id, param_name=name, param_value=value, distribution_json=as_json(distribution))
        for key, value in trial.user_attrs.items():
            add(models.TrialUserAttributeModel, trial_id=trial_id, key=key, value_json=json.dumps(value))
        for key, value in trial.system_attrs.items():
            add(models.TrialSystemAttributeModel, trial_id=trial_id, key=key, value_json=json.dumps(value))
        finite = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
        for step, value in trial.intermediate_values.items():
            add(models.TrialIntermediateValueModel, trial_id=trial_id, step=step, intermediate_value=value, intermediate_value_type=finite)
    return tables


def _stored(moment: datetime | None) -> datetime | None:
    """Return a local time as Optuna stores it: in UTC, without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None) if moment else None


def differences(real: FrozenTrial, filled: FrozenTrial) -> Iterator[str]:
    """Say in which parts a trial that a worker wrote has other names than one that `fill` wrote."""
    for part in ("params", "distributions", "user_attrs", "system_attrs", "intermediate_values"):
        if (a := set(getattr(real, part))) != (b := set(getattr(filled, part))):
            yield f"{part}: {sorted(a ^ b)}"
