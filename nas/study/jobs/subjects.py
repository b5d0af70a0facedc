"""Layer 4: what probes are given of a training: its network at several moments, its split, its loss."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

import torch
from torch import Tensor

from nas.building import build, make
from nas.plugin import Examples, Moment, Network, NetworkContext, Probe, Subject
from nas.registry import Registry
from nas.study.jobs.materials import load_task
from nas.training.data import Split
from nas.values.architecture import Configuration, PluginNode

States = Mapping[Moment, Mapping[str, Tensor]]


class Trained(Protocol):
    """What has to be known of a training to measure its network: a job knows it, and so does the file of a kept network."""

    @property
    def configuration(self) -> Configuration:
        """What was trained."""

    @property
    def context(self) -> NetworkContext:
        """The inputs and outputs that it was built for."""

    @property
    def seed(self) -> int:
        """The seed of its initial values."""


def subject_of(trained: Trained, registry: Registry, network: Network, split: Split, states: States, *, device: str) -> Subject:
    """Return a trained network as probes see it, on a device.

    Other moments are built anew: the start from its seed, a step in the midst of the training from its state in `states`.
    """
    dtype = next(network.parameters()).dtype
    device = "cpu" if device.startswith("mps") else device  # it has no float64, which many probes compute in

    def at(moment: Moment) -> Network:
        if moment == "end":
            found = copy.deepcopy(network).to(device)
        else:
            found = build(trained.configuration.architecture, registry, trained.context, seed=trained.seed).to(device, dtype)
            if moment != "start":
                found.load_state_dict(states[moment])
        found.zero_grad(set_to_none=True)
        return found

    parts = {
        name: Examples(getattr(split, name).inputs.to(device, dtype), getattr(split, name).targets.to(device))
        for name in ("train", "val", "test")
    }
    moments: tuple[Moment, ...] = ("start", *sorted(step for step in states if isinstance(step, int)), "end")
    task = load_task(trained.configuration.task, registry)

    first = task.metrics[0]

    def error(outputs: Tensor, targets: Tensor) -> float:
        if not targets.is_floating_point():
            return share_wrong(outputs, targets)
        value = task.figures(task.tally(outputs, targets))[first.name]
        return value if first.direction == "minimize" else 1 - value

    return Subject(parts, task.loss, error, trained.context.num_outputs, trained.seed, moments, at)


def built_probes(nodes: Sequence[PluginNode], registry: Registry) -> tuple[tuple[str, Probe], ...]:
    """Build probes, each with its name. Raises PluginError for parameters that one refuses: better before hours of training."""
    return tuple((node.name, cast(Probe, make("probe", node, registry))) for node in nodes)


def share_wrong(outputs: Tensor, targets: Tensor) -> float:
    """Return the share of answers that are wrong: outputs (N, K, …) of K classes, targets (N, …)."""
    return float((outputs.argmax(1) != targets).to(torch.float64).mean())
