"""Layer 3: what is left of an effect beside a reference of equal size: the three contrasts of METHOD §7."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.errors import UserError
from nas.measuring.estimates import estimate
from nas.values.domains import Scalar
from nas.values.effects import Effects, Result

MISMATCH_ALLOWED = 0.01
"""The share of parameters or MACs by which a matched reference may miss its target."""


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


def capacity_contrasts(results: Sequence[Result], *, level: Scalar, references: Mapping[str, Scalar], **how: Any) -> dict[str, Effects]:
    """Estimate one arm against each reference: `{"total": "none", "parameter-matched": "none, wider", ...}`.

    Each contrast is an estimate of its own with its own Holm family; what mismatch is left in parameters and MACs stands in
    its cells. `how` is passed on to `estimate`. Raises UserError as `estimate` does.
    """
    return {
        name: estimate([r for r in results if r.level in (level, reference)], reference=reference, levels=[level], **how)
        for name, reference in references.items()
    }
