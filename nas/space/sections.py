"""Layer 2: the sections of a space file that hold no decisions: `search:`, `measure:`, `input:` and `constraints:`."""

from __future__ import annotations

import math
import operator
import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Literal

from nas.errors import nearest, shown
from nas.plugin import Bounds, Count
from nas.values.architecture import PluginNode
from nas.values.domains import Scalar, written
from nas.values.metrics import Direction
from nas.values.outcome import COSTS, Cost, CostName

Vectorise = int | Literal["auto"]
MAX_TOGETHER = 64
"""The most trainings that may be asked for as one program."""
Minutes = Annotated[float, Bounds(0.01)]
WILCOXON_P, WILCOXON_SEEDS = 0.1, 4
"""Below which p of a one-sided signed-rank test a trial ends, and after how many seeds at the earliest that can be.

Of n differences that all point one way p is 2^-n (Wilcoxon 1945, "Individual comparisons by ranking methods"): of three 1/8, of four
1/16.
"""


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """What stands in for a data set where only networks are looked at: the shape (C, H, W) of an input, and the classes."""

    shape: tuple[Count, ...]
    classes: Count


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How the space is searched.

    `trials` and `minutes` end the search, whichever comes first. `maximize` or `minimize` names the metric that is
    searched for; `minimize` may list costs beside it (parameters, macs, latency), and then a Pareto front is searched for.
    `sampler` proposes architectures: tpe (a tree of Parzen estimators over groups of decisions), gp (a Gaussian process),
    cmaes (ranges of numbers), nsga2 (a genetic algorithm), evolution (regularised: Real et al. 2019), qmc (a Sobol sequence), grid
    (every combination once), random. `seeds` is how many trainings a trial has, one a seed; it is told at their mean. `vectorise` is
    how many of them are trained as one program, at most; auto decides by their size. `pruner` ends poor trials early: of those with
    one seed median, asha (asynchronous successive halving), hyperband; of those with several wilcoxon (a signed-rank test against
    the best trial over the same seeds); none. It is median, with several seeds none, where
    it is not named. `start` lists configurations that are tried first; `start_from` names an earlier study whose best ones are tried after
    them. `workers` is the number of processes; null takes `workers_per_gpu` for each GPU (auto: as many as its memory has room
    for), or one a core where there is none.
    """

    trials: Count | None = None
    minutes: Minutes | None = None
    maximize: str | None = None
    minimize: str | tuple[str, ...] | None = None
    sampler: Literal["tpe", "gp", "cmaes", "nsga2", "evolution", "qmc", "grid", "random"] = "tpe"
    seeds: Count = 1
    vectorise: Annotated[int, Bounds(1, MAX_TOGETHER)] | Literal["auto", "none"] = "none"
    pruner: Literal["median", "asha", "hyperband", "wilcoxon", "none"] = "median"
    start_from: str | None = None
    workers: Count | None = None
    workers_per_gpu: Count | Literal["auto"] = 1

    @property
    def minimized(self) -> tuple[str, ...]:
        """What is to be small: metrics and costs."""
        return (self.minimize,) if isinstance(self.minimize, str) else self.minimize or ()

    @property
    def together(self) -> Vectorise:
        """How many of a trial's seeds are trained as one program, at most: 1 where each is trained for itself."""
        return 1 if self.vectorise == "none" else self.vectorise

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that are named."""
        return tuple(name for name in (self.maximize, *self.minimized) if name and name not in COSTS)

    @property
    def objective(self) -> str:
        """The metric's name."""
        return next(iter(self.metrics), "val_accuracy")

    @property
    def direction(self) -> Direction:
        """Which way the metric is better."""
        return "minimize" if self.objective in self.minimized else "maximize"

    @property
    def costs(self) -> tuple[CostName, ...]:
        """What is minimised beside the metric."""
        return tuple(cost for cost in COSTS if cost in self.minimized)

    @property
    def sought(self) -> str:
        """What is searched for, in words: `maximize val_accuracy, minimize parameters`."""
        return ", ".join([f"{self.direction} {self.objective}", *(f"minimize {cost}" for cost in self.costs)])


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """A cheap look at each sampled architecture before it is trained: `score`, a probe's figure of the untrained network.

    One whose score lies below the best `keep` of all that the search has looked at is not trained, and another is sampled in
    its place; the first `warm_up` pass.
    """

    score: str
    keep: Annotated[float, Bounds(0.01, 0.99)] = 0.5
    warm_up: Count = 10


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A gate as it is used: the probe, which of its figures, which way that is better, and the share that is kept."""

    probe: PluginNode
    figure: str
    direction: Direction
    keep: float
    warm_up: int

    @property
    def score(self) -> str:
        """The figure's full name."""
        return f"{self.probe.name}.{self.figure}"

    @property
    def patience(self) -> int:
        """How many samples in a row are refused before one is trained whatever it scores: of random ones that is less than one in 100."""
        return math.ceil(5 / self.keep)

    def __str__(self) -> str:
        return f"{self.score}, keep {written(self.keep)}, warm_up {self.warm_up}"


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """How each arm is tuned for itself: so many trials of the space's sampler over `decisions`, by their paths."""

    trials: int
    decisions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """What is measured: the effect of `factor`'s `levels` against `reference`, at each combination of the `by` decisions.

    `hold` fixes other decisions; what is neither held nor `by` is a nuisance, drawn anew for every replicate.
    `smallest_effect` is the smallest effect of interest, a fraction (declared, never taken from the data).
    `metric` may be a figure of one of the probes, `PROBE.FIGURE`; `direction` then says which way is better.
    `looks` are the numbers of replicates at which the measurement is read, and ended where that decides it; `replicates` is
    the last of them then. `match` are the quantities in which a wider reference is trained for each arm that costs more.
    `vectorise` is how many trainings of one architecture are trained as one program, at most; `auto` decides by their size.
    With `tune`, the estimand is the tuned effect: each arm is searched for itself, and the winners are compared.
    """

    factor: str
    reference: Scalar
    levels: tuple[Scalar, ...]
    by: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()
    hold: tuple[tuple[str, Scalar], ...] = ()
    replicates: int = 10
    smallest_effect: float = 0.01
    metric: str = "test_accuracy"
    # Not in the repr, which names the design's ledger: these say how results are judged, or ask for more beside them.
    direction: Direction = field(default="maximize", repr=False)
    looks: tuple[int, ...] = field(default=(), repr=False)
    match: tuple[str, ...] = field(default=(), repr=False)
    tune: TuneOptions | None = field(default=None, repr=False)
    vectorise: Vectorise = field(default=1, repr=False)

    @property
    def arms(self) -> tuple[Scalar, ...]:
        """The reference, then every level compared with it."""
        return (self.reference, *self.levels)

    @property
    def admitted(self) -> dict[str, tuple[Scalar, ...]]:
        """The values that a decision with a role takes while measuring; a nuisance may take any of its domain."""
        return {self.factor: self.arms, **dict(self.by), **{path: (value,) for path, value in self.hold}}


