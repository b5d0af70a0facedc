"""Layer 3: an ablation: from one architecture, each decision changed alone, as twins on the same seeds and splits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from nas.errors import UserError, nearest
from nas.measuring.design import Fits, PlannedTraining
from nas.measuring.sentences import MINUS
from nas.measuring.verdicts import NO_VERDICT, UNMEASURED
from nas.sampling import Sample, first_choice, fixing, sample
from nas.space import Decision, Space
from nas.space.sections import Vectorise
from nas.values.architecture import key_of
from nas.values.domains import Choices, FloatRange, IntRange, Scalar, written
from nas.values.effects import Effects, Estimate
from nas.values.metrics import Direction, metric_of
from nas.values.plans import Cell, Change, MeasurePlan
from nas.values.records import Phase
from nas.values.seeds import derive

FACTOR, UNCHANGED = "change", "unchanged"
Decided = tuple[tuple[str, Scalar], ...]


@dataclass(frozen=True)
class Ablation:
    """The design of an ablation: the unchanged architecture and every single change, each once in every replicate.

    A replicate is a seed and a split; all its arms share both, and every change is compared with the same unchanged training.
    """

    base: Decided
    changes: tuple[Change, ...]
    replicates: int
    smallest_effect: float
    metric: str = "test_accuracy"
    left_out: tuple[str, ...] = ()
    direction: Direction = "maximize"
    vectorise: Vectorise = 1
    """How many seeds of one arm are trained as one program, at most: as the space's `measure:` section says."""

    @property
    def phase(self) -> Phase:
        """`ablate`."""
        return "ablate"

    @property
    def name(self) -> str:
        """`ablate-HASH`, over the architecture, the changes and the metric; in groups it is another, as with twins."""
        together = [self.vectorise] if self.vectorise != 1 else []
        return f"ablate-{key_of([self.base, [change.level for change in self.changes], self.metric, *together])[:8]}"

    @property
    def plan(self) -> MeasurePlan:
        """What is compared with what: every change with the unchanged architecture."""
        levels = tuple(change.level for change in self.changes)
        return MeasurePlan(FACTOR, UNCHANGED, levels, (), self.replicates, self.smallest_effect, self.metric, self.direction)

    def sized(self, replicates: int | None, smallest_effect: float | None) -> Ablation:
        """Return it with other replicates or another smallest effect, where those are given."""
        return replace(self, replicates=replicates or self.replicates, smallest_effect=smallest_effect or self.smallest_effect)

    @property
    def num_trainings(self) -> int:
        """Replicates x (changes and the unchanged one)."""
        return self.replicates * (1 + len(self.changes))

    def trainings(self, space: Space, fits: Fits, replicates: Iterable[int]) -> Iterator[PlannedTraining]:
        """Yield the trainings of some replicates, the unchanged one first. `fits` was asked when the changes were chosen."""
        arms = {UNCHANGED: decide(space, dict(self.base))}
        arms |= {change.level: decide(space, {**dict(self.base), change.path: change.after}) for change in self.changes}
        for replicate in replicates:
            seed = derive(space.seed, "replicate", replicate)
            yield from (PlannedTraining(Cell(replicate, level), decided, seed) for level, decided in arms.items())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Ablation:
        """Read what `to_dict` wrote."""
        changes = tuple(
            Change(c["path"], c["before"], c["after"], _pairs(c["appeared"]), tuple(c["vanished"])) for c in document["changes"]
        )
        known = {
            "direction": metric_of(document["metric"]).direction,
            **document,
            "base": _pairs(document["base"]),
            "changes": changes,
            "left_out": tuple(document["left_out"]),
        }
        return cls(**known)


def decide(space: Space, fixed: Mapping[str, Scalar]) -> Sample:
    """Decide a space by `fixed`; a decision that it says nothing of takes what stands first."""
    return sample(space, fixing(fixed, first_choice))


