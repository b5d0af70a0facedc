"""Layer 4: a measurement set up for drawing: its pairs, its axis of depth, and the look of each arm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from nas.report.reading import At, Pair, pairs
from nas.report.svg import ARM_SHAPES, Axis, place_axis
from nas.report.words import Unit, at_text, decisions_text, level_text
from nas.values.domains import Scalar
from nas.values.effects import Effects, Estimate
from nas.values.records import StudyRecord

SIDE_BY_SIDE = " × "
"""Between the values of a cell that several decisions make, as between their names."""


@dataclass(frozen=True)
class Scene:
    """What every figure of one measurement needs: the numbers, how to print them, and the name of each decision."""

    record: StudyRecord
    effects: Effects
    unit: Unit
    names: Mapping[str, str]
    pairs: tuple[Pair, ...]

    @classmethod
    def of(cls, record: StudyRecord, effects: Effects, names: Mapping[str, str]) -> Scene:
        """Join a record with its effects; `names` are the decisions' short names."""
        found = tuple(p for p in pairs(record) if p.at in effects.at and p.level in effects.levels)
        return cls(record, effects, Unit.of(record.plan.metric if record.plan else record.objective), names, found)

    @property
    def reference(self) -> str:
        """The name of the level that the arms are compared with."""
        return level_text(self.effects.reference)

    @property
    def factor(self) -> str:
        """The short name of the measured decision."""
        return self.names.get(self.effects.factor, self.effects.factor.rsplit(".", 1)[-1])

    @property
    def shown_delta(self) -> float:
        """The smallest effect of interest in printed units."""
        return self.effects.smallest_effect * self.unit.scale

    def style(self, level: Scalar) -> str:
        """Return the colour class of an arm."""
        return f"c{self.effects.levels.index(level) % 6 + 1}"

    def shape(self, level: Scalar) -> str:
        """Return the mark of an arm."""
        return ARM_SHAPES[self.effects.levels.index(level) % len(ARM_SHAPES)]

    def at(self, at: At) -> str:
        """Return the name of a depth."""
        return at_text(self.effects, at)

    def of_level(self, level: Scalar) -> tuple[Pair, ...]:
        """Return the pairs of one arm."""
        return tuple(pair for pair in self.pairs if pair.level == level)

    def tip(self, pair: Pair) -> str:
        """Say everything of one pair: where it stands, its two scores, what its replicate decided."""
        scores = [t.outcome.score if t.outcome else None for t in (pair.arm, pair.reference)]
        names = (level_text(pair.level), self.reference)
        told = [
            f"replicate {pair.replicate} · {self.at(pair.at)}",
            f"{self.unit.signed(pair.difference)}{self.unit.suffix}{' · a training failed' if pair.failed else ''}",
            ", ".join(f"{name} {self.unit.level(score)}" for name, score in zip(names, scores, strict=True)),
        ]
        return "\n".join([*told, "", decisions_text(pair.arm, self.names)])


def layout(effects: Effects) -> tuple[Axis, tuple[float, ...], bool]:
    """Place the depths on an axis: by doublings where depth is one growing number, else side by side.

    Returns the axis, the place of each of `effects.at`, and whether a doubling has one length on it.
    """
    values: list[float] = []
    if len(effects.by) == 1:
        from_layers = effects.slope_axis in ("", "num_layers")
        raw = effects.num_layers if from_layers else [at[0] for at in effects.at]
        values = [float(v) for v in raw if isinstance(v, int | float) and not isinstance(v, bool) and v > 0]
    # Of several decisions the axis says the names once; with each value they would run into their neighbours.
    names = [SIDE_BY_SIDE.join(map(level_text, at)) if len(effects.by) > 1 else at_text(effects, at) for at in effects.at]
    if len(set(values)) == len(effects.at) > 1:
        room = (max(values) / min(values)) ** (0.5 / len(values))
        ticks = tuple(zip(values, names, strict=True))
        return Axis(min(values) / room, max(values) * room, ticks, log=True), tuple(values), True
    return place_axis(names), tuple(float(i) for i in range(len(names))), False


def trend(effects: Effects, slope: Estimate, places: Sequence[float]) -> list[tuple[float, float]]:
    """Return the line of slope beta (per doubling) through the middle of an arm's effects by depth."""
    means = [e.mean for e in effects.at_each if e.level == slope.level and e.mean is not None]
    if slope.mean is None or len(means) != len(places):
        return []
    logs = [math.log2(place) for place in places]
    return [(2**x, fmean(means) + slope.mean * (x - fmean(logs))) for x in (min(logs), max(logs))]


@dataclass(frozen=True)
class Line:
    """One replicate of one arm. `mean` is over its depths; None where a depth is missing, for it is then not part of theta."""

    replicate: int
    mean: float | None
    pairs: tuple[Pair, ...]


def by_replicate(scene: Scene, level: Scalar) -> list[Line]:
    """Group the pairs of one arm by replicate, the greatest mean first, replicates that miss a depth last."""
    groups: dict[int, list[Pair]] = {}
    for pair in scene.of_level(level):
        groups.setdefault(pair.replicate, []).append(pair)
    whole = len(scene.effects.at)
    means = {k: fmean(p.difference for p in group) if len(group) == whole else None for k, group in groups.items()}
    lines = [Line(number, means[number], tuple(group)) for number, group in groups.items()]
    return sorted(lines, key=lambda line: (line.mean is None, -(line.mean or 0.0), line.replicate))


def jitter(index: int) -> float:
    """Return a share in [−.5, .5) for an index, evenly spread and the same on every run (the golden ratio's multiples)."""
    return (index * 0.6180339887) % 1.0 - 0.5
