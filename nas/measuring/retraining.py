"""Layer 3: one architecture trained anew from fresh seeds, and what that says beside the score that it was chosen for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from nas.measuring.ablation import decide
from nas.measuring.design import Fits, PlannedTraining
from nas.measuring.statistics import t_interval
from nas.space import Space
from nas.space.sections import Vectorise
from nas.values.architecture import Configuration, key_of
from nas.values.domains import Scalar
from nas.values.effects import Interval
from nas.values.metrics import Direction, metric_of
from nas.values.plans import Cell, MeasurePlan
from nas.values.records import Phase, StudyRecord
from nas.values.seeds import derive

FACTOR, RETRAINED = "seed", "retrained"
DEFAULT_SEEDS = 5
Decided = tuple[tuple[str, Scalar], ...]


@dataclass(frozen=True)
class Origin:
    """Where an architecture comes from, in words, and what it scored there; no score for one that was never trained.

    `chosen_from` is the number of trials whose best it is; 0 for one that nobody chose by its score. `epochs` is how long it was
    trained there, `seeds` over how many seeds its score is the mean.
    """

    told: str
    metric: str = ""
    score: float | None = None
    chosen_from: int = 0
    epochs: int = 0
    seeds: int = 1


@dataclass(frozen=True)
class Retraining:
    """The design of a retraining: one architecture, trained from each of `seeds` seeds that no other training of its study has.

    All share the split of the search, whose test part the search never saw, and score that part once, after the last epoch.
    `epochs` replaces those of the recipe.
    """

    base: Decided
    seeds: int
    metric: str
    direction: Direction
    origin: Origin
    epochs: int | None = None
    vectorise: Vectorise = 1
    """How many seeds are trained as one program, at most: as the space's `measure:` section says."""

    @property
    def phase(self) -> Phase:
        """`train`."""
        return "train"

    @property
    def name(self) -> str:
        """`train-HASH`, over the architecture with its recipe and the metric; more seeds are the same retraining.

        In groups it is another, as with twins.
        """
        together = [self.vectorise] if self.vectorise != 1 else []
        return f"train-{key_of([self.base, self.epochs, self.metric, *together])[:8]}"

    @property
    def plan(self) -> MeasurePlan:
        """One arm, compared with nothing."""
        return MeasurePlan(FACTOR, RETRAINED, (), (), self.seeds, 0.0, self.metric, self.direction)

    @property
    def num_trainings(self) -> int:
        """One a seed."""
        return self.seeds

    def trainings(self, space: Space, fits: Fits, replicates: Iterable[int]) -> Iterator[PlannedTraining]:
        """Yield the trainings of some seeds. `fits` was asked when the architecture was chosen."""
        decided = decide(space, dict(self.base))
        decided = replace(decided, configuration=with_epochs(decided.configuration, self.epochs))
        for seed in replicates:
            # A search derives its seeds from ("trial", i) or ("trial seed", k), a measurement from ("replicate", k): none of these.
            yield PlannedTraining(Cell(seed, RETRAINED), decided, derive(space.seed, "retraining", seed), name=f"s{seed}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Retraining:
        """Read what `to_dict` wrote."""
        base = tuple((path, value) for path, value in document["base"])
        return cls(**{**document, "base": base, "origin": Origin(**document["origin"])})


def with_epochs(configuration: Configuration, epochs: int | None) -> Configuration:
    """Return a configuration that trains for `epochs`; for its own where that is None."""
    if epochs is None:
        return configuration
    recipe = tuple((name, epochs if name == "epochs" else value) for name, value in configuration.train.parameters)
    return replace(configuration, train=replace(configuration.train, parameters=recipe))


@dataclass(frozen=True)
class Figure:
    """One metric over the seeds: its values in their order, mean, deviation and the 95% t interval of the mean (None for one).

    A share's interval ends at 0 and 1, which its mean cannot pass: what is cut off cannot hold the truth, so it covers as often.
    """

    metric: str
    values: tuple[float, ...]
    mean: float
    sd: float | None
    interval: Interval | None

    @classmethod
    def of(cls, metric: str, values: Sequence[float]) -> Figure:
        """Summarise one or more values."""
        mean, n = math.fsum(values) / len(values), len(values)
        sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)) if n > 1 else None
        interval = t_interval(values) if n > 1 else None
        if interval and metric_of(metric).is_share:
            interval = replace(interval, low=max(interval.low, 0.0), high=min(interval.high, 1.0))
        return cls(metric, tuple(values), mean, sd, interval)


@dataclass(frozen=True)
class Retest:
    """What a retraining came to: `test`, and `again` in the metric that the architecture was chosen by, both over fresh seeds.

    A failed training counts in both at its failure score. `missing` are seeds without an outcome yet. `kept` is what the search's
    own network scored on the test part, in the metric of `test`; None where it was not scored.
    """

    origin: Origin
    epochs: int
    test: Figure | None
    again: Figure | None
    failures: int
    missing: int
    seeds: tuple[int, ...] = ()
    kept: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)


def retest_of(record: StudyRecord, design: Retraining, *, kept: Mapping[str, float] | None = None) -> Retest:
    """Read a retraining's outcomes; `kept` are the test figures of the network that the architecture was chosen with."""
    told = sorted(
        (t for t in record.measured if t.cell and t.outcome and t.state in ("complete", "failed")),
        key=lambda t: t.cell.replicate if t.cell else 0,
    )
    outcomes = [t.outcome for t in told if t.outcome]
    test = [o.score for o in outcomes if math.isfinite(o.score)]
    searched = record.objective
    again = [o.score if o.status == "failed" else o.metrics.get(searched, math.nan) for o in outcomes]
    again = [value for value in again if math.isfinite(value)]
    return Retest(
        design.origin,
        epochs=max((o.num_epochs for o in outcomes), default=0),
        test=Figure.of(design.metric, test) if test else None,
        again=Figure.of(searched, again) if again and searched != design.metric else None,
        failures=sum(t.state == "failed" for t in told),
        missing=record.planned_measured - len(told),
        seeds=tuple(t.seed for t in told),
        kept=(kept or {}).get(design.metric) if design.origin.chosen_from else None,
    )
