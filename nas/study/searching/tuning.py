"""Layer 4: the searches behind a tuned effect: one an arm and cell, each with the same budget, and their winners.

See docs/method.md, "The tuned effect".
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import optuna

from nas.errors import StudyError
from nas.measuring.design import cells_of
from nas.space import MeasureOptions, Space
from nas.space.activity import everything, possible, uses_of
from nas.space.sections import TuneOptions
from nas.study.jobs.seeds import first_seed
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.slots import Slot
from nas.values.architecture import key_of
from nas.values.domains import Scalar, written
from nas.values.plans import Cell, Winner
from nas.values.records import TrainingRecord
from nas.values.seeds import derive


@dataclass(frozen=True)
class ArmSearch:
    """The search of one arm in one cell of `by`: its ledger, and the decisions that are fixed in all of its trials."""

    ledger: Ledger
    cell: Cell
    fixed: Mapping[str, Scalar]

    @property
    def told(self) -> str:
        """What it is the search of: `identity, architecture.staged.depth 3`."""
        return ", ".join([written(self.cell.level), *(f"{path} {written(value)}" for path, value in self.cell.by)])


@dataclass(frozen=True)
class Tuning:
    """All searches of a tuned effect. Trial i has one seed in every search, and what is not tuned one draw."""

    space: Space
    options: MeasureOptions
    tune: TuneOptions
    searches: tuple[ArmSearch, ...]

    @classmethod
    def open(
        cls, storage: optuna.storages.BaseStorage, name: str, space: Space, options: MeasureOptions, about: Mapping[str, Any]
    ) -> Tuning | None:
        """Open the ledgers `NAME/tune-HASH`, creating those that are not there; None where nothing is tuned."""
        if options.tune is None:
            return None
        searches = []
        for cell, fixed in cells_of(options, 0):
            title = f"{name}/tune-{key_of([cell.level, cell.by])[:8]}"
            ledger = Ledger.create(storage, title, direction=space.search.direction, about={**about, "phase": "tune"})
            searches.append(ArmSearch(ledger, cell, fixed))
        return cls(space, options, options.tune, tuple(searches))

    def ensure(self, ledger: Ledger) -> None:
        """Queue the next trial of one search, unless one is open or its budget is spent."""
        search = next(search for search in self.searches if search.ledger.name == ledger.name)
        search.ledger.ensure_next(self.slots(search))

    def slots(self, search: ArmSearch) -> list[Slot]:
        """Return the trials of one search: what is neither tuned nor fixed is drawn by the trial's number, alike in every arm."""
        placed = self.space.placed
        admitted = {**everything(placed), **self.options.admitted}
        there = [path for path in self.space.decisions if possible(uses_of(path, placed), admitted)]
        nuisance = [path for path in there if path not in search.fixed and path not in self.tune.decisions]
        return [
            Slot(
                f"t{i}",
                first_seed(self.space, derive(self.space.seed, "tune", i)),
                {**{path: self._draw(path, i) for path in nuisance}, **search.fixed},
                Cell(i, search.cell.level, search.cell.by),
            )
            for i in range(self.tune.trials)
        ]

    def _draw(self, path: str, trial: int) -> Scalar:
        drawn: Scalar = self.space.decisions[path].domain.draw(random.Random(derive(self.space.seed, "tune", trial, path)))
        return drawn

    @property
    def is_done(self) -> bool:
        """Whether every search has spent its budget; a trial that the machine lost for good is spent too."""
        return all(s.ledger.count_told() + s.ledger.count_given_up() >= self.tune.trials for s in self.searches)

    def winners(self) -> tuple[Winner, ...]:
        """Return the winner of each search, () before all are done. Raises StudyError for an arm without a finished trial."""
        return tuple(self._winner(search) for search in self.searches) if self.is_done else ()

    def _winner(self, search: ArmSearch) -> Winner:
        told = [t for t in search.ledger.records() if t.outcome and t.state in ("complete", "pruned", "failed")]
        # Nothing but failed trials is a finding, not a gap: the arm is retrained as it is, and fails again.
        finished = [t for t in told if t.state == "complete"] or [t for t in told if t.state == "failed"]
        if not finished:
            raise StudyError(f"the search of {search.told} has no finished trial, so it has no winner; give it more trials or no pruner")
        sign = -1 if self.space.search.direction == "maximize" else 1
        best = min(finished, key=lambda t: (sign * t.outcome.score if t.outcome else 0.0, t.cell.replicate if t.cell else 0))
        decided = tuple((path, value) for path, value in best.decisions if path in self.tune.decisions)
        return Winner(search.cell.level, search.cell.by, decided, best.outcome.score if best.outcome else 0.0, len(told))

    def numbered(self, records_of: Callable[[str], Sequence[TrainingRecord]]) -> tuple[TrainingRecord, ...]:
        """Return the trials of all searches, numbered so that no two share a number; `records_of` gives those of a ledger by its name."""
        count = len(self.searches)
        return tuple(
            replace(record, number=record.number * count + place)
            for place, search in enumerate(self.searches)
            for record in records_of(search.ledger.name)
        )


def told_winner(winner: Winner) -> str:
    """Say what won an arm's search: `identity: train.optimizer.sgd.lr 0.1 (0.9333, best of 8 trials)`."""
    where = ", ".join([written(winner.level), *(f"{path.rpartition('.')[2]} {written(value)}" for path, value in winner.by)])
    decided = ", ".join(f"{path} {written(value)}" for path, value in winner.decisions)
    return f"Tuned {where}: {decided} ({winner.score:.4f}, best of {winner.trials} trials)"


def sampler_seed(space: Space, waiting: optuna.trial.FrozenTrial, ledger: Ledger) -> int:
    """Return the seed of the sampler for one trial of a tuning search: by its slot, and how often the slot broke a constraint."""
    return derive(space.seed, "tune", waiting.user_attrs["slot"], num_refused(waiting, ledger))


def num_refused(waiting: optuna.trial.FrozenTrial, ledger: Ledger) -> int:
    """Return how often the slot of one trial of a tuning search broke a constraint before."""
    trials = ledger.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.FAIL,))
    return sum(t.user_attrs.get("slot") == waiting.user_attrs["slot"] and t.user_attrs.get("end") == "invalid" for t in trials)
