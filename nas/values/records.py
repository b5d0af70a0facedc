"""Layer 1: the frozen record of a study: what trackers write and reports read."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from heapq import nsmallest
from typing import Any, Literal

from nas.values.architecture import Configuration
from nas.values.domains import Domain, Scalar
from nas.values.dominance import undominated
from nas.values.metrics import Direction, Metric, metric_of
from nas.values.outcome import CostName, Outcome
from nas.values.plans import Cell, Change, MeasurePlan, Winner

Phase = Literal["search", "baseline", "tune", "measure", "ablate", "train"]
State = Literal["waiting", "running", "complete", "pruned", "failed", "interrupted", "broken", "invalid", "gated"]

SEARCHING: frozenset[Phase] = frozenset({"search", "baseline", "tune"})
"""The phases that look for an architecture: judged on the validation part of the space's own split, pruned where poor."""

OPEN_STATES: frozenset[State] = frozenset({"waiting", "running"})
"""A training in any other state has ended: its record never changes again."""

MOST_RANKED = 5
"""So many of a search's best trials are looked for at once, since several readers of a record ask."""
MAX_ATTEMPTS = 3
"""A training that broke this often is lost for good."""


@dataclass(frozen=True)
class GroupMember:
    """One of the trainings that are trained together as one program: all that its own part in it depends on."""

    slot: str
    seed: int
    decisions: tuple[tuple[str, Scalar], ...]
    widths: tuple[int, ...] = ()


@dataclass(frozen=True)
class TrainingRecord:
    """One training that was asked for, with its outcome once there is one.

    `state` says `failed` for an algorithmic failure (an outcome), `broken` for infrastructure (killed, out of memory, a
    plugin that raised; `error` says what), `interrupted` for one that was stopped and queued again under another number,
    `invalid` for one that broke a constraint, `gated` for one that the search's gate refused: neither was trained.
    """

    number: int
    phase: Phase
    state: State
    decisions: tuple[tuple[str, Scalar], ...]
    configuration: Configuration | None = None
    seed: int = 0
    cell: Cell | None = None
    outcome: Outcome | None = None
    started: datetime | None = None
    finished: datetime | None = None
    worker: str = ""
    error: str = ""
    group: tuple[GroupMember, ...] = ()
    """The trainings, itself among them, that it was trained with as one program; () where it was trained alone."""

    @property
    def place_in_group(self) -> int:
        """Its place among them, from 0."""
        return next((place for place, member in enumerate(self.group) if member.seed == self.seed), 0)


@dataclass(frozen=True)
class Importance:
    """What a search's trials suggest that a decision accounts for: shares of 1, without a sign. Exploratory, never an effect."""

    path: str
    ped_anova: float
    fanova: float


