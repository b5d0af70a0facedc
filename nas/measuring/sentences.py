"""Layer 3: estimates → one sentence of verdict that names its scope and its estimand (METHOD §10)."""

from __future__ import annotations

from collections.abc import Sequence
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
from nas.values.domains import Scalar
from nas.values.effects import Estimate

MINUS = "\N{MINUS SIGN}"
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

    def amount(self, value: float, *, signed: bool = True) -> str:
        """Write a figure in the unit, without its name: +2.25."""
        number = f"{100 * value:+.2f}" if self.unit == "points" else f"{value:+.3g}"
        number = number if signed else number.lstrip("+-")
        return number.replace("-", MINUS)


def tell(telling: Telling, overall: Sequence[Estimate], slopes: Sequence[Estimate]) -> str:
    """Return the sentence: scope, then each arm's verdict with its figures, then the estimand."""
    start = f"On {telling.scope}" if telling.scope else "In this measurement"
    slope_of = {slope.level: slope for slope in slopes}
    arms = "; ".join(_arm(telling, found, slope_of.get(found.level)) for found in overall)
    if all(found.mean is None for found in overall):
        return f"{start}, {arms}."
    figures = "the figure is" if len(overall) == 1 else "each figure is"
    return f"{start}, {arms}; {figures} {_estimand(telling)}."


def _arm(telling: Telling, found: Estimate, slope: Estimate | None) -> str:
    doing = _doing(telling, found.level)
    if found.verdict == UNMEASURED or found.mean is None:
        return f"{doing} is unmeasured ({found.reason})"
    figures = _figures(telling, found)
    if found.verdict == NO_VERDICT:
        return f"there is no verdict on {doing} ({found.reason}): {figures}"
    if is_undetermined(found.verdict):
        return f"whether {doing} helps is {found.verdict}: {figures}; {found.reason}"
    if found.verdict in (EQUIVALENT, EQUIVALENT_NOT_ZERO):
        bound = f"{telling.amount(telling.smallest_effect, signed=False)} {telling.unit}"
        zero = ", and not zero" if found.verdict == EQUIVALENT_NOT_ZERO else ""
        return f"{doing} is practically equivalent to not doing so, within {bound} either way{zero}: {figures}{_slope(telling, slope)}"
    return f"{doing} {found.verdict}: {figures}{_slope(telling, slope)}"


def _doing(telling: Telling, level: Scalar) -> str:
    noun = telling.factor.rsplit(".", maxsplit=1)[-1].replace("_", " ")
    if _is_absent(telling.reference):
        return f"adding the {noun}" if level is True else f"adding the {level} {noun}"
    if _is_absent(level):
        return f"removing the {noun}" if telling.reference is True else f"removing the {telling.reference} {noun}"
    return f"choosing {noun} {level} instead of {telling.reference}"


def _is_absent(level: Scalar) -> bool:
    return level is None or str(level).lower() in _ABSENT_LEVELS


def _figures(telling: Telling, found: Estimate) -> str:
    count = f"{found.n} replicate" + ("" if found.n == 1 else "s")
    amount = f"{telling.amount(found.mean or 0.0)} {telling.unit}".strip()
    if found.interval is None:
        return f"{amount} ({count}, no interval)"
    low, high = telling.amount(found.interval.low), telling.amount(found.interval.high)
    return f"{amount} ({100 * found.interval.confidence:g}% interval {low} to {high}, {count})"


def _slope(telling: Telling, slope: Estimate | None) -> str:
    axis = "layers" if telling.slope_axis == NUM_LAYERS else telling.slope_axis.rsplit(".", maxsplit=1)[-1]
    if slope is None or slope.mean is None:
        return ""
    if slope.verdict == NO_CHANGE:
        return f", with no change shown as {axis} double"
    if slope.verdict not in (GROWS, SHRINKS):
        return ""
    verb = "growing" if slope.verdict == GROWS else "shrinking"
    return f", {verb} by {telling.amount(slope.mean, signed=False)} {telling.unit} with each doubling of {axis}"


def _estimand(telling: Telling) -> str:
    how = (
        "the mean difference of a search's own trials"
        if telling.from_search
        else ("the mean paired difference at an equal, fixed training budget")
    )
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
