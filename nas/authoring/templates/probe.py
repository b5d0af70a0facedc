"""A probe: measures a trained network."""

from __future__ import annotations

import torch

from nas.plugin import Count, Figure, Probe, Reading, Subject, plugin


@plugin("my_plugin")
class MyPlugin(Probe):
    """How sure the network is of its answers: the mean of the largest class probability over `examples` validation examples."""

    figures = (Figure("confidence", "the mean of the largest class probability", direction="maximize"),)

    def __init__(self, *, examples: Count = 128) -> None:
        self.num_examples = examples

    @torch.no_grad()
    def measure(self, subject: Subject) -> Reading:
        """Ask a copy of the network."""
        batch = subject.examples("val", self.num_examples)
        confidence = float(subject.network()(batch.inputs).softmax(1).amax(1).mean())
        return Reading({"confidence": confidence}, words=f"the network is sure of its answers at {confidence:.2f} in the mean")
