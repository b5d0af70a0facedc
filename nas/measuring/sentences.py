"""Layer 3: estimates → one sentence of verdict that names its scope and its estimand (docs/method.md, "What the verdicts mean")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.measuring.slopes import NUM_LAYERS
from nas.measuring.trainings import At
from nas.measuring.verdicts import (
    EQUIVALENT,
    EQUIVALENT_NOT_ZERO,
    GROWS,
    NO_CHANGE,
    NO_VERDICT,
    SHRINKS,
    UNMEASURED,
    is_undetermined,
)
from nas.values.domains import Scalar, written
from nas.values.effects import EFFECT, Estimate, Interval, Look

MINUS = "\N{MINUS SIGN}"
UNNAMED = "level"
"""The factor's name where a table of results gives it none: what its column is called."""

TODAY = " at today's mean and spread"
_ABSENT_LEVELS = ("none", "off", "no", "false")


@dataclass(frozen=True)
class Telling:
    """What the sentence needs beside the estimates."""

    scope: str
    factor: str
    reference: Scalar
    by: tuple[str, ...]
    at: tuple[At, ...]
    num_layers: tuple[int | None, ...]
    slope_axis: str
    smallest_effect: float
    equal_weights: bool
    from_search: bool
    unit: str
    look: Look | None = None
    """The planned look that the figures were read at."""
    interim: bool = False
    """Whether looks are planned and the figures belong to none of them."""
    estimand: str = EFFECT
    between: str = ""
    """What an estimand of another name compares."""

    @property
    def noun(self) -> str:
        """What the factor is called in a sentence; nothing for a table whose column is only called `level`."""
        name = self.factor.rsplit(".", maxsplit=1)[-1].replace("_", " ")
        return "" if name == UNNAMED else name

    def amount(self, value: float, *, signed: bool = True) -> str:
        """Write a figure in the unit, without its name: +2.25."""
        number = f"{100 * value:+.2f}" if self.unit == "points" else f"{value:+.3g}"
        number = number if signed else number.lstrip("+-")
        return number.replace("-", MINUS)

    def size(self, value: float, *, signed: bool = True) -> str:
        """Write a figure with the unit's name: +2.25 points."""
        return f"{self.amount(value, signed=signed)} {self.unit}".strip()


def tell(telling: Telling, overall: Sequence[Estimate], slopes: Sequence[Estimate]) -> str:
    """Return the sentence: scope, then each arm's verdict with its figures, then the estimand."""
    start = f"On {telling.scope}" if telling.scope else "In this measurement"
    start = f"Interim figures: {start[:1].lower()}{start[1:]}" if telling.interim else start
    slope_of = {slope.level: slope for slope in slopes}
    if len(overall) > 1:
        return _several(telling, start, overall, slope_of)
    (found,) = overall
    told = f"{start}, {_arm(telling, found, slope_of.get(found.level))}"
    return f"{told}." if found.mean is None else f"{told}; the figure is {_estimand(telling)}."


def _arm(telling: Telling, found: Estimate, slope: Estimate | None) -> str:
    """Tell one arm with all that its figures need: the clause of a sentence about it alone."""
    doing = _doing(telling, found.level)
    if found.verdict == UNMEASURED or found.mean is None:
        return f"{doing} is unmeasured ({found.reason})"
    figures, change = _figures(telling, found), _slope(telling, found, slope)
    if found.verdict == NO_VERDICT:
        return f"there is no verdict on {doing} ({found.reason}): {figures}"
    if is_undetermined(found.verdict):
        return f"whether {doing} helps is {found.verdict}: {figures}; {found.reason}"
    if found.verdict in (EQUIVALENT, EQUIVALENT_NOT_ZERO):
        bound = telling.size(telling.smallest_effect, signed=False)
        zero = ", and not zero" if found.verdict == EQUIVALENT_NOT_ZERO else ""
        return f"{doing} is practically equivalent to not doing so, within {bound} either way{zero}: {figures}{change}"
    return f"{doing} {found.verdict}: {figures}{change}"


def _doing(telling: Telling, level: Scalar) -> str:
    reference, noun = telling.reference, telling.noun
    if _is_absent(reference):
        return f"adding {_the(level, noun)}"
    if _is_absent(level):
        return f"removing {_the(reference, noun)}"
    return f"choosing {noun} {written(level)} instead of {written(reference)}".replace("  ", " ")


def _the(level: Scalar, noun: str) -> str:
    """Name what is there or not: `the identity shortcut`, `the shortcut`, or `identity` where the factor has no name."""
    if not noun:
        return written(level)
    return f"the {noun}" if level is True else f"the {written(level)} {noun}"


def _is_absent(level: Scalar) -> bool:
    return level is None or str(level).lower() in _ABSENT_LEVELS


def _figures(telling: Telling, found: Estimate) -> str:
    amount = telling.size(found.mean or 0.0)
    if found.interval is None:
        return f"{amount} ({_count(found.n)}, no interval)"
    return f"{amount} ({100 * found.interval.confidence:g}% interval {_range(telling, found.interval)}, {_count(found.n)})"


def _range(telling: Telling, interval: Interval) -> str:
    return f"{telling.amount(interval.low)} to {telling.amount(interval.high)}"


