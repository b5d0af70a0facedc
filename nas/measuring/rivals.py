"""Layer 3: other ways to test a mean, as the self-check shows why they are not used. Nothing else calls them.

See docs/method.md, "What is estimated".
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nas.measuring.statistics import Floats, mean_and_sd, t_p_value

Flags = NDArray[np.bool_]

RESAMPLES = 800


def pooled_t_rejects(values: Floats) -> Flags:
    """Say where a t test over all K x seeds values, as if they were independent, rejects: (S, K, seeds) -> (S,)."""
    flat = values.reshape(len(values), -1)
    return np.asarray(t_p_value(*mean_and_sd(flat), flat.shape[-1]) < 0.05)


def mixed_model_rejects(values: Floats) -> Flags:
    """Say where Wald's z of a model with random replicates, fitted by REML, rejects: (S, K, seeds) -> (S,).

    With equally many seeds in each replicate the fit has a closed form: the error of the grand mean comes from the mean
    square between replicates, or from the pooled one where the variance between is estimated as zero (Searle, Casella and
    McCulloch, Variance Components, 1992, §3.8).
    """
    _, k, seeds = values.shape
    means = values.mean(axis=-1)
    grand = means.mean(axis=-1)
    between = seeds * ((means - grand[:, None]) ** 2).sum(axis=-1)
    within = ((values - means[..., None]) ** 2).sum(axis=(-1, -2))
    square = np.where(between / (k - 1) > within / (k * (seeds - 1)), between / (k - 1), (between + within) / (k * seeds - 1))
    return np.asarray(np.abs(grand) / np.sqrt(square / (k * seeds)) > 1.959964)


def bootstrap_covers(values: Floats, rng: np.random.Generator) -> Flags:
    """Say where the 95% percentile bootstrap of the mean holds zero: (S, K) -> (S,).

    The resamples are shared by the rows of a block, which saves most of the time. Each row's interval is a proper one; rows
    err alike, so a share over few blocks is a little less certain than its Monte-Carlo error says.
    """
    k = values.shape[-1]
    counts = rng.multinomial(k, np.full(k, 1 / k), size=RESAMPLES)
    means = values.astype(np.float32) @ (counts.T / k).astype(np.float32)
    # The limits hold zero where neither 2.5% tail of the resampled means lies wholly on one side of it.
    tail = math.ceil(0.025 * RESAMPLES)
    below, above = (means < 0).sum(axis=-1), (means > 0).sum(axis=-1)
    return np.asarray((below <= RESAMPLES - tail) & (above <= RESAMPLES - tail))
