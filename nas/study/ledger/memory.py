"""Layer 4: what a process remembers of a database's trials, so that asking again costs nothing that grows with their number.

Optuna's own cache keeps finished trials, which never change, and reads the others anew. But each question walks and sorts all of
them, several times an epoch: at ten thousand trials that was more than what it is asked for.
"""

from __future__ import annotations

import copy
import time
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState

from nas.study.ledger import writing
from nas.study.ledger.outages import Watch, outliving
from nas.study.ledger.reading import read_trials
from nas.study.ledger.trials import TOLD

_number = attrgetter("number")
_trial: Any = models.TrialModel  # Any: SQLAlchemy's columns, which Optuna does not type


@dataclass
class _Known:
    """The trials of one study: the finished ones as they became known and by their state, and those that may still change."""

    finished: list[FrozenTrial] = field(default_factory=list)
    by_state: defaultdict[TrialState, list[FrozenTrial]] = field(default_factory=lambda: defaultdict(list))
    unfinished: dict[int, FrozenTrial] = field(default_factory=dict)
    numbers: set[int] = field(default_factory=set)
    read_at: float = -1.0

    def take_up(self, trial: FrozenTrial) -> None:
        if not trial.state.is_finished():
            self.unfinished[trial.number] = trial
        elif trial.number not in self.numbers:
            self.numbers.add(trial.number)
            self.unfinished.pop(trial.number, None)
            self.finished.append(trial)
            insort(self.by_state[trial.state], trial, key=_number)

    def of(self, states: Container[TrialState] | None) -> list[FrozenTrial]:
        """Return the trials in some states, by number."""
        chosen = [trials for state, trials in self.by_state.items() if states is None or state in states]
        open_ones = [trial for trial in self.unfinished.values() if states is None or trial.state in states]
        if len(chosen) == 1 and not open_ones:
            return chosen[0].copy()
        return sorted([*(trial for trials in chosen for trial in trials), *open_ones], key=_number)


