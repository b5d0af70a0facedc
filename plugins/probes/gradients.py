"""Gradient norms by layer: do they vanish, explode, or neither."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import nn

from nas.plugin import Bounds, Count, Examples, Figure, Moment, Probe, Reading, Subject, plugin
from nas.probes import weight_layers

SUFFIXES = {"": "at the start", "_step": "at `step`", "_end": "at the end"}


@plugin("gradients")
class Gradients(Probe):
    """The norm of the loss's gradient in every weight layer, at the start, at optimizer step `step`, and at the end.

    He et al. 2015, 1512.03385, §4.1, verified that the gradients of their plain networks have "healthy norms with BN"; Yang
    et al. 2019, 1902.08129, show that batch norm makes them explode with depth where nothing is skipped. The loss is the mean
    over `examples` training examples, the network in training mode (batch statistics), its noise the same at each moment.

    The words: *vanishing* where the first layer's norm is less than 1/`healthy` of the last layer's, *exploding* where it is
    more than `healthy` times, else *healthy*.
    """

    figures = tuple(
        Figure(f"{name}{suffix}", f"{told}, {when}")
        for name, told in (
            ("first_norm", "the norm in the first layer"),
            ("first_to_last", "the first layer's norm over the last layer's"),
            ("orders", "log10 of first_to_last, whose differences can be averaged"),
        )
        for suffix, when in SUFFIXES.items()
    )
    series = tuple(Figure(f"norms{suffix}", f"one norm a weight layer in the order of use, {when}") for suffix, when in SUFFIXES.items())

    def __init__(self, *, step: Count = 10, examples: Count = 128, healthy: Annotated[float, Bounds(1.0)] = 100.0) -> None:
        self.step, self.num_examples, self.healthy = step, examples, healthy

    @property
    def at(self) -> tuple[Moment, ...]:
        """The start and `step`."""
        return ("start", self.step)

    def measure(self, subject: Subject) -> Reading:
        """Take the gradient at each moment that there is."""
        batch = subject.examples("train", self.num_examples)
        figures: dict[str, float] = {}
        series: dict[str, tuple[float, ...]] = {}
        told = []
        moments: tuple[Moment, ...] = ("start", self.step, "end")
        for moment, suffix in zip(moments, SUFFIXES, strict=True):
            if moment not in subject.moments:
                continue
            norms = gradient_norms(subject.network(moment), batch, subject)
            series[f"norms{suffix}"] = norms
            first, last = norms[0], norms[-1]
            ratio = first / last if last else math.nan
            figures |= {f"first_norm{suffix}": first, f"first_to_last{suffix}": ratio}
            figures[f"orders{suffix}"] = math.log10(ratio) if ratio > 0 else math.nan
            when = f"at step {moment}" if isinstance(moment, int) else f"at the {moment}"
            told.append(f"{when} {self._called(ratio)} (first layer {first:.2g}, {ratio:.2g} times the last)")
        return Reading(figures, series, f"gradients: {'; '.join(told)}")

    def _called(self, ratio: float) -> str:
        if not math.isfinite(ratio):
            return "not finite"
        return "vanishing" if ratio < 1 / self.healthy else "exploding" if ratio > self.healthy else "healthy"


def gradient_norms(network: nn.Module, batch: Examples, subject: Subject) -> tuple[float, ...]:
    """Return the norm of the loss's gradient in each weight layer, in the order of use."""
    weights = weight_layers(network, batch.inputs)
    network.train()
    with torch.random.fork_rng():
        torch.manual_seed(subject.generator("noise").initial_seed())
        loss = subject.loss(network(batch.inputs), batch.targets)
    gradients = torch.autograd.grad(loss, [weight for _, weight in weights], allow_unused=True)
    return tuple(0.0 if gradient is None else float(gradient.norm()) for gradient in gradients)
