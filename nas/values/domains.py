"""Layer 1: what values a decision may take."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

Scalar = bool | int | float | str | None


@dataclass(frozen=True)
class Choices:
    """A finite set of labels: scalars as they stand, plugin nodes and lists by their written form."""

    labels: tuple[Scalar, ...]

    def contains(self, value: Scalar) -> bool:
        """Say whether `value` is one of the labels, telling `True` from `1`."""
        return any(value == label and type(value) is type(label) for label in self.labels)

    def draw(self, rng: random.Random) -> Scalar:
        """Draw a label uniformly."""
        return rng.choice(self.labels)

    @property
    def size(self) -> float:
        """The number of labels."""
        return len(self.labels)

    def __str__(self) -> str:
        return "{" + ", ".join(str(label) for label in self.labels) + "}"


@dataclass(frozen=True)
class IntRange:
    """The integers low, low + step, … up to and including high."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    def contains(self, value: Scalar) -> bool:
        """Say whether `value` is an integer of the range."""
        return (
            isinstance(value, int)
            and not isinstance(value, bool)
            and self.low <= value <= self.high
            and (value - self.low) % self.step == 0
        )

    def draw(self, rng: random.Random) -> int:
        """Draw an integer, uniformly or (log) uniformly in its logarithm."""
        if self.log:
            drawn = math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5)))
            return min(max(round(drawn), self.low), self.high)
        return rng.randrange(self.low, self.high + 1, self.step)

    @property
    def size(self) -> float:
        """The number of integers in the range."""
        return (self.high - self.low) // self.step + 1

    def __str__(self) -> str:
        step = f" step {self.step}" if self.step != 1 else ""
        return f"{self.low}..{self.high}{step}{' (log)' if self.log else ''}"


@dataclass(frozen=True)
class FloatRange:
    """The real numbers from low to high, both included."""

    low: float
    high: float
    log: bool = False

    def contains(self, value: Scalar) -> bool:
        """Say whether `value` is a number of the range."""
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def draw(self, rng: random.Random) -> float:
        """Draw a number, uniformly or (log) uniformly in its logarithm."""
        if self.log:
            return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return rng.uniform(self.low, self.high)

    @property
    def size(self) -> float:
        """Infinite."""
        return math.inf

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}{' (log)' if self.log else ''}"


Domain = Choices | IntRange | FloatRange
