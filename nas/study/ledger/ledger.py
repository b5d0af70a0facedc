"""Layer 4: the ledger: every training that was asked for and what it came to, in an Optuna storage.

A queue of *slots* stands behind each study: a slot is one training that is owed. A slot is open until a trial of it is told;
whatever kills a trial, the slot is queued again with the decisions it had, or the trial itself waits again. So a study ends with
as many told trials as it has slots, however often it was interrupted.
"""

from __future__ import annotations

import itertools
import math
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, cast

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from nas.study.ledger.finished import Finished
from nas.study.ledger.memory import Memory
from nas.study.ledger.slots import Slot, group_of, leading
from nas.study.ledger.storage import HEARTBEAT_S
from nas.study.ledger.trials import KILLED, OPEN, SEEDS, cell_of, record_of
from nas.values.architecture import Configuration
from nas.values.domains import Scalar
from nas.values.metrics import Direction
from nas.values.outcome import CostName, Outcome
from nas.values.plans import Cell
from nas.values.records import MAX_ATTEMPTS, GroupMember, Phase, TrainingRecord, lost_cells

PATIENCE_S = 1.0
LEAST_WAITING = 8
"""A search's queue is kept this long at least, where there are that many slots."""


class Ledger:
    """One study's queue and results: the search, or one measured design."""

    def __init__(
        self, storage: optuna.storages.BaseStorage, name: str, *, sampler: optuna.samplers.BaseSampler | None = None,
        pruner: optuna.pruners.BasePruner | None = None,
    ) -> None:  # fmt: skip
        self.storage, self.name = storage, name
        self.sampler_of: Callable[[FrozenTrial], optuna.samplers.BaseSampler] | None = None
        """Makes a sampler for one trial, where all trials are not to share one."""
        self.study = optuna.load_study(
            study_name=name,
            storage=storage,
            sampler=sampler or optuna.samplers.RandomSampler(),
            pruner=pruner or optuna.pruners.NopPruner(),
        )
        signs = tuple(1.0 if direction == optuna.study.StudyDirection.MAXIMIZE else -1.0 for direction in self.study.directions)
        self._finished, self._memory, self._num_given = Finished(signs), cast(Memory, storage), 0
        self._has_more: bool | None = None
        self._told_before = 0

    @classmethod
    def create(
        cls, storage: optuna.storages.BaseStorage, name: str, *, direction: Direction, about: Mapping[str, Any],
        costs: Sequence[CostName] = (),
    ) -> Ledger:  # fmt: skip
        """Open the study `name`, creating it with `about` as its attributes where there is none.

        `direction` is that of the score; `costs` are minimised beside it.
        """
        small: Direction = "minimize"
        directions = [direction, *[small] * len(costs)]
        optuna.create_study(study_name=name, storage=storage, directions=directions, load_if_exists=True)
        ledger = cls(storage, name)
        ledger.note(**about, **({"costs": list(costs)} if costs else {}))
        return ledger

    @property
    def about(self) -> dict[str, Any]:
        """The study's attributes."""
        return dict(self.study.user_attrs)

    def note(self, **about: Any) -> None:
        """Keep something as an attribute of the study, where it is not so already."""
        for key, value in about.items():
            if self.study.user_attrs.get(key) != value:
                self.study.set_user_attr(key, value)

    def note_looks(self, looks: Sequence[int]) -> None:
        """Keep how many trainings were there when the looks were planned or taken back: who had seen them knew more."""
        before = self.about.get("design", {}).get("looks", [])
        if list(looks) != before and (told := self.count_told()):
            self.note(looks_changed_after=told)

    @cached_property
    def phase(self) -> Phase:
        """Which phase the study belongs to."""
        return cast(Phase, self.study.user_attrs.get("phase", "search"))

    @cached_property
    def costs(self) -> tuple[CostName, ...]:
        """What a search minimises beside its score."""
        return tuple(self.study.user_attrs.get("costs", ()))

    @property
    def starts(self) -> tuple[Mapping[str, Scalar], ...]:
        """The decisions that the first slots of a search start from."""
        return tuple(self.about.get("starts", ()))

    # --- the queue ---------------------------------------------------------------------------------------------------

    def ensure(self, slots: Sequence[Slot], *, workers: int | None = None) -> int:
        """Queue every slot that has no open and no told trial, with the decisions of its last attempt; return how many.

        For so many `workers`, or those at work where they are more, only as much as they soon need: each waiting trial is read again
        whenever one of them asks for anything. The attribute `more` then says whether slots are left that will be queued.
        """
        still_open, finished = self.now()
        taken = {t.user_attrs.get("slot") for t in still_open}
        waiting = sum(t.state == TrialState.WAITING for t in still_open)
        most = max(LEAST_WAITING, 2 * max(workers, len(still_open) - waiting)) if workers else math.inf
        queued, more = 0, False
        # A search's slots are never others: those before the first that is owed are not walked through again.
        while workers and self._told_before < len(slots) and slots[self._told_before].name in finished.told_slots:
            self._told_before += 1
        for slot in itertools.islice(slots, self._told_before, None):
            if slot.name in finished.told_slots or slot.name in taken or self._given_up(slot.name):
                continue
            if waiting + queued >= most:
                more = True
                break
            before = finished.last_failed.get(slot.name)
            self.queue(slot, before.params if before else {})
            queued += 1
        if workers and more != self._has_more:
            self._has_more = more
            self.note(more=more)
        return queued

    def ensure_next(self, slots: Iterable[Slot]) -> int:
        """Queue the first slot that is neither told nor given up, unless a trial is open; return how many were queued.

        One trial after the other: what the sampler proposes depends on what it has seen, and so on nothing but the slots. For
        the same reason an interrupted trial is sampled anew: it comes to the same.
        """
        still_open, finished = self.now()
        if still_open:
            return 0
        told = finished.told_slots
        owed = next((slot for slot in slots if slot.name not in told and not self._given_up(slot.name)), None)
        if owed:
            self.queue(owed, {})
        return int(owed is not None)

    def queue(self, slot: Slot, decided: Mapping[str, Scalar]) -> None:
        """Add one waiting trial for `slot`."""
        self.study.enqueue_trial({**slot.fixed, **decided}, user_attrs=slot.attrs)

    def retry(self, trial: Trial) -> None:
        """Queue a training that is about to break once more, while attempts are left: before `fail`, so that no one else does too."""
        frozen = self.storage.get_trial(trial._trial_id)
        slot, fixed = str(frozen.user_attrs["slot"]), frozen.system_attrs.get("fixed_params", {})
        if self.finished.num_broken[slot] + frozen.user_attrs.get(KILLED, 0) < MAX_ATTEMPTS - 1 and not self.is_open_beside(frozen):
            widths = tuple(frozen.user_attrs.get("widths", ()))
            group = group_of(frozen.user_attrs)
            self.queue(Slot(slot, frozen.user_attrs["seed"], fixed, cell_of(frozen.user_attrs), widths, group), frozen.params)

    def is_open_beside(self, trial: FrozenTrial) -> bool:
        """Say whether another trial of the same slot is open: one that this one's worker queued before it died, or lost the database."""
        there = self.study.get_trials(deepcopy=False, states=OPEN)
        return any(t.user_attrs.get("slot") == trial.user_attrs.get("slot") for t in there if t.number != trial.number)

    def requeue(self, trial: Trial) -> None:
        """Queue the slot of a search trial anew, to be sampled again but for what it starts from."""
        attrs, starts = trial.user_attrs, self.starts
        slot, refused = str(attrs["slot"]), attrs.get("refused", 0) + 1
        place = int(slot.removeprefix("t"))
        self.queue(Slot(slot, attrs["seed"], starts[place] if place < len(starts) else {}, refused=refused), {})

    def claim(self) -> Trial | None:
        """Take the next waiting trial, or None. Two workers never get the same one, nor two of one group."""
        there = self.storage.get_all_trials(self.study._study_id, deepcopy=False, states=OPEN)
        for waiting in leading(there):
            if trial := self._take(waiting):
                return trial
        return None

    def claim_rest(self, leader: Trial) -> list[Trial]:
        """Take what is waiting of the group that a claimed trial leads."""
        slots = {member.slot for member in group_of(leader.user_attrs)}
        there = self.storage.get_all_trials(self.study._study_id, deepcopy=False, states=(TrialState.WAITING,))
        return [trial for waiting in there if waiting.user_attrs.get("slot") in slots and (trial := self._take(waiting))]

    def _take(self, waiting: FrozenTrial) -> Trial | None:
        return self._open(waiting) if self._memory.claim(waiting._trial_id, _here()) else None

    def _open(self, frozen: FrozenTrial) -> Trial:
        if self.sampler_of:
            self.study.sampler = self.sampler_of(frozen)
        return Trial(self.study, frozen._trial_id)

    def opened_anew(self, trial: Trial) -> Trial:
        """Return a claimed trial without the decisions that it has, to be sampled from the start."""
        self._memory.forget_decisions(trial._trial_id)
        return self._open(self.storage.get_trial(trial._trial_id))

    def groups(self) -> dict[str, tuple[GroupMember, ...]]:
        """Return the group of every slot that was ever queued, by slot; () for those that are on their own."""
        trials = self.study.get_trials(deepcopy=False)
        alone = {str(trial.user_attrs.get("slot")): () for trial in trials}
        return {**alone, **{member.slot: group for trial in trials if (group := group_of(trial.user_attrs)) for member in group}}

    def release(self, trial_id: int, attributes: Mapping[str, Any], *, held_by: Sequence[Any] | None = None) -> bool:
        """Let a running trial, `held_by` a worker still, wait again with `attributes` beside what is known of it; say whether it was so."""
        return self._memory.release(trial_id, attributes, held_by=held_by)

    def silent(self) -> set[int]:
        """Return the ids of the running trials whose workers have said nothing for longer than the grace period, and could have."""
        return set() if self._memory.watch.was_away(2 * HEARTBEAT_S) else self._memory.silent(self.study._study_id)

    def beat(self, trial: Trial) -> None:
        """Say that the worker of a running trial is alive."""
        cast(optuna.storages.RDBStorage, self.storage).record_heartbeat(trial._trial_id)

    def report(self, trial: Trial, step: int, value: float) -> bool:
        """Record what a running trial has come to after an epoch, or with a seed.

        Say whether it is to end, by what the others came to up to a second ago.
        """
        trial.report(value, step)
        with self._memory.patient(PATIENCE_S):
            return trial.should_prune()

    def finish(self, trial: Trial, configuration: Configuration, outcome: Outcome) -> None:
        """Record an outcome and tell it to the sampler. A failed training is told at its failure score: it is an outcome."""
        attributes = {"configuration": configuration.to_dict(), "outcome": outcome.to_dict()}
        # What each of several seeds came to was of use for going on alone.
        self._memory.set_trial_user_attrs(trial._trial_id, attributes, drop=(SEEDS,) if outcome.seed_scores else ())
        self._memory.take_back(trial._trial_id, _here())
        self.tell(trial, outcome)

    def tell(self, trial: Trial | int, outcome: Outcome) -> None:
        """Tell the sampler an outcome that is recorded, which closes the trial, where nobody else has done so meanwhile."""
        # A trial that ends before its last seed has a mean like any other, which is told: Optuna's samplers learn little from pruned ones.
        if outcome.status == "pruned" and not outcome.seed_scores:
            self.study.tell(trial, state=TrialState.PRUNED, skip_if_finished=True)
        else:
            # A measurement that has no value is an outcome too. No sampler learns from it, and Optuna takes numbers only.
            values = [outcome.score if math.isfinite(outcome.score) else 0.0, *self._told_costs(outcome)]
            self.study.tell(trial, values, skip_if_finished=True)

    def _told_costs(self, outcome: Outcome) -> list[float]:
        """Return what a trial's costs are told as: of a failed one the highest so far, else a sampler would take it for a bargain."""
        own = [outcome.costing(cost) for cost in self.costs]
        if outcome.status != "failed" or not own:
            return own
        told = [t.values[1:] for t in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
        return [max(column) for column in zip(own, *told, strict=True)]

    def fail(self, trial: Trial, end: str, message: str = "") -> None:
        """Close a trial without an outcome: `invalid` (breaks a constraint), `gated`, `broken` or `interrupted`."""
        self._memory.set_trial_user_attrs(trial._trial_id, {"end": end, **({"error": message} if message else {})})
        self._memory.take_back(trial._trial_id, _here())
        self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)

    def write_through(self) -> None:
        """Wait until all that was told lies on the disk."""
        self._memory.write_through()

    def count_open(self, *, running_only: bool = False) -> int:
        """Return how many trials are waiting or running."""
        states = (TrialState.RUNNING,) if running_only else OPEN
        return len(self.study.get_trials(deepcopy=False, states=states))

    def count_given_up(self) -> int:
        """Return how many slots broke too often to be tried again."""
        finished = self.finished
        return sum(self._given_up(slot) for slot in finished.num_broken.keys() - finished.told_slots)

    def _given_up(self, slot: str) -> bool:
        return self._finished.num_broken[slot] >= MAX_ATTEMPTS

    def now(self) -> tuple[list[FrozenTrial], Finished]:
        """Return the trials that are waiting or running, and what the finished ones come to, both of one moment."""
        still_open = self.study.get_trials(deepcopy=False, states=OPEN)
        with self._memory.patient(math.inf):
            return still_open, self.finished

    def lost(self) -> tuple[Cell, ...]:
        """Return the cells of a measured design whose training was given up."""
        return lost_cells(self.records()) if self.finished.num_broken.total() >= MAX_ATTEMPTS else ()

    # --- the records -------------------------------------------------------------------------------------------------

    @property
    def finished(self) -> Finished:
        """What the trials that have finished by now come to."""
        self._finished.take_up(self._memory.finished_since(self.study._study_id, len(self._finished.ended)))
        return self._finished

    def count_told(self) -> int:
        """Return how many trials have been told."""
        return len(self.finished.told)

    def best_number(self) -> int | None:
        """Return the number of the best trial whose training was completed, the first one of equals; None where there is none."""
        return next(iter(self.front_numbers()), None)

    def front_numbers(self) -> tuple[int, ...]:
        """Return the numbers of the completed trials that no other beats in all objectives, the best score first: one of one objective."""
        return tuple(trial.number for trial in self.finished.front)

    def records(self) -> tuple[TrainingRecord, ...]:
        """Return every trial as a record, by number."""
        trials = self.study.get_trials(deepcopy=False)
        self._num_given = sum(frozen.state.is_finished() for frozen in trials)
        return tuple(record_of(frozen, self.phase) for frozen in trials)

    def newly_finished(self) -> tuple[TrainingRecord, ...]:
        """Return the trials that have ended since this or `records` was last asked."""
        found = self._memory.finished_since(self.study._study_id, self._num_given)
        self._num_given += len(found)
        return tuple(record_of(frozen, self.phase) for frozen in found)

    def record(self, trial_id: int) -> TrainingRecord:
        """Return one trial as a record."""
        return record_of(self.storage.get_trial(trial_id), self.phase)


def _here() -> tuple[str, int]:
    """Return how the ledger names this process: its machine and its id there."""
    return socket.gethostname(), os.getpid()
