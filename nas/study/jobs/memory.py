"""Layer 4: what a network takes of memory while it trains, counted without training it, and how many fit into what a worker may have."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from nas.building import build_recipe, build_without_weights
from nas.faults import naming_the_fault
from nas.space import Space
from nas.study.jobs.materials import context_of
from nas.values.architecture import Configuration

FLOAT_BYTES = 4
STATES = 4
"""Of each parameter: its value, its gradient, and two moments of an optimizer such as Adam."""
MARGIN = 1.5
"""For what libraries work in and what is lost between blocks: on a CPU, stacks of 4 and 8 took 0.9 to 1.3 times what is counted."""


@dataclass(frozen=True)
class Demand:
    """What a network needs to be trained: `parameters` in number, and `kept` bytes for the backward pass of one batch."""

    parameters: int
    kept: int

    @property
    def num_bytes(self) -> int:
        """Both in bytes, with the optimizer's moments and a margin."""
        return math.ceil(MARGIN * (STATES * FLOAT_BYTES * self.parameters + self.kept))


def demand_of(space: Space, configuration: Configuration) -> Demand:
    """Count what a configuration's network keeps for a backward pass with its batch, on torch's meta device.

    Raises PluginError where a plugin raises.
    """
    context, recipe = context_of(space, configuration), build_recipe(configuration.train, space.registry)
    network = build_without_weights(configuration.architecture, space.registry, context).train()
    with naming_the_fault(configuration.architecture, space.registry), counting() as kept:
        network(torch.empty(recipe.batch_size, *context.input_shape, device="meta"))
    return Demand(sum(parameter.numel() for parameter in network.parameters()), sum(kept.values()))


@contextmanager
def counting() -> Iterator[dict[int, int]]:
    """Give the bytes of each memory that torch keeps for a backward pass, counted once however often it is kept."""
    found: dict[int, int] = {}
    alive = []  # an address may be given away again

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        alive.append(storage)
        found[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield found


@dataclass(frozen=True)
class Room:
    """What a worker may take of memory for its trainings, in bytes, None where nothing says."""

    free: int | None = None

    def num_networks(self, demand: Demand) -> float:
        """Return how many networks of a demand fit in at once: a stack of K keeps K times what one does."""
        return math.inf if self.free is None else self.free // demand.num_bytes


def free_memory() -> int | None:
    """Return how many bytes are to be had of this machine's memory, or of what its control group may have; None where nothing says."""
    found = [free for free in (_free_of_linux(), _free_of_group()) if free is not None]
    if found:
        return max(0, min(found))
    with suppress(AttributeError, ValueError, OSError):  # macOS says how much there is, Windows not even that
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None


def _free_of_linux() -> int | None:
    with suppress(OSError, KeyError, ValueError):
        return _table("/proc/meminfo")["MemAvailable:"] * 1024
    return None


def _free_of_group() -> int | None:
    """Return what a container or a scheduler leaves this process, as cgroups of version 2 or 1 say it where they are mounted."""
    for limit, statistics, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.stat", "anon"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.stat", "total_rss"),
    ):
        with suppress(OSError, KeyError, ValueError):  # "max" is no number
            return int(Path(limit).read_text()) - _table(statistics)[used]
    return None


def _table(file: str) -> dict[str, int]:
    rows = (line.split() for line in Path(file).read_text().splitlines())
    return {row[0]: int(row[1]) for row in rows}