def _count(n: int) -> str:
    return f"{n} replicate" + ("" if n == 1 else "s")


def _slope(telling: Telling, found: Estimate, slope: Estimate | None) -> str:
    axis = "layers" if telling.slope_axis == NUM_LAYERS else telling.slope_axis.rsplit(".", maxsplit=1)[-1]
    if slope is None or slope.mean is None:
        return ""
    if slope.verdict == NO_CHANGE:
        return f", with no change shown as {axis} double"
    if slope.verdict not in (GROWS, SHRINKS):
        return ""
    grows = slope.verdict == GROWS
    change = f"{'growing' if grows else 'shrinking'} by {telling.size(slope.mean, signed=False)} with each doubling of {axis}"
    if not found.verdict.startswith("harms"):
        return f", {change}"
    # Of a difference below zero, growing is good news: say so, or it reads as the opposite.
    return f", the difference {change}, so that the harm {'lessens' if grows else 'deepens'}"


def _several(telling: Telling, start: str, overall: Sequence[Estimate], slope_of: Mapping[Scalar, Estimate]) -> str:
    """Tell several arms, a clause each; what they share is said once."""
    against = f"against {_named(telling, telling.reference)}"
    seen = [found for found in overall if found.mean is not None]
    refusals = {found.reason if found.verdict == NO_VERDICT else "" for found in seen}
    refused = refusals.pop() if len(refusals) == 1 else ""
    intervals = {(found.interval.confidence, found.n) if found.interval else None for found in seen}
    shared = intervals.pop() if len(intervals) == 1 else None
    brief = bool(shared or refused)
    clauses = "; ".join(_clause(telling, f, slope_of.get(f.level), brief=brief, refused=bool(refused)) for f in overall)
    told = f"{start}, there is no verdict ({refused}): {against}, {clauses}" if refused else f"{start}, {against}, {clauses}"
    with_interval = f" and its {100 * shared[0]:g}% interval from {_count(shared[1])}" if shared else ""
    return f"{told}; each {_estimand(telling, with_interval)}." if seen else f"{told}."


def _clause(telling: Telling, found: Estimate, slope: Estimate | None, *, brief: bool, refused: bool) -> str:
    """Tell one of several arms; the sentence says for all, where `brief`, the number of replicates and, where `refused`, the reason."""
    name = _named(telling, found.level)
    if found.verdict == UNMEASURED or found.mean is None:
        return f"{name} is unmeasured ({found.reason})"
    figures = _margin(telling, found) if brief else _figures(telling, found)
    if found.verdict == NO_VERDICT:
        return f"{name} {figures}" if refused else f"{name} has no verdict ({found.reason}): {figures}"
    if is_undetermined(found.verdict):
        return f"{name} is {found.verdict} ({found.reason.removesuffix(TODAY)}): {figures}"
    if found.verdict in (EQUIVALENT, EQUIVALENT_NOT_ZERO):
        bound = telling.size(telling.smallest_effect, signed=False)
        return f"{name} is {found.verdict} (within ±{bound}): {figures}"
    change = _slope(telling, found, slope) if slope and slope.verdict != NO_CHANGE else ""
    return f"{name} {found.verdict}: {figures}{change}"


def _margin(telling: Telling, found: Estimate) -> str:
    """Write mean and half the interval's width, which say the same in less room: +2.25 ± 0.40 points."""
    mean = telling.amount(found.mean or 0.0)
    margin = f" ± {telling.amount((found.interval.high - found.interval.low) / 2, signed=False)}" if found.interval else ""
    return f"{mean}{margin} {telling.unit}".strip()


def _named(telling: Telling, level: Scalar) -> str:
    """Name a level where several are compared: `identity`, `no shortcut`, `the shortcut`, `width 32`."""
    if telling.noun and _is_absent(level):
        return f"no {telling.noun}"
    if telling.noun and level is True:
        return f"the {telling.noun}"
    if isinstance(level, str) and level != telling.reference:
        return level
    return f"{telling.noun} {written(level)}".strip()


def _estimand(telling: Telling, with_interval: str = "") -> str:
    look = f", read at the planned look at {telling.look.replicates} replicates (alpha {telling.look.alpha})" if telling.look else ""
    name = "" if telling.estimand == EFFECT else f"the {telling.estimand}: "
    return name + _measured(telling, with_interval) + look


def _measured(telling: Telling, with_interval: str) -> str:
    between = f" {telling.between}" if telling.between else ""
    how = f"the mean paired difference{between}{with_interval} at an equal, fixed training budget"
    if telling.from_search:
        how = "the mean difference of a search's own trials"
    if len(telling.at) == 1:
        return how + (f" at {_cells(telling)}" if telling.by else "")
    weighing = "averaged evenly over" if telling.equal_weights else "averaged by the declared weights over"
    return f"{how}, {weighing} {_cells(telling)}"


def _cells(telling: Telling) -> str:
    names = [path.rsplit(".", maxsplit=1)[-1] for path in telling.by]
    if telling.slope_axis == NUM_LAYERS:
        return f"{_list([str(count) for count in telling.num_layers])} layers"
    values = _list([" x ".join(str(value) for value in cell) for cell in telling.at])
    return f"{' x '.join(names)} {values}"


def _list(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
