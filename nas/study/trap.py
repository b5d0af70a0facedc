"""Layer 4: the trap of adaptive sampling, replayed: what a search's trials say of a known effect, and what twins say.

See docs/method.md, "Why the trials of a search do not answer it".

The networks are made up: an accuracy for every architecture, and noise. A deep network gains from the shortcut, a shallow
one does not, so the sampler soon looks at deep networks with the shortcut only. A reader of its trials then compares those,
tuned, with the few plain networks of its beginning, and takes the gain of deep networks for the gain of all.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import optuna
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import stats

from nas.measuring.statistics import Floats, half_width, mean_and_sd
from nas.space import SearchOptions
from nas.study.searching.samplers import make_sampler
from nas.values.seeds import derive

QUICK, FULL = 40, 120
"""Searches behind a figure, in the quick and in the full form."""

TRIALS = 120
"""Trainings of one search; the twins get as many: half as many pairs."""

TWIN_STUDIES = 20_000

LAYERS = (8, 20, 32, 56)
BLOCKS = ("basic", "bottleneck", "preact_basic")
GAIN_WHEN_DEEP, DEEP = 0.0565, 32
EFFECT = GAIN_WHEN_DEEP * sum(layers >= DEEP for layers in LAYERS) / len(LAYERS)
"""The true effect of the shortcut, averaged evenly over depth: 2.83 points."""

NOISE_SD = 0.005

# The columns of a trial: (shortcut 0 or 1, log2 of layers, log10 of learning rate, index of block, log2 of width).
_SHORTCUT, _DEPTH, _RATE, _BLOCK, _WIDTH = range(5)

optuna.logging.set_verbosity(optuna.logging.WARNING)

Sampler = Literal["random", "tpe"]
SAMPLERS: tuple[Sampler, ...] = ("random", "tpe")
Estimator = Callable[[Floats, Floats], tuple[float, float, float]]


@dataclass(frozen=True)
class Reading:
    """What one way to read the effect says over many studies: its mean error and how often its 95% interval holds the truth.

    Biases are fractions. `bias_error` and `cover_error` are Monte-Carlo standard errors. The bounds are those of the cover.
    """

    name: str
    num_studies: int
    bias: float
    bias_error: float
    cover: float
    cover_error: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether the cover lies in its bounds."""
        return self.low <= self.cover <= self.high


def accuracy(trials: Floats) -> Floats:
    """Return the true accuracy of every trial: (..., 5) -> (...)."""
    depth = trials[..., _DEPTH]
    gain = GAIN_WHEN_DEEP * (depth >= math.log2(DEEP)) * trials[..., _SHORTCUT]
    tuning = 0.02 * (trials[..., _RATE] + 1) ** 2  # best at a learning rate of 0.1
    size = 0.004 * (trials[..., _WIDTH] - 3) + 0.004 * np.array([0.0, 1.0, -1.0])[trials[..., _BLOCK].astype(int)]
    return np.asarray(0.8 + gain - 0.006 * (depth - 3) - tuning + size)


def replay(num_searches: int = QUICK, *, seed: int = 2015) -> tuple[Reading, ...]:
    """Read the known effect off searches and off twins of the same cost; 40 searches take about twenty seconds of one core."""
    by_search = (reading for sampler in SAMPLERS for reading in _searches(sampler, num_searches, seed))
    return (*by_search, _twins(np.random.default_rng([seed, 1])))


def difference_of_means(trials: Floats, scores: Floats) -> tuple[float, float, float]:
    """Return the difference between trials with and without the shortcut and Welch's interval: (T, 5), (T,) -> three numbers."""
    with_it = trials[:, _SHORTCUT] == 1
    test = stats.ttest_ind(scores[with_it], scores[~with_it], equal_var=False)
    interval = test.confidence_interval()
    return float(scores[with_it].mean() - scores[~with_it].mean()), float(interval.low), float(interval.high)


