"""Decodability: what a linear readout recovers of the input and of the label from each unit's output."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.plugin import Count, Examples, Figure, Moment, Network, Probe, Reading, Subject, plugin
from nas.probes import explained, recompute_batch_norm, ridge, trace

PARTS: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")


@plugin("decodability")
class Decodability(Probe):
    """What a ridge readout recovers of the input and of the label after each unit, before and after the training.

    Alain and Bengio 2016, 1610.01644, put linear classifiers on layers. Here the readout is ridge regression from all of a
    unit's output: to the input's pixels, judged by the explained share of their variance, and to the classes, judged by
    accuracy. It is fitted on `examples` training examples, its strength chosen on half as many validation examples, judged on
    half as many test examples. The untrained network has its batch-norm statistics from the same training examples.
    """

    figures = (
        Figure("input_last", "the share of the input's variance that the last unit's output says", "maximize"),
        Figure("input_kept", "the same, over that of the first unit's input", "maximize"),
        Figure("label_last", "the accuracy of the label's readout from the last unit's output", "maximize"),
        Figure("label_gained", "the same, less that of the first unit's input", "maximize"),
        Figure("input_last_start", "input_last before the training", "maximize"),
        Figure("input_kept_start", "input_kept before the training", "maximize"),
        Figure("label_last_start", "label_last before the training", "maximize"),
        Figure("label_gained_start", "label_gained before the training", "maximize"),
    )
    series = (
        Figure("input", "the explained share of the input at the first unit's input and after each unit"),
        Figure("label", "the accuracy of the label at the first unit's input and after each unit"),
        Figure("input_start", "input before the training"),
        Figure("label_start", "label before the training"),
    )

    def __init__(self, *, examples: Count = 256) -> None:
        self.num_examples = examples

    @property
    def at(self) -> tuple[Moment, ...]:
        """The start."""
        return ("start",)

    def measure(self, subject: Subject) -> Reading:
        """Read out of every unit at the start and at the end."""
        parts = [subject.examples(part, self.num_examples // (1 if part == "train" else 2)) for part in PARTS]
        if parts[0].targets.dim() != 1 or parts[0].targets.is_floating_point():
            raise ValueError("its targets are no labels, one for an example; a label cannot be read out")
        figures: dict[str, float] = {}
        series: dict[str, tuple[float, ...]] = {}
        moments: tuple[tuple[Moment, str], ...] = (("start", "_start"), ("end", ""))
        for moment, suffix in moments:
            if moment not in subject.moments:
                continue
            network = subject.network(moment)
            if moment == "start":
                recompute_batch_norm(network, parts[0].inputs)
            found = _read_out(network, parts, subject.num_classes)
            inputs, labels = tuple(share for share, _ in found), tuple(accuracy for _, accuracy in found)
            series |= {f"input{suffix}": inputs, f"label{suffix}": labels}
            figures |= {f"input_last{suffix}": inputs[-1], f"label_last{suffix}": labels[-1]}
            figures |= {f"input_kept{suffix}": inputs[-1] / max(inputs[0], 1e-6), f"label_gained{suffix}": labels[-1] - labels[0]}
        words = (
            f"from the last unit a linear readout recovers {figures['input_last']:.0%} of the input's variance and "
            f"{figures['label_last']:.1%} of the labels"
        )
        return Reading(figures, series, words)


@torch.no_grad()
def _read_out(network: Network, parts: list[Examples], num_classes: int) -> list[tuple[float, float]]:
    """Return (explained share of the input, accuracy of the label) at the first unit's input and after each unit."""
    traces = [trace(network, part.inputs)[1] for part in parts]
    features: list[list[Tensor]] = [[visits[0].x.flatten(1) for visits in traces]]
    features += [[visits[i].y.flatten(1) for visits in traces] for i in range(len(traces[0]))]
    wanted = [
        torch.cat((part.inputs.flatten(1).double(), F.one_hot(part.targets, num_classes).double()), dim=1) for part in parts
    ]  # both at once: one decomposition serves all columns, but each chooses its own strength
    pixels = wanted[0].shape[1] - num_classes
    found = []
    for train, val, test in features:
        read = [
            ridge((train, wanted[0][:, columns]), (val, wanted[1][:, columns]), test).predictions
            for columns in (slice(0, pixels), slice(pixels, None))
        ]
        accuracy = float((read[1].argmax(1) == parts[2].targets).double().mean())
        found.append((explained(wanted[2][:, :pixels], read[0]), accuracy))
    return found
