"""Layer 1: what values a decision may take."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

Scalar = bool | int | float | str | None
Setting = Scalar | Sequence[Scalar]
"""What a decision may be set to from outside: a scalar, its text, or a list among its choices."""


def written(value: Scalar) -> str:
    """Write a scalar as a space file does: `true`, `null`, `-6`, `0.03`; a float with as many digits as tell it apart."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


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
    def first(self) -> Scalar:
        """The label that stands first."""
        return self.labels[0]

    @property
    def size(self) -> float:
        """The number of labels."""
        return len(self.labels)

    def __str__(self) -> str:
        return "{" + ", ".join(written(label) for label in self.labels) + "}"


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
    def first(self) -> int:
        """The low end."""
        return self.low

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
        drawn = math.exp(rng.uniform(math.log(self.low), math.log(self.high))) if self.log else rng.uniform(self.low, self.high)
        return min(max(drawn, self.low), self.high)  # exp(log(x)) may miss x by the last bit

    @property
    def first(self) -> float:
        """The low end."""
        return self.low

    @property
    def size(self) -> float:
        """Infinite, but for a range that is one number."""
        return 1 if self.low == self.high else math.inf

    def __str__(self) -> str:
        return f"{written(self.low)}..{written(self.high)}{' (log)' if self.log else ''}"


Domain = Choices | IntRange | FloatRange