def linear_model(trials: Floats, scores: Floats) -> tuple[float, float, float]:
    """Return the shortcut's coefficient beside all other factors, by least squares, and its interval."""
    blocks = [trials[:, _BLOCK] == index for index in range(1, len(BLOCKS))]
    columns = [trials[:, column] for column in (_SHORTCUT, _DEPTH, _RATE, _WIDTH)]
    fit = sm.OLS(scores, np.column_stack([*columns, *blocks, np.ones(len(scores))])).fit()
    low, high = fit.conf_int()[0]
    return float(fit.params[0]), float(low), float(high)


ESTIMATORS: dict[str, Estimator] = {"difference of means": difference_of_means, "linear model": linear_model}


def search(sampler: Sampler, *, seed: int) -> tuple[Floats, Floats]:
    """Run one search in memory, with the sampler that `nas search` would use: trials (T, 5) and their scores (T,)."""
    rng = np.random.default_rng(seed)
    rows: list[Floats] = []

    def objective(trial: optuna.Trial) -> float:
        rows.append(_decide(trial))
        return float(accuracy(rows[-1]) + NOISE_SD * rng.standard_normal())

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # as in the ledger
        study = optuna.create_study(direction="maximize", sampler=make_sampler(SearchOptions(sampler=sampler), seed))
        study.optimize(objective, n_trials=TRIALS)
    return np.stack(rows), np.array([trial.value for trial in study.get_trials(deepcopy=False)], dtype=np.float64)


def _decide(trial: optuna.Trial) -> Floats:
    layers = trial.suggest_categorical("layers", LAYERS)
    return np.array(
        [
            trial.suggest_categorical("shortcut", ("none", "identity")) == "identity",
            math.log2(layers),
            math.log10(trial.suggest_float("learning_rate", 0.01, 1.0, log=True)),
            BLOCKS.index(trial.suggest_categorical("block", BLOCKS)),
            math.log2(trial.suggest_int("width", 8, 32)),
        ],
        dtype=np.float64,
    )


def _searches(sampler: Sampler, num: int, seed: int) -> Iterator[Reading]:
    found = [search(sampler, seed=derive("trap", seed, index) % 2**32) for index in range(num)]
    name, low, high = ("TPE", 0.0, 0.5) if sampler == "tpe" else ("random", 0.8, 1.0)
    for estimator, read in ESTIMATORS.items():
        read_off = np.array([read(*one) for one in found])
        held = (read_off[:, 1] <= EFFECT) & (read_off[:, 2] >= EFFECT)
        yield _reading(f"{name}: {estimator}", read_off[:, 0], held, low, high)


def _twins(rng: np.random.Generator) -> Reading:
    """Measure with pairs that share every decision but the shortcut, each drawn at random, and the estimator's own interval."""
    shape = (TWIN_STUDIES, TRIALS // 2)
    without = np.stack(
        [
            np.zeros(shape),
            np.log2(rng.choice(LAYERS, shape)),
            rng.uniform(-2.0, 0.0, shape),
            rng.integers(len(BLOCKS), size=shape),
            np.log2(rng.integers(8, 33, shape)),
        ],
        axis=-1,
    )
    with_it = without.copy()
    with_it[..., _SHORTCUT] = 1
    noise = NOISE_SD * rng.standard_normal((2, *shape))
    mean, sd = mean_and_sd(accuracy(with_it) + noise[1] - accuracy(without) - noise[0])
    held = np.abs(mean - EFFECT) <= half_width(sd, shape[1])
    return _reading(f"twins, {shape[1]} pairs", mean, held, 0.94, 0.96)


def _reading(name: str, estimates: Floats, held: NDArray[np.bool_], low: float, high: float) -> Reading:
    num = held.size
    # One success and one failure more: the plain error of a share of 0 would be 0, however few the studies.
    share = (held.sum() + 1) / (num + 2)
    return Reading(
        name=name,
        num_studies=num,
        bias=float(estimates.mean() - EFFECT),
        bias_error=float(estimates.std(ddof=1) / math.sqrt(num)),
        cover=float(held.mean()),
        cover_error=math.sqrt(share * (1 - share) / num),
        low=low,
        high=high,
    )