def plan_ablation(
    space: Space, base: Decided, *, references: Mapping[str, Scalar], only: Sequence[str] = (), replicates: int,
    smallest_effect: float, metric: str, direction: Direction = "maximize", vectorise: Vectorise = 1, fits: Fits,
) -> Ablation:  # fmt: skip
    """Choose the changes: each decision of `base` to its reference where `references` has one, else to each other level.

    Args:
        space: the space; its data set is never changed, for results on two data sets are no twins.
        base: the decisions of the unchanged architecture.
        references: the one level to change a decision to.
        only: the decisions to change; all by default.
        replicates: how many (seed, split) every arm is trained with.
        smallest_effect: the smallest effect that matters, a fraction.
        metric: what a training is scored by.
        direction: which way it is better.
        vectorise: how many seeds of one arm are trained as one program, at most.
        fits: says whether a configuration keeps the constraints; a change that does not is left out and told.

    Raises:
        UserError: on a decision that the architecture does not have, or where nothing is left to change.
    """
    decided = decide(space, dict(base))
    made = dict(decided.decisions)
    for path in (*references, *only):
        if path not in made:
            raise UserError(f"ablate: {path} is no decision of the unchanged architecture{nearest(path, made)}")
    changes, left_out = [], []
    for path in only or made:
        if path.partition(".")[0] == "data":
            left_out.append(f"{path}: results on two data sets are not compared")
            continue
        levels = (references[path],) if path in references else levels_beside(space.decisions[path], made[path])
        for level in levels:
            change, why = _change(space, decided, path, level, fits)
            if why:
                left_out.append(f"{path}={written(level)}: {why}")
            else:
                changes.append(change)
    if not changes:
        raise UserError(f"ablate: nothing to change: {'; '.join(left_out) or 'the space has no decisions'}")
    return Ablation(decided.decisions, tuple(changes), replicates, smallest_effect, metric, tuple(left_out), direction, vectorise)


def levels_beside(decision: Decision, value: Scalar) -> tuple[Scalar, ...]:
    """Return the levels that a decision is changed to: every other label; of a range the low end, the middle, the high end."""
    domain = decision.domain
    if isinstance(domain, Choices):
        return tuple(label for label in domain.labels if not _same(label, value))
    levels = dict.fromkeys((domain.low, middle(domain), domain.high))
    return tuple(level for level in levels if not _same(level, value))


def middle(domain: IntRange | FloatRange) -> int | float:
    """Return the middle of a range, in its logarithm where the range is logarithmic."""
    centre = math.sqrt(domain.low * domain.high) if domain.log else (domain.low + domain.high) / 2
    if isinstance(domain, FloatRange):
        # Few digits: a level is a name too.
        return min(max(float(f"{centre:.3g}"), domain.low), domain.high)
    return domain.low + round((centre - domain.low) / domain.step) * domain.step


def tell_ablation(effects: Effects, changes: Sequence[Change], *, scope: str = "", unit: str = "points") -> str:
    """Say in one sentence what the changes do, verdict by verdict: who is in a group, and the mean of each."""
    start = f"On {scope}" if scope else "In this measurement"
    refused = {found.reason for found in effects.overall if found.verdict == NO_VERDICT}
    if len(refused) == 1:
        return f"{start}, there is no verdict on any of {len(changes)} changes ({refused.pop()})."
    names = {change.level: f"{change.path.rpartition('.')[2]} {written(change.after)}" for change in changes}
    groups: dict[str, list[Estimate]] = {}
    for found in sorted(effects.overall, key=lambda found: (found.mean is None, found.mean)):
        groups.setdefault(found.verdict, []).append(found)

    def figure(found: Estimate) -> str:
        if found.mean is None or found.verdict == UNMEASURED:
            return names[str(found.level)]
        size = f"{100 * found.mean:+.1f}" if unit == "points" else f"{found.mean:+.3g}"
        return f"{names[str(found.level)]} ({size.replace('-', MINUS, 1)})"

    told = "; ".join(f"{verdict}: {', '.join(map(figure, members))}" for verdict, members in groups.items())
    count = f"{len(changes)} changes" if len(changes) > 1 else "1 change"
    return (
        f"{start}, {count} to one architecture, {effects.replicates} replicates: {told}"
        f"{', in points' if unit == 'points' else ''}; each is the mean paired difference from the unchanged architecture."
    )


def _change(space: Space, base: Sample, path: str, level: Scalar, fits: Fits) -> tuple[Change, str]:
    """Return one change, and why it is not made, '' where it is."""
    before = dict(base.decisions)
    if _same(before[path], level):
        return Change(path, before[path], level), "the unchanged architecture has it already"
    after = decide(space, {**before, path: level})
    made = dict(after.decisions)
    appeared = tuple((name, value) for name, value in made.items() if name not in before)
    change = Change(path, before[path], level, appeared, tuple(name for name in before if name not in made))
    broken = "" if fits(after.configuration) else f"breaks {' or '.join(map(str, space.constraints))}"
    return change, broken


def _same(one: Scalar, other: Scalar) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _pairs(rows: Sequence[Sequence[Any]]) -> Decided:
    return tuple((path, value) for path, value in rows)
