"""Regression with a known answer: the identity, and mixtures of the identity with a fixed random function."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from nas.plugin import Count, Data, DataSet, Fraction, Positive, plugin

HIDDEN = 4  # the random function's hidden layer is so many times as wide as its input


@plugin("identity_map")
class IdentityMap(DataSet):
    """f(x) = x for normal x: easy where a network starts near the identity, hard where it has to build it (He et al. 2015, §3.1).

    Inputs and targets are standardised alike, so the identity stays the answer.
    """

    tasks: ClassVar[tuple[str, ...]] = ("regression",)

    def __init__(self, *, dimension: Count = 16, count: Count = 1000, seed: int = 0) -> None:
        self.dimension, self.count, self.seed = dimension, count, seed

    def load(self) -> Data:
        """Return inputs (count, dimension) and the same as targets."""
        x = torch.randn(self.count, self.dimension, generator=torch.Generator().manual_seed(self.seed))
        return Data(x, x.clone())


@plugin("mixture")
class Mixture(DataSet):
    """f(x) = αx + (1 − α)g(x) + noise for normal x, where g is a fixed random function of variance 1.

    g is a fully connected network with one hidden layer of tanh, whose weights `function` draws, so it stays the same when
    `seed` draws other inputs. The nearer `alpha` is to 1, the nearer f is to the identity, so the more a residual unit should
    help (He et al. 2015, §3.1).
    """

    tasks: ClassVar[tuple[str, ...]] = ("regression",)

    def __init__(
        self, *, alpha: Fraction = 0.5, dimension: Count = 16, count: Count = 1000, noise: Positive = 0.0, function: int = 0, seed: int = 0
    ) -> None:
        self.alpha, self.dimension, self.count, self.noise = alpha, dimension, count, noise
        self.function, self.seed = function, seed

    def load(self) -> Data:
        """Return inputs (count, dimension) and targets (count, dimension)."""
        generator = torch.Generator().manual_seed(self.seed)
        x = torch.randn(self.count, self.dimension, generator=generator)
        noise = self.noise * torch.randn(x.shape, generator=generator)
        return Data(x, self.alpha * x + (1 - self.alpha) * self._other(x) + noise)

    def _other(self, x: Tensor) -> Tensor:
        """The fixed random function: (N, D) -> (N, D)."""
        weights, width = torch.Generator().manual_seed(self.function), HIDDEN * self.dimension
        inner = torch.randn(self.dimension, width, generator=weights) * 2 / math.sqrt(self.dimension)
        outer = torch.randn(width, self.dimension, generator=weights)
        probe = torch.tanh(torch.randn(4096, self.dimension, generator=weights) @ inner) @ outer
        return (torch.tanh(x @ inner) @ outer - probe.mean(0)) / probe.std(0)