@dataclass(frozen=True)
class StudyRecord:
    """Everything known of a study at one moment: the one input of the tracker and of the report.

    An ablation is a record of its own, with `changes` and without a search; its `key` is `STUDY/ablate-HASH`.
    """

    name: str
    key: str
    space_file: str
    space_text: str
    objective: str
    direction: Direction
    search: tuple[TrainingRecord, ...]
    measured: tuple[TrainingRecord, ...]
    planned_search: int
    plan: MeasurePlan | None
    environment: Mapping[str, Any]
    data: Mapping[str, Any]
    created: datetime | None = None
    metrics: tuple[Metric, ...] = ()
    """The metrics of the study's task."""
    changes: tuple[Change, ...] = ()
    left_out: tuple[str, ...] = ()
    """Changes of an ablation that were asked for and not made, each with the reason."""
    tuning: tuple[TrainingRecord, ...] = ()
    """The trials of the searches behind a tuned effect; `cell.replicate` is a trial's place in its search."""
    winners: tuple[Winner, ...] = ()
    importances: tuple[Importance, ...] = ()
    """What the search suggests, where it was asked for: the trials used may be fewer than there are."""
    importance_trials: int = 0
    baseline: tuple[TrainingRecord, ...] = ()
    """The trials of a random search with the same budget, where it was asked for."""
    planned_baseline: int = 0
    domains: Mapping[str, Domain] = field(default_factory=dict)
    """What each decision may be, by its path, in the order of the space file."""
    costs: tuple[CostName, ...] = ()
    """What the search minimises beside its objective: where there is any, what it finds is a front."""

    gate: str = ""
    """What samples had to pass before they were trained: `naswot.score, keep 0.5, warm_up 10`; '' where there is no gate."""

    own_plugins: tuple[str, ...] = ()
    """The plugins it uses that do not ship with this package, each with where it came from and the hash of its source."""

    @property
    def objectives(self) -> tuple[tuple[str, Direction], ...]:
        """What was searched for, each with the way that is better: the metric first, then the costs."""
        return ((self.objective, self.direction), *((cost, "minimize") for cost in self.costs))

    @property
    def finished(self) -> tuple[TrainingRecord, ...]:
        """The completed trials of the search that have a score."""
        return tuple(t for t in self.search if t.state == "complete" and t.outcome and math.isfinite(t.outcome.score))

    @property
    def front(self) -> tuple[TrainingRecord, ...]:
        """The finished trials that no other beats in all objectives at once, best score first: one where there is one objective."""
        sign = 1.0 if self.direction == "maximize" else -1.0
        done = [(t, t.outcome) for t in self.finished if t.outcome]
        points = [(sign * outcome.score, *(-outcome.costing(cost) for cost in self.costs)) for _, outcome in done]
        return tuple(done[place][0] for place in undominated(points))

    @property
    def title(self) -> str:
        """Name and key, as shown everywhere: `residual-digits-1a2b3c4d`."""
        return f"{self.name}-{self.key}"

    @property
    def has_search(self) -> bool:
        """Whether a search belongs to it: it is not beside one, and it is not measured alone, the search never begun."""
        return bool(self.search) or not (self.is_beside or self.measured)

    @property
    def is_beside(self) -> bool:
        """Whether this stands beside its study: an ablation, or a measurement that the space file does not ask for."""
        return "/" in self.key

    @property
    def drawn(self) -> tuple[str, ...]:
        """The decisions that were drawn anew for each replicate."""
        if self.plan is None or self.changes:
            return ()
        roles = {self.plan.factor, *(path for path, _ in (*self.plan.by, *self.plan.held)), *self.plan.tuned}
        return tuple(dict.fromkeys(path for t in self.measured for path, _ in t.decisions if path not in roles))

    @property
    def judged_by(self) -> Metric:
        """The metric of what was measured, where something was to be, else the search's objective."""
        return self.metric(self.plan.metric if self.plan else self.objective)

    def metric(self, full_name: str) -> Metric:
        """Return what a full name such as `val_accuracy` stands for."""
        return metric_of(full_name, self.metrics)

    @property
    def lost(self) -> tuple[Cell, ...]:
        """The measured trainings that the machine lost for good."""
        return lost_cells(self.measured)

    @property
    def replacements(self) -> tuple[int, ...]:
        """The replicates that were drawn for those that lost a training (docs/method.md, "Trainings that fail")."""
        return tuple(owed_replicates(self.plan.replicates, self.lost)[self.plan.replicates :]) if self.plan else ()

    @property
    def planned_measured(self) -> int:
        """How many measured trainings there will be: replacements with them, lost ones left out."""
        owed = owed_replicates(self.plan.replicates, self.lost) if self.plan else range(0)
        return len(owed) * (self.plan.cells if self.plan else 0) - sum(cell.replicate in owed for cell in self.lost)

    @property
    def trainings(self) -> tuple[TrainingRecord, ...]:
        """Every training of the study: search and its baseline, tuning, measurement."""
        return (*self.search, *self.baseline, *self.tuning, *self.measured)

    @property
    def planned_tuning(self) -> int:
        """How many trials the searches behind a tuned effect have."""
        return self.plan.num_searches * self.plan.tune_trials if self.plan else 0

    def best(self, count: int = 5) -> tuple[TrainingRecord, ...]:
        """Return the best completed trials of the search, best first.

        A search with several objectives has no other best trials than its front, and the best of those has the best score.
        """
        if self.costs:
            return self.front[:count]
        return self._ranked[:count] if count <= MOST_RANKED else self._rank(count)

    @cached_property
    def _ranked(self) -> tuple[TrainingRecord, ...]:
        return self.search.ranked[self.direction] if isinstance(self.search, Trainings) else self._rank(MOST_RANKED)

    def _rank(self, count: int) -> tuple[TrainingRecord, ...]:
        return ranked(self.search, self.direction, count)


class Trainings(tuple[TrainingRecord, ...]):
    """Trainings by number, handed out again and again while they grow, with the best of them by either direction."""

    ranked: Mapping[Direction, tuple[TrainingRecord, ...]]
    """What `ranked` says of them, up to `MOST_RANKED`."""


def ranked(trainings: Iterable[TrainingRecord], direction: Direction, count: int) -> tuple[TrainingRecord, ...]:
    """Return the best completed trainings that have a score, best first, the first one of equals before the others.

    One that repeats an earlier one is left out: it is the same trainings.
    """
    sign = -1 if direction == "maximize" else 1
    # No pair is made of each: so many new objects at once set the garbage collector to work on all of a long search.
    done = [t for t in trainings if t.state == "complete" and t.outcome and not t.outcome.is_repeat and math.isfinite(t.outcome.score)]
    return tuple(nsmallest(count, done, key=lambda t: sign * t.outcome.score if t.outcome else 0.0))


def lost_cells(trainings: Iterable[TrainingRecord]) -> tuple[Cell, ...]:
    """Return the cells whose training broke `MAX_ATTEMPTS` times and was never told."""
    broken, told = dict[Cell, int](), set[Cell]()
    for training in trainings:
        if training.cell and training.state == "broken":
            broken[training.cell] = broken.get(training.cell, 0) + 1
        elif training.cell and training.state in ("complete", "failed"):
            told.add(training.cell)
    return tuple(cell for cell, count in broken.items() if count >= MAX_ATTEMPTS and cell not in told)


def owed_replicates(planned: int, lost: Collection[Cell]) -> range:
    """Return the replicates to train: as many as planned, and the next one for each that lost a training, at most twice as many."""
    gone, count = {cell.replicate for cell in lost}, planned
    while count < 2 * planned and count - sum(replicate < count for replicate in gone) < planned:
        count += 1
    return range(count)
