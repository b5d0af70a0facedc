"""Layer 4: how many workers a GPU has room for, which part of its memory each may use, and what a worker may take for a group."""

from __future__ import annotations

import math

import torch

from nas.plugin import Pictures
from nas.sampling import first_choice, keyed_draw, sample
from nas.space import Space
from nas.study.crew.crew import num_cores
from nas.study.jobs.materials import ready_data
from nas.study.jobs.memory import Demand, Room, demand_of, free_memory
from nas.training.data import DEVICE_SHARE
from nas.values.architecture import Configuration

CONTEXT_BYTES = 600 * 2**20
"""What CUDA and its libraries take of a GPU for each process, before a tensor is there. Assumed, not measured."""
PROCESS_BYTES = 600 * 2**20
"""What a worker takes of the machine's memory before it trains: 545 MiB were seen."""
MOST = 8
NUM_SAMPLES = 8


def bytes_needed(*, parameters: int, kept: int, data: int) -> int:
    """Return what one worker takes of a GPU: `parameters` in number, `kept` bytes for the backward pass, `data` bytes of examples."""
    return CONTEXT_BYTES + data + Demand(parameters, kept).num_bytes


def workers_that_fit(*, free: int, need: int, cores: int) -> int:
    """Return how many workers that `need` so many bytes fit into `free` bytes of one GPU: at least 1, at most one a core of its."""
    return max(1, min(free // need, cores, MOST))


def memory_share(workers: int, total: int) -> float:
    """Return which part of a GPU's `total` bytes the tensors of each of its workers may take, beside their contexts."""
    return max(0.05, (1 - workers * CONTEXT_BYTES / total) / workers)


def pin_memory_share(workers: int) -> None:
    """Let this process, one of the `workers` of its GPU, run out of memory before it takes that of the others."""
    if workers > 1 and torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(memory_share(workers, total))


def workers_per_gpu(space: Space) -> int:
    """Return how many workers of a space share a GPU: as it says, or for `auto` as many as fit into what is free of the first one.

    `auto` is 1 where this process sees no GPU.
    """
    chosen = space.search.workers_per_gpu
    if chosen != "auto":
        return chosen
    if not torch.cuda.is_available():
        return 1
    free, _total = torch.cuda.mem_get_info(0)
    return workers_that_fit(free=free, need=need_of(space), cores=max(1, num_cores() // torch.cuda.device_count()))


def workers_of(space: Space) -> int:
    """Return how many workers a space has on this machine: as it says, else as many a GPU, else one a core."""
    return space.search.workers or torch.cuda.device_count() * workers_per_gpu(space) or num_cores()


def need_of(space: Space) -> int:
    """Return what a worker takes of a GPU in bytes, by the largest of a few samples of a space."""
    data = _bytes_of_data(space)
    drawn = [sample(space, first_choice), *(sample(space, keyed_draw(space.seed, "room", i)) for i in range(NUM_SAMPLES))]
    return max(_need(space, one.configuration, data) for one in drawn)


def room_of(space: Space, workers: int) -> Room:
    """Return what each of `workers` on this machine may take for its trainings: its share of a GPU where there are any, else of the memory.

    On a GPU the examples lie there too, once for all that a worker trains, unless they are so many that they stay with the host.
    """
    if gpus := torch.cuda.device_count():
        free, _total = torch.cuda.mem_get_info(0)
        share, data = max(0, free // math.ceil(workers / gpus) - CONTEXT_BYTES), _bytes_of_data(space)
        return Room(share - data if data <= DEVICE_SHARE * share else share)
    free_here = free_memory()
    return Room(None if free_here is None else max(0, free_here // workers - PROCESS_BYTES))


def _bytes_of_data(space: Space) -> int:
    configuration = sample(space, first_choice).configuration
    inputs = ready_data(configuration.data, space.registry, configuration.task).inputs
    if isinstance(inputs, Pictures):
        return 0  # they are streamed
    return inputs.numel() * inputs.element_size()


def _need(space: Space, configuration: Configuration, data: int) -> int:
    demand = demand_of(space, configuration)
    return bytes_needed(parameters=demand.parameters, kept=demand.kept, data=data)
