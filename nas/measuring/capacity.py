"""Layer 3: a wider reference: the integer width at which a network costs as many parameters or MACs as another.

See docs/method.md, "Equal cost".
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import cast

from nas.errors import PluginError, UserError
from nas.values.architecture import Architecture, Configuration, PluginNode, write

MISMATCH_ALLOWED = 0.01
"""The share of parameters or MACs by which a matched reference may miss its target."""

WIDTHS = ("widths", "width")
"""The parameters of a network that make it wider."""

MOST_TIMES_WIDER = 64

MOST_STAGES = 4
"""Up to this many stages every neighbour of a width is tried."""


@dataclass(frozen=True)
class Match:
    """A width whose cost comes nearest to a target, and how far off it still is."""

    width: int
    cost: int
    target: int

    @property
    def mismatch(self) -> float:
        """How much more it costs than the target, as a share of the target; negative where it costs less."""
        return (self.cost - self.target) / self.target

    @property
    def close(self) -> bool:
        """Whether what is left is 1% or less."""
        return abs(self.mismatch) <= MISMATCH_ALLOWED


def matched_width(target: int, *, cost: Callable[[int], int], low: int, high: int) -> Match:
    """Find the integer width in [low, high] whose cost is nearest to `target`, by bisection.

    `cost` gives the parameters or MACs at a width and must grow with it; it is called about log2(high - low) times. Regressing
    on log-parameters instead would not do: they go hand in hand with the arm.

    Raises:
        UserError: where the range is empty or the target lies outside the costs at its ends.
    """
    if not 0 < low <= high:
        raise UserError(f"matched width: needs 0 < low <= high, got {low} and {high}")
    ends = cost(low), cost(high)
    if not ends[0] <= target <= ends[1]:
        raise UserError(f"matched width: widths {low} to {high} cost {ends[0]} to {ends[1]}, and the target is {target}; widen the range")
    below, above = Match(low, ends[0], target), Match(high, ends[1], target)
    while above.width - below.width > 1:
        middle = (below.width + above.width) // 2
        found = Match(middle, cost(middle), target)
        below, above = (found, above) if found.cost <= target else (below, found)
    return min(below, above, key=lambda match: abs(match.mismatch))


@dataclass(frozen=True)
class Widened:
    """A configuration whose network was widened to a target, the widths it has now, and how far off it still is."""

    configuration: Configuration
    widths: tuple[int, ...]
    mismatch: float


def widths_of(network: PluginNode) -> tuple[int, ...]:
    """Return the widths of a network, one a stage. Raises UserError for a network without the parameter `widths` or `width`."""
    return _widths(network)[1]


def with_widths(configuration: Configuration, widths: Sequence[int]) -> Configuration:
    """Return a configuration with the widths of its network replaced. Raises UserError as `widths_of` does."""
    network = configuration.architecture.network
    name, now = _widths(network)
    new = tuple(widths) if isinstance(network[name], tuple) else widths[0]
    assert len(widths) == len(now), "one width a stage"
    parameters = tuple((key, new if key == name else value) for key, value in network.parameters)
    return replace(configuration, architecture=Architecture(PluginNode(network.name, parameters)))


def matched_configuration(configuration: Configuration, target: int, *, cost: Callable[[Configuration], int]) -> Widened:
    """Widen a network until `cost`, its parameters or MACs, comes nearest to `target`.

    The integer that is bisected is the sum of the widths, shared out in their own proportions; where more than 1% is left, the
    widths next to those found are tried too, one up or down in each stage. Where a network cannot be built with any integer (a norm of
    groups, heads), widths in steps of 2, 4, 8 ... are tried.

    Raises:
        UserError: for a network without widths, or one that no width brings near the target.
    """
    start = widths_of(configuration.architecture.network)
    step, last = 1, None
    while step <= max(start):
        try:
            return _nearest(configuration, start, step, target, cost)
        except PluginError as error:  # this network does not take every width
            step, last = 2 * step, error
    raise UserError(f"matching {write(configuration.architecture.network)}: no other width can be built: {last}")


def _nearest(configuration: Configuration, start: tuple[int, ...], step: int, target: int, cost: Callable[[Configuration], int]) -> Widened:
    total = sum(start)

    def at(size: int) -> tuple[int, ...]:
        return tuple(max(1, round(width * size / total / step)) * step for width in start)

    def cost_at(size: int) -> int:
        return cost(with_widths(configuration, at(size)))

    high = total
    while cost_at(high) < target and high < MOST_TIMES_WIDER * total:
        high *= 2
    match = matched_width(target, cost=cost_at, low=1 if cost_at(total) > target else total, high=high)
    found = {at(match.width): match.cost}
    if not match.close:
        around = itertools.product((-step, 0, step), repeat=len(start)) if len(start) <= MOST_STAGES else ()
        for change in around:
            widths = tuple(width + by for width, by in zip(at(match.width), change, strict=True))
            if min(widths) > 0 and widths not in found:
                found[widths] = cost(with_widths(configuration, widths))
    widths = min(found, key=lambda w: abs(found[w] - target))
    return Widened(with_widths(configuration, widths), widths, (found[widths] - target) / target)


def _widths(network: PluginNode) -> tuple[str, tuple[int, ...]]:
    for name, value in network.parameters:
        if name in WIDTHS and value is not None:
            return name, cast("tuple[int, ...]", value if isinstance(value, tuple) else (value,))
    raise UserError(
        f"match: network '{network.name}' has neither `widths` nor `width`, so no wider reference of it can be made; leave `match:` out"
    )