_RELATIONS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_CONSTRAINT = re.compile(r"\s*(\w+)\s*(<=|>=|<|>)\s*((?:\d[\d_]*)?(?:\.\d*)?(?:e[+-]?\d{1,2})?)\s*([KMG]?)\s*", re.IGNORECASE | re.ASCII)
QUANTITIES = ("parameters", "macs", "num_layers")
CONSTRAINT_FORM = f"must read like `parameters <= 1M`: one of {', '.join(QUANTITIES)}, then <=, <, >= or >, then a number"


@dataclass(frozen=True)
class Constraint:
    """A limit that an architecture must keep before it is trained: `parameters <= 1M`."""

    quantity: str
    relation: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read `QUANTITY RELATION NUMBER[K|M|G]`. Raises ValueError that says the form."""
        match = _CONSTRAINT.fullmatch(text)
        if not match or not any(c.isdigit() for c in match[3].partition("e")[0]):
            raise ValueError(f"{CONSTRAINT_FORM}, got '{shown(text)}'")
        if match[1] not in QUANTITIES:
            raise ValueError(f"cannot limit '{match[1]}'{nearest(match[1], QUANTITIES)}")
        return cls(match[1], match[2], float(Decimal(match[3].replace("_", "")) * _UNITS[match[4].upper()]))

    def holds(self, cost: Cost) -> bool:
        """Say whether `cost` keeps the limit."""
        return bool(_RELATIONS[self.relation](getattr(cost, self.quantity), self.limit))

    def __str__(self) -> str:
        limit = f"{int(self.limit):,}" if self.limit == int(self.limit) else written(self.limit)
        return f"{self.quantity} {self.relation} {limit}"
