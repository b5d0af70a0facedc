"""Learning-rate schedules, each with a linear warm-up over the first part of the training."""

from __future__ import annotations

import math

from nas.plugin import Fraction, Schedule, plugin


def _warm(step: int, num_steps: int, warmup: float) -> tuple[float, float]:
    """Return the warm-up's factor and the share of the remaining steps that is done, in 0..1."""
    warm_steps = round(warmup * num_steps)
    if step < warm_steps:
        return (step + 1) / warm_steps, 0.0
    return 1.0, (step - warm_steps) / max(1, num_steps - warm_steps)


@plugin("constant")
class Constant(Schedule):
    """The learning rate stays, after a linear warm-up over the share `warmup` of all steps."""

    def __init__(self, *, warmup: Fraction = 0.0) -> None:
        self.warmup = warmup

    def factor(self, step: int, num_steps: int) -> float:
        """Return the factor at `step`."""
        return _warm(step, num_steps, self.warmup)[0]


@plugin("linear")
class LinearDecay(Schedule):
    """Linear warm-up over the share `warmup` of all steps, then linear decay to zero."""

    def __init__(self, *, warmup: Fraction = 0.1) -> None:
        self.warmup = warmup

    def factor(self, step: int, num_steps: int) -> float:
        """Return the factor at `step`."""
        warm, done = _warm(step, num_steps, self.warmup)
        return warm * (1 - done)


@plugin("cosine")
class Cosine(Schedule):
    """Linear warm-up, then half a cosine to zero (Loshchilov and Hutter 2017, 1608.03983, without restarts)."""

    def __init__(self, *, warmup: Fraction = 0.1) -> None:
        self.warmup = warmup

    def factor(self, step: int, num_steps: int) -> float:
        """Return the factor at `step`."""
        warm, done = _warm(step, num_steps, self.warmup)
        return warm * 0.5 * (1 + math.cos(math.pi * done))


@plugin("steps")
class Steps(Schedule):
    """Divide the rate by 1/`gamma` at each of the shares `at` of all steps; .5 and .75 is He et al. 2015's CIFAR recipe."""

    def __init__(self, *, at: tuple[Fraction, ...] = (0.5, 0.75), gamma: Fraction = 0.1, warmup: Fraction = 0.0) -> None:
        self.at, self.gamma, self.warmup = at, gamma, warmup

    def factor(self, step: int, num_steps: int) -> float:
        """Return the factor at `step`."""
        warm, _ = _warm(step, num_steps, self.warmup)
        return warm * self.gamma ** sum(step >= share * num_steps for share in self.at)
