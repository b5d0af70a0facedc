"""Layer 4: what probes are given of a training: its network at several moments, its split, its loss."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from nas.building import build, make
from nas.plugin import Examples, Moment, Network, Probe, Subject
from nas.probes.running import Snapshots
from nas.registry import Registry
from nas.study.materials import load_task
from nas.training.data import Split
from nas.values.architecture import PluginNode

if TYPE_CHECKING:
    from nas.study.job import Job


def subject_of(job: Job, registry: Registry, network: Network, split: Split, snapshots: Snapshots, *, device: str) -> Subject:
    """Return a trained network as probes see it, on the device that trained it.

    Other moments are built anew, and filled where a state was kept.
    """
    dtype = next(network.parameters()).dtype

    def at(moment: Moment) -> Network:
        if moment == "end":
            found = copy.deepcopy(network).to(device)
        else:
            found = build(job.configuration.architecture, registry, job.context, seed=job.seed).to(device, dtype)
            if moment != "start":
                found.load_state_dict(snapshots.states[moment])
        found.zero_grad(set_to_none=True)
        return found

    parts = {
        name: Examples(getattr(split, name).inputs.to(device, dtype), getattr(split, name).targets.to(device))
        for name in ("train", "val", "test")
    }
    moments: tuple[Moment, ...] = ("start", *sorted(step for step in snapshots.states if isinstance(step, int)), "end")
    task = load_task(job.configuration.task, registry)

    first = task.metrics[0]

    def error(outputs: Tensor, targets: Tensor) -> float:
        if not targets.is_floating_point():
            return share_wrong(outputs, targets)
        value = task.figures(task.tally(outputs, targets))[first.name]
        return value if first.direction == "minimize" else 1 - value

    return Subject(parts, task.loss, error, job.context.num_outputs, job.seed, moments, at)


def built_probes(nodes: Sequence[PluginNode], registry: Registry) -> tuple[tuple[str, Probe], ...]:
    """Build probes, each with its name. Raises PluginError for parameters that one refuses: better before hours of training."""
    return tuple((node.name, cast(Probe, make("probe", node, registry))) for node in nodes)


def share_wrong(outputs: Tensor, targets: Tensor) -> float:
    """Return the share of answers that are wrong: outputs (N, K, …) of K classes, targets (N, …)."""
    return float((outputs.argmax(1) != targets).to(torch.float64).mean())
