"""Responses: how strongly layers respond, and how much a unit's branch adds to what it is given."""

from __future__ import annotations

from statistics import mean

import torch

from nas.plugin import Count, Figure, Probe, Reading, Subject, plugin
from nas.probes import added_by_branch, responses, trace


@plugin("responses")
class Responses(Probe):
    """The standard deviation of each layer's response, and ‖F(x)‖/‖x‖ of each unit, after the training.

    He et al. 2015, 1512.03385, §4.2 and Fig. 7: the response is a layer's output after its batch norm and before anything else;
    theirs were smaller in residual networks than in plain ones, and smaller the deeper. A standard deviation depends on what
    stands behind the layer; the ratio says what the branch adds to the unit's input, and is the one to compare by depth.
    """

    figures = (
        Figure("mean_std", "the mean standard deviation over layers"),
        Figure("mean_ratio", "the mean of ‖F(x)‖/‖x‖ over units"),
        Figure("first_ratio", "‖F(x)‖/‖x‖ of the first unit"),
        Figure("last_ratio", "‖F(x)‖/‖x‖ of the last unit"),
    )
    series = (
        Figure("std", "the standard deviation of each weight layer's response, in the order of use"),
        Figure("ratio", "‖F(x)‖/‖x‖ of each unit"),
    )

    def __init__(self, *, examples: Count = 128) -> None:
        self.num_examples = examples

    @torch.no_grad()
    def measure(self, subject: Subject) -> Reading:
        """Run the test examples through the network once."""
        inputs = subject.examples("test", self.num_examples).inputs
        network = subject.network()
        std = tuple(float(response.std()) for _, response in responses(network, inputs))
        _, visits = trace(network, inputs)
        tiny = torch.finfo(inputs.dtype).tiny
        ratio = tuple(float(added_by_branch(visit.unit, visit.x).norm() / visit.x.norm().clamp_min(tiny)) for visit in visits)
        figures = {"mean_std": mean(std), "mean_ratio": mean(ratio), "first_ratio": ratio[0], "last_ratio": ratio[-1]}
        words = f"‖F(x)‖/‖x‖ goes from {ratio[0]:.2f} in the first unit to {ratio[-1]:.2f} in the last; responses have std {mean(std):.2f}"
        return Reading(figures, {"std": std, "ratio": ratio}, words)