class Memory(_CachedStorage):
    """A database behind the memory of its trials."""

    def __init__(self, backend: optuna.storages.RDBStorage, watch: Watch) -> None:
        super().__init__(backend)
        self.watch = watch
        self._known: defaultdict[int, _Known] = defaultdict(_Known)
        self._patience_s = 0.0

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:  # fmt: skip
        """Return the trials of a study in some states, by number, as they are in the database now."""
        self._read(study_id)
        with self._lock:
            found = self._known[study_id].of(states)
        return copy.deepcopy(found) if deepcopy else found

    def finished_since(self, study_id: int, count: int) -> list[FrozenTrial]:
        """Return the finished trials of a study but the `count` that were known first."""
        self._read(study_id)
        with self._lock:
            return self._known[study_id].finished[count:]

    @outliving
    def silent(self, study_id: int) -> set[int]:
        """Return the ids of the running trials of a study whose workers have said nothing for longer than the grace period."""
        return set(self._backend._get_stale_trial_ids(study_id))

    @outliving
    def count_told(self) -> Counter[int]:
        """Return how many trials of each study have been told, by its id, without reading them."""
        trial = models.TrialModel
        asked = sqlalchemy.select(trial.study_id, sqlalchemy.func.count()).where(trial.state.in_(TOLD)).group_by(trial.study_id)
        with self._backend.engine.begin() as connection:
            return Counter(dict(map(tuple, connection.execute(asked))))

    @contextmanager
    def patient(self, seconds: float) -> Iterator[None]:
        """Within the block, be content with what was read up to so many seconds ago."""
        before, self._patience_s = self._patience_s, seconds
        try:
            yield
        finally:
            self._patience_s = before

    def write_through(self) -> None:
        """Wait until what was committed so far lies on the disk, where the machine's loss of power leaves it; a server does so itself."""
        engine = self._backend.engine
        if engine.dialect.name == "sqlite":
            with self.watch.telling(), closing(engine.raw_connection()) as connection:  # in a transaction SQLite would refuse
                connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)")

    @outliving
    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return one trial as it is now. Raises KeyError where there is none."""
        with self._lock:
            if known := self._get_cached_trial(trial_id):
                return known
        found = read_trials(self._backend.engine, _trial.trial_id == trial_id)
        if not found:
            raise KeyError(f"no trial has the id {trial_id}")
        return found[0]

    # --- what is written ---------------------------------------------------------------------------------------------

    def claim(self, trial_id: int, worker: Sequence[Any]) -> bool:
        """Let a waiting trial run in `worker`; say whether it was waiting still."""
        return writing.claim(self._backend.engine, trial_id, worker)

    @outliving
    def take_back(self, trial_id: int, worker: Sequence[Any]) -> None:
        """Let a trial run in `worker` again where it waits: that was given up for dead, and is about to say what the trial came to."""
        writing.claim(self._backend.engine, trial_id, worker)

    def release(self, trial_id: int, attributes: Mapping[str, Any], *, held_by: Sequence[Any] | None = None) -> bool:
        """Let a running trial, `held_by` a worker still, wait again with `attributes`; say whether it was so."""
        return writing.release(self._backend.engine, trial_id, attributes, held_by=held_by)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Keep an attribute of a trial."""
        self.set_trial_user_attrs(trial_id, {key: value})

    @outliving
    def set_trial_user_attrs(self, trial_id: int, attributes: Mapping[str, Any], *, drop: Sequence[str] = ()) -> None:
        """Keep attributes of a trial, and `drop` others, all at once."""
        writing.note(self._backend.engine, trial_id, attributes, drop=drop)

    @outliving
    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Keep what a trial has come to at a step."""
        writing.report(self._backend.engine, trial_id, step, intermediate_value)

    @outliving
    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:  # fmt: skip
        """Keep a decision of a trial. Raises ValueError where other trials of its study decided from something else."""
        with self._lock:
            study_id, _ = self._trial_id_to_study_id_and_number[trial_id]
            known = self._studies[study_id].param_distribution.get(param_name)
        if known is None:  # Optuna asks the database for what other trials decided it from
            super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        else:
            check_distribution_compatibility(known, distribution)
            writing.decide(self._backend.engine, trial_id, param_name, param_value_internal, distribution)

    @outliving
    def forget_decisions(self, trial_id: int) -> None:
        """Let a trial have decided nothing."""
        writing.forget_decisions(self._backend.engine, trial_id)

    @outliving
    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Let a trial run, if it was waiting still, or finish with its values; say whether that was so."""
        if not state.is_finished():
            return super().set_trial_state_values(trial_id, state, values)
        writing.close(self._backend.engine, trial_id, state, values or ())
        return True

    @outliving
    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Keep an attribute of a study."""
        super().set_study_user_attr(study_id, key, value)

    @outliving
    def record_heartbeat(self, trial_id: int) -> None:
        """Say that the worker of a running trial is alive."""
        super().record_heartbeat(trial_id)

    # --- what is read ------------------------------------------------------------------------------------------------

    @outliving
    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the attributes of a study."""
        return super().get_study_user_attrs(study_id)

    def _read(self, study_id: int) -> None:
        known = self._known[study_id]
        if time.monotonic() - known.read_at >= self._patience_s or known.read_at < 0:
            now = time.monotonic()
            self._read_trials_from_remote_storage(study_id)
            known.read_at = now

    @outliving
    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        """Read those trials that had not finished, and those that are new."""
        with self._lock:
            info = self._studies.setdefault(study_id, _StudyInfo())
            last, still_open = info.last_finished_trial_id, info.unfinished_trial_ids
            # The open ones first: what ends is queued again before, and so is found among the new ones.
            known = [_trial.trial_id.in_(ids)] if (ids := [i for i in still_open if i <= last]) else []
            new = sqlalchemy.and_(_trial.study_id == study_id, _trial.trial_id > last)
            trials = read_trials(self._backend.engine, *known, new)
            self._add_trials_to_cache(study_id, trials)
            ended = {trial._trial_id for trial in trials if trial.state.is_finished()}
            still_open |= {trial._trial_id for trial in trials}
            still_open -= ended
            info.last_finished_trial_id = max(last, *ended) if ended else last

    def _add_trials_to_cache(self, study_id: int, trials: list[FrozenTrial]) -> None:
        super()._add_trials_to_cache(study_id, trials)
        known = self._known[study_id]
        for trial in trials:
            known.take_up(trial)
