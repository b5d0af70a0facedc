"""Layer 1: what one training came to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

Status = Literal["complete", "pruned", "failed"]

CostName = Literal["parameters", "macs", "latency"]
COSTS: tuple[CostName, ...] = get_args(CostName)
"""What a search may minimise beside its metric."""

LATENCY = "latency_ms"
"""The figure of an outcome that holds the latency, in milliseconds, where a search asked for it."""


SEED_SCORES, SCORE_SD = "seeds.score", "score_sd"
"""Of a trial with several seeds: the series of their scores, in the order of the seeds, and the figure of their standard deviation."""


def is_of_a_probe(metric: str) -> bool:
    """Say whether a metric is a probe's figure, `PROBE.FIGURE`."""
    return "." in metric


@dataclass(frozen=True)
class Cost:
    """What a network costs, whatever it is trained on.

    `macs` counts the multiply-accumulates of convolutions and matrix products for one input;
    `num_layers` counts the weight layers on the longest path from input to output (He et al. 2015, §4.2: 6n+2).
    """

    parameters: int
    macs: int
    num_layers: int


@dataclass(frozen=True)
class Outcome:
    """The result of one training.

    `status` is `failed` for an algorithmic failure (a loss that is not finite, or a network that did not get above
    chance; an outcome, never dropped), and then `failure` says why and `score` is the failure score.
    `score` is the objective's metric as a fraction; `metrics` holds the final figures (`val_accuracy`, `test_loss` …)
    as they were measured; `curves` holds one value an epoch for each of `train_loss`, `val_loss`, `val_accuracy` ….
    Probes add their figures to `metrics` and to `series` theirs, as `PROBE.NAME`; `words` holds what each says in a sentence,
    `errors` why one could not measure. That of a trial with several seeds is `nas.study.jobs.seeds.combined`.
    """

    status: Status
    score: float
    metrics: Mapping[str, float]
    curves: Mapping[str, tuple[float, ...]]
    cost: Cost
    num_epochs: int
    duration_s: float
    device: str
    failure: str = ""
    series: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def seed_scores(self) -> tuple[float, ...]:
        """The score of each seed, of a trial that has several; else nothing."""
        return self.series.get(SEED_SCORES, ())

    @property
    def is_repeat(self) -> bool:
        """Whether it is what an earlier trial of the same configuration came to with the same seeds: nothing was trained for it."""
        return bool(self.seed_scores) and not self.duration_s

    def costing(self, name: CostName) -> float:
        """Return what the network costs by one measure. Raises KeyError for a latency that was not measured."""
        return self.metrics[LATENCY] if name == "latency" else float(getattr(self.cost, name))

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data; figures that are not finite are written as their names."""
        document = asdict(self)
        document["metrics"] = {name: _plain(value) for name, value in self.metrics.items()}
        document["score"] = _plain(self.score)
        for name in ("curves", "series"):
            document[name] = {key: [_plain(v) for v in values] for key, values in getattr(self, name).items()}
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Outcome:
        """Read what `to_dict` wrote."""
        fields = dict(document)
        fields["metrics"] = {name: float(value) for name, value in fields["metrics"].items()}
        fields["score"] = float(fields["score"])
        for name in ("curves", "series"):
            fields[name] = {key: tuple(float(v) for v in values) for key, values in fields.get(name, {}).items()}
        fields["cost"] = Cost(**fields["cost"])
        return cls(**fields)


def _plain(value: float) -> float | str:
    # JSON has no NaN; databases and browsers refuse the extension that Python writes.
    return value if math.isfinite(value) else str(value)
