"""Layer 3: the estimator checked against data whose truth is known (docs/method.md, "Known answers").

Every figure comes from the same functions that `estimate` uses, over many simulated measurements at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas.measuring.power import MODES, POWER, detectable, replicates_needed
from nas.measuring.rivals import bootstrap_covers, mixed_model_rejects, pooled_t_rejects
from nas.measuring.slopes import slope_weights
from nas.measuring.statistics import Floats, clopper_pearson_low, half_width, holm, mean_and_sd, t_p_value
from nas.values.effects import LOOKS

QUICK, FULL = 100_000, 1_000_000
"""Simulated measurements behind a figure, in the quick and in the full form."""

DEPTHS = (8, 20, 32, 56)
GAINS = (0.0, 0.01, 0.02, 0.06)
SHIFT_SD, SLOPE_SD, NOISE_SD = 0.01, 0.005, 0.012
Flags = NDArray[np.bool_]

NOISES: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Floats]] = {
    "normal": lambda rng, shape: rng.standard_normal(shape),
    "t3": lambda rng, shape: rng.standard_t(3, shape) / math.sqrt(3.0),  # heavy tails, scaled to a sd of 1
}

_BLOCK = 20_000  # measurements at once: bounds the memory of the full form


@dataclass(frozen=True)
class Figure:
    """One simulated share with its Monte-Carlo standard error and the bounds it must lie in."""

    name: str
    setting: str
    value: float
    error: float
    low: float
    high: float

    @property
    def holds(self) -> bool:
        """Whether the share lies in its bounds."""
        return self.low <= self.value <= self.high

    def __str__(self) -> str:
        mark = "ok" if self.holds else "OUT OF BOUNDS"
        return f"{self.name} ({self.setting}): {self.value:.4f} ± {self.error:.4f} in [{self.low:g}, {self.high:g}] {mark}"


def run_simulations(*, quick: bool = True, seed: int = 2015) -> tuple[Figure, ...]:
    """Run every simulation; the quick form takes about ten seconds of one core, the full one some minutes."""
    num = QUICK if quick else FULL
    parts = (covers, nulls, powers, failures, peeking, pooled, bootstraps)
    return tuple(figure for index, part in enumerate(parts) for figure in part(num, np.random.default_rng([seed, index])))


def covers(num: int, rng: np.random.Generator) -> Iterator[Figure]:
    """Yield how often the intervals of theta, beta and of all theta_d at once hold the truth, and the mean of theta."""
    weights, slopes = _contrasts()
    truth = np.array(GAINS)
    for noise in NOISES:
        for k in (6, 10, 20):
            hits: list[Flags] = []
            for block in _blocks(num):
                differences = draw(rng, block, num_replicates=k, noise=noise, gains=GAINS)
                theta, beta = differences @ weights, differences @ slopes
                at_each = np.moveaxis(differences, -1, -2)
                hits.append(
                    np.stack(
                        [
                            _held(theta, truth @ weights),
                            _held(beta, truth @ slopes),
                            _held(at_each, truth, simultaneous=len(DEPTHS)).all(axis=-1),
                        ]
                    )
                )
            found = np.concatenate(hits, axis=1)
            setting = f"{noise} noise, {k} replicates"
            yield _figure("theta covered", setting, found[0], 0.94, 0.96)
            yield _figure("beta covered", setting, found[1], 0.94, 0.96)
            yield _figure("all theta_d covered at once", setting, found[2], 0.94, 0.97)


def nulls(num: int, rng: np.random.Generator) -> Iterator[Figure]:
    """Yield how often an effect is seen where there is none: theta, beta, and any of both in two arms after Holm."""
    weights, slopes = _contrasts()
    for noise in NOISES:
        for k in (6, 10, 20):
            rejections: list[Flags] = []
            for block in _blocks(num):
                arms = [draw(rng, block, num_replicates=k, noise=noise)]
                # Twins share their reference: the second arm's differences are correlated with the first's by one half.
                arms.append(0.5 * arms[0] + math.sqrt(0.75) * draw(rng, block, num_replicates=k, noise=noise))
                p = np.stack([_p(arm @ contrast) for arm in arms for contrast in (weights, slopes)], axis=-1)
                family = (holm(p) < 0.05).any(axis=-1)
                rejections.append(np.stack([p[:, 0] < 0.05, p[:, 1] < 0.05, family]))
            found = np.concatenate(rejections, axis=1)
            setting = f"no effect, {noise} noise, {k} replicates"
            yield _figure("theta rejected", setting, found[0], 0.044, 0.056)
            yield _figure("beta rejected", setting, found[1], 0.044, 0.056)
            yield _figure("any of two arms rejected after Holm", setting, found[2], 0.0, 0.05)


def powers(num: int, rng: np.random.Generator) -> Iterator[Figure]:
    """Yield how often true effects are seen, with the replicates that `power` asks for and at what it calls detectable."""
    for ratio in (0.5, 0.75, 1.0, 1.5, 2.0):
        k = replicates_needed(ratio)
        rejected = [_p(rng.standard_normal((block, k)) + ratio) < 0.05 for block in _blocks(num)]
        yield _figure("effect found", f"{ratio:g} sd, {k} replicates", np.concatenate(rejected), POWER - 0.01, 1.0)
    for k in sorted({*MODES.values(), 5}):
        ratio = detectable(k)
        rejected = [_p(rng.standard_normal((block, k)) + ratio) < 0.05 for block in _blocks(num)]
        setting = f"{ratio:.2f} sd, {k} replicates"
        yield _figure("detectable effect found", setting, np.concatenate(rejected), POWER - 0.01, POWER + 0.01)


def failures(num: int, rng: np.random.Generator) -> Iterator[Figure]:
    """Yield what 15% diverging trainings do to the t interval, and to false verdicts with and without the rule of §6."""
    share, drop, sd = 0.15, 0.6, 0.02
    for k, told in ((5, 0.56), (10, 0.80), (20, 0.94)):
        held = []
        for block in _blocks(num):
            differences = sd * rng.standard_normal((block, k)) - drop * (rng.random((block, k)) < share)
            held.append(_held(differences, -drop * share))
        setting = f"15% diverge in one arm, {k} replicates"
        yield _figure("theta covered by t alone", setting, np.concatenate(held), told - 0.03, told + 0.03)
    for k in (6, 10, 20):
        wrong: list[Flags] = []
        for block in _blocks(num):
            diverged = rng.random((2, block, k)) < share
            differences = sd * rng.standard_normal((block, k)) + drop * (diverged[1].astype(float) - diverged[0])
            by_t = _p(differences) < 0.05
            wrong.append(np.stack([by_t, by_t & (_one_sided(differences) | ~diverged.any(axis=(0, 2)))]))
        found = np.concatenate(wrong, axis=1)
        setting = f"15% diverge in both arms, no effect, {k} replicates"
        yield _figure("effect claimed by t alone", setting, found[0], 0.0, 0.056)
        yield _figure("effect claimed with the rule for failures", setting, found[1], 0.0, 0.056)


def peeking(num: int, rng: np.random.Generator) -> Iterator[Figure]:
    """Yield the type I error of a peek after every replicate from 3 to 10, and of the two planned looks."""
    often, planned = [], []
    for block in _blocks(num):
        values = rng.standard_normal((block, LOOKS[-1][0]))
        often.append(np.any([_p(values[:, :k]) < 0.05 for k in range(3, 11)], axis=0))
        planned.append(np.any([_p(values[:, :k]) < alpha for k, alpha in LOOKS], axis=0))
    yield _figure("no effect rejected at some peek", "after each of 3 to 10 replicates", np.concatenate(often), 0.153, 0.183)
    yield _figure("no effect rejected at some planned look", "10 and 20 replicates", np.concatenate(planned), 0.044, 0.056)


def pooled(num: int, rng: np.random.Generator) -> Iterator[Figure]:
    """Yield type I errors of four ways to treat several seeds a replicate: only the replicate mean's t keeps 5%.

    Replicates and seeds vary equally much (an intraclass correlation of one half).
    """
    for k, seeds, told in ((4, 5, (0.278, 0.197, 0.134)), (12, 3, (0.168, 0.092, 0.075))):
        wrong: list[Flags] = []
        for block in _blocks(num):
            values = rng.standard_normal((block, k, 1)) + rng.standard_normal((block, k, seeds))
            means = values.mean(axis=-1)
            by_bootstrap = ~bootstrap_covers(means, rng)
            wrong.append(np.stack([_p(means) < 0.05, pooled_t_rejects(values), by_bootstrap, mixed_model_rejects(values)]))
        found = np.concatenate(wrong, axis=1)
        setting = f"no effect, {k} replicates of {seeds} seeds"
        yield _figure("t of replicate means rejects", setting, found[0], 0.044, 0.056)
        names = ("pooled t", "cluster bootstrap", "mixed model, Wald")
        for name, shares, value in zip(names, found[1:], told, strict=True):
            yield _figure(f"{name} rejects", setting, shares, value - 0.03, value + 0.03)


def bootstraps(num: int, rng: np.random.Generator) -> Iterator[Figure]:
    """Yield how often t and the percentile bootstrap cover the mean of a few normal values."""
    for k, told in ((3, 0.756), (5, 0.836), (10, 0.896)):
        held: list[Flags] = []
        for block in _blocks(num):
            values = rng.standard_normal((block, k))
            held.append(np.stack([_held(values, 0.0), bootstrap_covers(values, rng)]))
        found = np.concatenate(held, axis=1)
        yield _figure("mean covered by t", f"{k} values", found[0], 0.94, 0.96)
        yield _figure("mean covered by percentile bootstrap", f"{k} values", found[1], told - 0.02, told + 0.02)


def draw(rng: np.random.Generator, num: int, *, num_replicates: int, noise: str, gains: tuple[float, ...] = (0.0,) * len(DEPTHS)) -> Floats:
    """Draw differences as docs/method.md, "Known answers", has them: (num, replicates, depths).

    A gain a depth, and in each replicate a common shift and a slope in log2 depth, both of the differences, and noise.
    """
    x = np.log2(np.array(DEPTHS))
    shift = SHIFT_SD * rng.standard_normal((num, num_replicates, 1))
    slope = SLOPE_SD * rng.standard_normal((num, num_replicates, 1)) * (x - x.mean())
    return np.asarray(np.array(gains) + shift + slope + NOISE_SD * NOISES[noise](rng, (num, num_replicates, len(DEPTHS))))


def _contrasts() -> tuple[Floats, Floats]:
    return np.full(len(DEPTHS), 1 / len(DEPTHS)), slope_weights([math.log2(depth) for depth in DEPTHS])


def _p(values: Floats) -> Floats:
    return np.asarray(t_p_value(*mean_and_sd(values), values.shape[-1]))


def _held(values: Floats, truth: Floats | float, *, simultaneous: int = 1) -> Flags:
    mean, sd = mean_and_sd(values)
    return np.asarray(np.abs(mean - truth) <= half_width(sd, values.shape[-1], alpha=0.05 / simultaneous))


def _one_sided(values: Floats) -> Flags:
    """Say where the exact lower limit of the share of replicates on the mean's side is above one half."""
    side = (np.sign(values) == np.sign(values.mean(axis=-1))[:, None]).sum(axis=-1)
    n = values.shape[-1]
    return np.asarray(np.array([clopper_pearson_low(count, n) > 0.5 for count in range(n + 1)])[side])


def _blocks(num: int) -> Iterator[int]:
    for start in range(0, num, _BLOCK):
        yield min(_BLOCK, num - start)


def _figure(name: str, setting: str, hits: Flags, low: float, high: float) -> Figure:
    share = float(hits.mean())
    return Figure(name, setting, share, math.sqrt(share * (1 - share) / hits.size), low, high)
