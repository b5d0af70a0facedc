"""Layer 3: the textbook pieces an effect is made of: t, sign-flip, McNemar, binomial intervals, Holm.

See docs/method.md, "Interval and test".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from nas.values.effects import Interval

Floats = NDArray[np.float64]

EXACT_UP_TO = 15
"""Up to this many replicates the sign-flip test walks through all 2^K sign patterns."""

FLIPS = 20_000
"""Above `EXACT_UP_TO` it draws this many patterns instead."""

_FLIP_SEED = 20_231


def mean_and_sd(values: Floats) -> tuple[Floats, Floats]:
    """Return mean and sample standard deviation over the last axis: (..., K) -> (...), (...). Needs K of 2 or more."""
    return np.asarray(values.mean(axis=-1)), np.asarray(values.std(axis=-1, ddof=1))


@lru_cache(maxsize=4096)
def t_quantile(n: int, alpha: float) -> float:
    """Return t(1 - alpha/2) with n - 1 degrees of freedom."""
    return float(scipy.stats.t.ppf(1 - alpha / 2, n - 1))


def half_width(sd: Floats | float, n: int, *, alpha: float = 0.05) -> Any:
    """Return half the width of the t interval at error rate `alpha`, of the shape of `sd`."""
    return t_quantile(n, alpha) * sd / math.sqrt(n)


def t_p_value(mean: Floats | float, sd: Floats | float, n: Any) -> Any:
    """Return the two-sided p of Student's t against zero; arguments broadcast. `sd` must be above zero."""
    return 2 * scipy.stats.t.sf(np.abs(mean) / (sd / np.sqrt(n)), np.asarray(n) - 1)


def t_interval(values: Sequence[float] | Floats, *, confidence: float = 0.95) -> Interval:
    """Return Student's interval of the mean of two or more values."""
    row = np.asarray(values, dtype=np.float64)
    mean, sd = mean_and_sd(row)
    half = half_width(float(sd), row.size, alpha=1 - confidence)
    return Interval(float(mean - half), float(mean + half), confidence)


def sign_flip_p(values: Sequence[float] | Floats, *, alternative: Literal["two-sided", "greater"] = "two-sided") -> float:
    """Return the p of Fisher's sign-flip test of the mean (The Design of Experiments, 1935, §21).

    All 2^K patterns up to K = 15; above that 20,000 random ones, p = (1 + b) / (1 + B), so that p is never 0. The draws
    are seeded: equal values give equal p. Needs two or more values.
    """
    row = np.sort(np.asarray(values, dtype=np.float64))  # sorted, so that the order of replicates moves no draw

    def mean(flipped: Floats, axis: int) -> Floats:
        return np.asarray(flipped.mean(axis=axis))

    def distance(flipped: Floats, axis: int) -> Floats:
        return np.abs(mean(flipped, axis))

    test = scipy.stats.permutation_test(
        (row,),
        distance if alternative == "two-sided" else mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=2**row.size if row.size <= EXACT_UP_TO else FLIPS,
        alternative="greater",
        rng=np.random.default_rng(_FLIP_SEED),
    )
    return float(test.pvalue)


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Return Holm's adjusted p-values over the last axis: (..., m) -> (..., m) (Holm 1979)."""
    # Not statsmodels' multipletests: it takes one row a call and collects all of Python's garbage in each (0.1 s).
    rows = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(rows, axis=-1, kind="stable")
    steps = np.arange(rows.shape[-1], 0, -1)  # the smallest of m p-values times m, the next times m - 1, ...
    stepped = np.maximum.accumulate(np.take_along_axis(rows, order, axis=-1) * steps, axis=-1)
    adjusted = np.empty_like(rows)
    np.put_along_axis(adjusted, order, np.minimum(stepped, 1.0), axis=-1)
    return adjusted


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a share (Wilson 1927)."""
    found = scipy.stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Interval(float(found.low), float(found.high), confidence)


def clopper_pearson(successes: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Return the exact interval of a share (Clopper and Pearson 1934)."""
    found = scipy.stats.binomtest(successes, n).proportion_ci(confidence, method="exact")
    return Interval(float(found.low), float(found.high), confidence)


@lru_cache(maxsize=4096)
def clopper_pearson_low(successes: float, n: float, *, alpha: float = 0.05) -> float:
    """Return the lower limit of `clopper_pearson`, through the beta quantile that allows fractional counts.

    Fractions occur where today's share is carried over to another number of replicates.
    """
    return float(scipy.stats.beta.ppf(alpha / 2, successes, n - successes + 1)) if successes > 0 else 0.0


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p of McNemar's test from the two counts of discordant pairs; 1 without any."""
    discordant = only_first + only_second
    return float(scipy.stats.binomtest(only_first, discordant).pvalue) if discordant else 1.0


def newcombe_paired(*, both: int, only_first: int, only_second: int, neither: int, confidence: float = 0.95) -> Interval:
    """Return the interval of the difference of two paired shares, first minus second.

    Method 10 of Newcombe, Statistics in Medicine 17 (1998) 2635-2650: Wilson limits of both shares, squared and added,
    less what their correlation explains.
    """
    n = both + only_first + only_second + neither
    share_1, share_2 = (both + only_first) / n, (both + only_second) / n
    ci_1 = wilson(both + only_first, n, confidence=confidence)
    ci_2 = wilson(both + only_second, n, confidence=confidence)
    phi = _corrected_phi(both, only_first, only_second, neither)

    def reach(first: float, second: float) -> float:
        return math.sqrt(max(0.0, first**2 - 2 * phi * first * second + second**2))

    difference = (only_first - only_second) / n
    low = difference - reach(share_1 - ci_1.low, ci_2.high - share_2)
    high = difference + reach(ci_1.high - share_1, share_2 - ci_2.low)
    return Interval(max(-1.0, low), min(1.0, high), confidence)


def _corrected_phi(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Return the correlation of a 2 x 2 table; a positive one is first lessened by n/2, as Newcombe's method asks."""
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    cross = both * neither - only_first * only_second
    half_n = (both + only_first + only_second + neither) / 2
    return (max(cross - half_n, 0.0) if cross > 0 else cross) / math.sqrt(margins)
