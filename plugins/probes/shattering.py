"""Shattered gradients: how alike the gradients at neighbouring inputs are."""

from __future__ import annotations

import torch
from torch import Tensor

from nas.plugin import Count, Figure, Moment, Network, Probe, Reading, Subject, plugin
from nas.probes import recompute_batch_norm


@plugin("shattering")
class Shattering(Probe):
    """The autocorrelation of the input's gradient along straight lines between examples (Balduzzi et al. 2017, 1702.08591, §2).

    Each of `lines` lines joins two training examples by `points` steps; at each point the gradient of a random projection of
    the outputs by the input is taken, and gradients `lag` points apart are correlated: Σ(g_t − ḡ)·(g_{t+lag} − ḡ), over
    Σ‖g_t − ḡ‖². White noise gives about 0. In plain networks it falls like 2^−L with L layers, in residual ones with batch
    norm like L^−½. Batch-norm statistics are those of training examples, so that points do not see each other.
    """

    figures = (
        Figure("correlation_start", "the correlation at `lag` before the training", "maximize"),
        Figure("correlation", "the correlation at `lag` after the training", "maximize"),
    )
    series = (
        Figure("by_lag_start", "the correlation at lags 0, 1, 2 … up to 2·`lag`, before the training"),
        Figure("by_lag", "the same after the training"),
    )

    def __init__(self, *, lag: Count = 4, points: Count = 64, lines: Count = 4, statistics: Count = 256) -> None:
        if points <= 2 * lag:
            raise ValueError(f"points must be more than twice the lag, {lag}, got {points}")
        self.lag, self.points, self.lines, self.num_statistics = lag, points, lines, statistics

    @property
    def at(self) -> tuple[Moment, ...]:
        """The start."""
        return ("start",)

    def measure(self, subject: Subject) -> Reading:
        """Take gradients along lines at the start and at the end."""
        ends = subject.examples("train", 2 * self.lines).inputs
        statistics = subject.examples("train", self.num_statistics).inputs
        share = torch.linspace(0, 1, self.points, dtype=ends.dtype, device=ends.device).reshape(-1, *(1 for _ in ends.shape[1:]))
        lines = [one + share * (other - one) for one, other in zip(ends[::2], ends[1::2], strict=False)]
        figures: dict[str, float] = {}
        series: dict[str, tuple[float, ...]] = {}
        moments: tuple[tuple[Moment, str], ...] = (("start", "_start"), ("end", ""))
        for moment, suffix in moments:
            if moment not in subject.moments:
                continue
            network = subject.network(moment)
            if moment == "start":
                recompute_batch_norm(network, statistics)
            by_line = [autocorrelation(self._gradients(network, line, subject), 2 * self.lag) for line in lines]
            series[f"by_lag{suffix}"] = tuple(torch.stack(by_line).mean(0).tolist())
            figures[f"correlation{suffix}"] = series[f"by_lag{suffix}"][self.lag]
        words = f"gradients {self.lag} of {self.points} points apart correlate by {figures['correlation']:.2f}"
        if "correlation_start" in figures:
            words += f", before the training by {figures['correlation_start']:.2f}"
        return Reading(figures, series, words)

    def _gradients(self, network: Network, line: Tensor, subject: Subject) -> Tensor:
        """Return the gradient at each point of a line, (points, D)."""
        points = line.clone().requires_grad_()
        outputs = network(points).flatten(1)
        direction = torch.randn(outputs.shape[1], generator=subject.generator("shattering"), dtype=torch.float64).to(outputs)
        return torch.autograd.grad((outputs @ direction).sum(), points)[0].flatten(1)


def autocorrelation(series: Tensor, most: int) -> Tensor:
    """Return the correlation of a series of vectors (T, D) with itself at lags 0 … `most`, (most + 1,)."""
    centred = series - series.mean(0)
    total = centred.square().sum().clamp_min(torch.finfo(series.dtype).tiny)
    products = [(centred[: len(centred) - lag] * centred[lag:]).sum() for lag in range(most + 1)]
    return torch.stack(products) / total
