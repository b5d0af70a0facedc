"""Layer 2: the sections of a space file that hold no decisions: `search:`, `measure:` and `constraints:`."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import Annotated, Literal

from nas.plugin import Bounds, Count
from nas.values.domains import Scalar
from nas.values.outcome import Cost

Strict = Annotated[float, Bounds(1e-9)]


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """What stands in for a data set where only networks are looked at: the shape (C, H, W) of an input, and the classes."""

    shape: tuple[Count, ...]
    classes: Count


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How the space is searched.

    `trials` and `minutes` end the search, whichever comes first. `maximize` or `minimize` names the metric that is
    searched for. `workers` is the number of processes; null takes one a core, or one a GPU where there are several.
    """

    trials: Count | None = None
    minutes: Strict | None = None
    maximize: str | None = None
    minimize: str | None = None
    sampler: Literal["tpe", "random"] = "tpe"
    pruner: Literal["median", "none"] = "median"
    workers: Count | None = None

    @property
    def objective(self) -> str:
        """The metric's name."""
        return self.minimize or self.maximize or "val_accuracy"

    @property
    def direction(self) -> Literal["maximize", "minimize"]:
        """Which way is better."""
        return "minimize" if self.minimize else "maximize"


@dataclass(frozen=True, kw_only=True)
class MeasureOptions:
    """What is measured: the effect of `factor`'s `levels` against `reference`, at each combination of the `by` decisions.

    `hold` fixes other decisions; what is neither held nor `by` is a nuisance, drawn anew for every replicate.
    `smallest_effect` is the smallest effect of interest, a fraction (METHOD: declared, never taken from the data).
    """

    factor: str
    reference: Scalar
    levels: tuple[Scalar, ...]
    by: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()
    hold: tuple[tuple[str, Scalar], ...] = ()
    replicates: int = 10
    smallest_effect: float = 0.01
    metric: str = "test_accuracy"

    @property
    def arms(self) -> tuple[Scalar, ...]:
        """The reference, then every level compared with it."""
        return (self.reference, *self.levels)


_RELATIONS = {"<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt}
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_CONSTRAINT = re.compile(r"^\s*(\w+)\s*(<=|>=|<|>)\s*([\d.]+(?:[eE]\d+)?)\s*([KMG]?)\s*$")
QUANTITIES = ("parameters", "macs", "num_layers")


@dataclass(frozen=True)
class Constraint:
    """A limit that an architecture must keep before it is trained: `parameters <= 1M`."""

    quantity: str
    relation: str
    limit: float

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read `QUANTITY RELATION NUMBER[K|M|G]`. Raises ValueError that says the form."""
        match = _CONSTRAINT.match(text)
        if not match or match[1] not in QUANTITIES:
            raise ValueError(
                f"must read like `parameters <= 1M`, with one of {', '.join(QUANTITIES)} and <=, <, >= or >, got '{text}'"
            )
        return cls(match[1], match[2], float(match[3]) * _UNITS[match[4]])

    def holds(self, cost: Cost) -> bool:
        """Say whether `cost` keeps the limit."""
        return bool(_RELATIONS[self.relation](getattr(cost, self.quantity), self.limit))

    def __str__(self) -> str:
        return f"{self.quantity} {self.relation} {self.limit:g}"
