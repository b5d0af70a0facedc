"""Signals: the variance of what passes through a network, before and after the training."""

from __future__ import annotations

import math

import torch

from nas.plugin import Count, Figure, Moment, Probe, Reading, Subject, plugin
from nas.probes import recompute_batch_norm, responses, trace


@plugin("signals")
class Signals(Probe):
    """The variance of every layer's response and of every unit's output, at the start and at the end.

    He et al. 2015, 1512.03385, §4.1: batch norm "ensures forward propagated signals to have non-zero variances". Where every
    branch ends in a batch norm and is added, the variance of unit l's output is about 1 + l at the start; without any norm
    and with Kaiming initialisation it doubles with every unit (Zhang et al. 2019, 1901.09321, §2). The network before the
    training has its batch-norm statistics from the same `examples` training examples.
    """

    figures = tuple(
        Figure(f"{name}{suffix}", f"{told}, {when}")
        for suffix, when in (("_start", "at the start"), ("", "at the end"))
        for name, told in (
            ("least", "the smallest variance of a layer's response"),
            ("last_to_first", "the variance of the last unit's output over that of the first unit's"),
            ("doublings", "log2 of last_to_first a unit: 1 where the variance doubles with each"),
        )
    )
    series = tuple(
        Figure(f"{name}{suffix}", f"{told}, {when}")
        for suffix, when in (("_start", "at the start"), ("", "at the end"))
        for name, told in (("layers", "the variance of each weight layer's response"), ("units", "the variance of each unit's output"))
    )

    def __init__(self, *, examples: Count = 128) -> None:
        self.num_examples = examples

    @property
    def at(self) -> tuple[Moment, ...]:
        """The start."""
        return ("start",)

    @torch.no_grad()
    def measure(self, subject: Subject) -> Reading:
        """Run training examples through the network at the start and at the end."""
        inputs = subject.examples("train", self.num_examples).inputs
        figures: dict[str, float] = {}
        series: dict[str, tuple[float, ...]] = {}
        moments: tuple[tuple[Moment, str], ...] = (("start", "_start"), ("end", ""))
        for moment, suffix in moments:
            if moment not in subject.moments:
                continue
            network = subject.network(moment)
            if moment == "start":
                recompute_batch_norm(network, inputs, batch=len(inputs))
            layers = tuple(float(response.var()) for _, response in responses(network, inputs))
            units = tuple(float(visit.y.var()) for visit in trace(network, inputs)[1])
            grown = units[-1] / units[0] if units[0] else math.nan
            figures |= {f"least{suffix}": min(layers), f"last_to_first{suffix}": grown}
            figures[f"doublings{suffix}"] = math.log2(grown) / (len(units) - 1) if grown > 0 and len(units) > 1 else math.nan
            series |= {f"layers{suffix}": layers, f"units{suffix}": units}
        words = (
            f"no layer's response has a variance below {figures['least']:.2g}; the last unit's is {figures['last_to_first']:.2g} times "
            "the first's"
        )
        return Reading(figures, series, words)
