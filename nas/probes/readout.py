"""Layer 3: what a linear readout recovers: ridge regression from features of any width, its strength chosen on held-out data."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STRENGTHS = tuple(10.0**power for power in range(-6, 3))


@dataclass(frozen=True)
class Readout:
    """A ridge readout from features to targets: `predictions` for the examples that it is judged by, (N, T)."""

    predictions: Tensor
    strength: float


def ridge(train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], test: Tensor) -> Readout:
    """Fit targets (N, T) linearly to features (N, D), with an intercept; predict for the features `test`.

    It works in the examples' space (N×N), so the features may be wide. The strength, in units of the mean squared feature
    norm, is the one of `STRENGTHS` that fits `val` best.
    """
    mean, targets_mean = train[0].double().mean(0), train[1].double().mean(0)
    features, targets = train[0].double() - mean, train[1].double() - targets_mean
    kernel = features @ features.T
    values, vectors = torch.linalg.eigh(kernel)
    scale = float(kernel.diagonal().mean()) or 1.0
    rotated = vectors.T @ targets
    towards = {"val": (val[0].double() - mean) @ features.T @ vectors, "test": (test.double() - mean) @ features.T @ vectors}

    def predicted(part: str, strength: float) -> Tensor:
        found: Tensor = towards[part] @ (rotated / (values.clamp_min(0) + strength * scale)[:, None]) + targets_mean
        return found

    def misfit(strength: float) -> float:
        return float((predicted("val", strength) - val[1]).square().sum())

    best = min(STRENGTHS, key=misfit)
    return Readout(predicted("test", best), best)


def explained(targets: Tensor, predictions: Tensor) -> float:
    """Return the share of the targets' variance that predictions explain, over all columns together: 1 is all, 0 is the mean."""
    left = (targets - predictions).square().sum()
    return float(1 - left / (targets - targets.mean(0)).square().sum().clamp_min(torch.finfo(torch.float64).tiny))
