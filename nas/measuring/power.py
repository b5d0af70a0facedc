"""Layer 3: what a number of replicates can detect, and how many an effect needs (docs/method.md, "How many replicates")."""

from __future__ import annotations

import math

from scipy.optimize import brentq
from statsmodels.stats.power import TTestPower

from nas.errors import UserError

POWER = 0.8
MODES: dict[str, int] = {"smoke": 3, "standard": 10, "publication": 20}
"""Replicates of each mode; smoke is too few for a verdict."""

_MOST_REPLICATES = 1_000_000


def power_of(ratio: float, num_replicates: int, *, alpha: float = 0.05) -> float:
    """Return the power of the two-sided t test, exact through the noncentral t.

    `ratio` is the true effect over the standard deviation of the replicates' differences.
    """
    power = float(TTestPower().power(abs(ratio), num_replicates, alpha, alternative="two-sided"))
    return 1.0 if math.isnan(power) else power  # the noncentral t overflows only where the power is 1 to 12 digits


def detectable(num_replicates: int, *, power: float = POWER, alpha: float = 0.05) -> float:
    """Return the smallest effect, in standard deviations of the differences, that is found with probability `power`.

    Raises:
        UserError: with fewer than two replicates, which have no spread.
    """
    if num_replicates < 2:
        raise UserError(f"power: needs 2 or more replicates, got {num_replicates}; one replicate shows no spread")
    high = 1.0
    while power_of(high, num_replicates, alpha=alpha) < power:
        high *= 2
    return float(brentq(lambda ratio: power_of(ratio, num_replicates, alpha=alpha) - power, 0.0, high, xtol=1e-10))


def replicates_needed(ratio: float, *, power: float = POWER, alpha: float = 0.05) -> int:
    """Return the smallest number of replicates that finds an effect of `ratio` sds with probability `power`.

    Raises:
        UserError: where the ratio is zero, not finite, or so small that a million replicates would not do.
    """
    if not math.isfinite(ratio) or ratio == 0:
        raise UserError(f"power: the effect over its sd must be finite and not zero, got {ratio}")
    high = 2
    while power_of(ratio, high, alpha=alpha) < power:
        high *= 2
        if high > _MOST_REPLICATES:
            raise UserError(f"power: an effect of {ratio:g} sds needs more than {_MOST_REPLICATES} replicates")
    low = max(2, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power_of(ratio, middle, alpha=alpha) >= power else (middle + 1, high)
    return high
