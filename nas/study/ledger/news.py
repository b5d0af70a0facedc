"""Layer 4: the finished trials of a study, each handed out once, to whoever keeps up with them: a pruner, a sampler."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.study.ledger.memory import Memory

Kept = TypeVar("Kept")
FINISHED = tuple(state for state in TrialState if state.is_finished())


class News:
    """Hands out each finished trial of one study once, in the order in which they became known."""

    def __init__(self) -> None:
        self._count = 0
        self._numbers: set[int] = set()

    def take(self, study: optuna.Study, *, as_read: bool = False) -> list[FrozenTrial]:
        """Return the trials that have finished since this was last asked; `as_read`, those that are known without reading again."""
        storage = study._storage
        if isinstance(storage, Memory):
            with storage.patient(math.inf) if as_read else nullcontext():
                fresh = storage.finished_since(study._study_id, self._count)
            self._count += len(fresh)
            return fresh
        fresh = [t for t in study.get_trials(deepcopy=False, states=FINISHED) if t.number not in self._numbers]
        self._numbers |= {trial.number for trial in fresh}
        return fresh


class PerStudy(Generic[Kept]):
    """What is kept of each study that a pruner or a sampler is asked about: Optuna lets one serve several."""

    def __init__(self, make: Callable[[], Kept]) -> None:
        self._make = make
        self._kept: WeakKeyDictionary[optuna.Study, Kept] = WeakKeyDictionary()

    def of(self, study: optuna.Study) -> Kept:
        """Return what is kept of one study, made now where it is new."""
        if study not in self._kept:
            self._kept[study] = self._make()
        return self._kept[study]
