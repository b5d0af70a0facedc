"""Layer 1: what a measured design was asked to do: its cells, its plan, the changes of an ablation."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nas.values.domains import Scalar, written
from nas.values.effects import EFFECT
from nas.values.metrics import Direction


@dataclass(frozen=True)
class Cell:
    """The place of one measured training in the design: which replicate, which arm, at which value of each `by` decision."""

    replicate: int
    level: Scalar
    by: tuple[tuple[str, Scalar], ...] = ()


@dataclass(frozen=True)
class MatchedReference:
    """The reference, widened until it costs what one arm does in `parameters` or `macs`: trained as an arm named `label`."""

    level: Scalar
    quantity: str
    label: str


@dataclass(frozen=True)
class Winner:
    """The best trial of one arm's own search: where it stands, its score, and what it decided (docs/method.md, "The tuned effect")."""

    level: Scalar
    by: tuple[tuple[str, Scalar], ...]
    decisions: tuple[tuple[str, Scalar], ...]
    score: float
    trials: int


@dataclass(frozen=True)
class MeasurePlan:
    """What the measure phase was asked to do; the values are labels of the decisions named."""

    factor: str
    reference: Scalar
    levels: tuple[Scalar, ...]
    by: tuple[tuple[str, tuple[Scalar, ...]], ...]
    replicates: int
    smallest_effect: float
    metric: str = "test_accuracy"
    direction: Direction = "maximize"
    looks: tuple[int, ...] = ()
    """The numbers of replicates at which it is read, where those are planned; `replicates` is the next of them."""
    looks_changed_after: int = 0
    """How many of its trainings were there already when the looks were planned, or taken back."""
    held: tuple[tuple[str, Scalar], ...] = ()
    """What every replicate decides alike."""
    match: tuple[str, ...] = ()
    """In which quantities the reference is to be matched to arms that cost more."""
    matched: tuple[MatchedReference, ...] = ()
    estimand: str = EFFECT
    tune_trials: int = 0
    """Of a tuned effect: the trials of the search that each arm has at each value of `by`."""
    tuned: tuple[str, ...] = ()
    """Of a tuned effect: the decisions that each arm's search makes."""

    @property
    def num_searches(self) -> int:
        """How many searches a tuned effect takes: one an arm and combination of the `by` decisions."""
        return (1 + len(self.levels)) * math.prod(len(values) for _, values in self.by) if self.tune_trials else 0

    @property
    def trained_levels(self) -> tuple[Scalar, ...]:
        """Every arm of a replicate: the reference, the levels, the matched references."""
        return (self.reference, *self.levels, *(matched.label for matched in self.matched))

    @property
    def cells(self) -> int:
        """How many trainings a replicate has: every arm at every combination of the `by` decisions."""
        return len(set(self.trained_levels)) * math.prod(len(values) for _, values in self.by)


@dataclass(frozen=True)
class Change:
    """One change of an ablation: a decision at `after` instead of `before`, everything else held.

    `appeared` are the decisions that exist only since the change, at what stands first; `vanished` those that no longer exist.
    """

    path: str
    before: Scalar
    after: Scalar
    appeared: tuple[tuple[str, Scalar], ...] = ()
    vanished: tuple[str, ...] = ()

    @property
    def level(self) -> str:
        """The name of its arm: `architecture.staged.shortcut=none`."""
        return f"{self.path}={written(self.after)}"
