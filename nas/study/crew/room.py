"""Layer 4: how many workers a GPU has room for, and which part of its memory each of them may use."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nas.building import build_recipe, build_without_weights
from nas.sampling import first_choice, keyed_draw, sample
from nas.space import Space
from nas.study.crew.crew import num_cores
from nas.study.jobs.materials import context_of, describe_data
from nas.values.architecture import Configuration

FLOAT_BYTES = 4
STATES = 4
"""Of each parameter: its value, its gradient, and two moments of an optimizer such as Adam."""
MARGIN = 1.5
"""For what libraries work in and what is lost between blocks of memory. Assumed, not measured."""
CONTEXT_BYTES = 600 * 2**20
"""What CUDA and its libraries take of a GPU for each process, before a tensor is there. Assumed, not measured."""
MOST = 8
NUM_SAMPLES = 8


def bytes_needed(*, parameters: int, kept: int, data: int) -> int:
    """Return what one worker takes of a GPU: `parameters` in number, `kept` bytes for the backward pass, `data` bytes of examples."""
    return CONTEXT_BYTES + data + math.ceil(MARGIN * (STATES * FLOAT_BYTES * parameters + kept))


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
    data = describe_data(space)
    bytes_of_data = FLOAT_BYTES * data["num_examples"] * math.prod(data["input_shape"])
    drawn = [sample(space, first_choice), *(sample(space, keyed_draw(space.seed, "room", i)) for i in range(NUM_SAMPLES))]
    return max(_need(space, one.configuration, bytes_of_data) for one in drawn)


def _need(space: Space, configuration: Configuration, data: int) -> int:
    context, recipe = context_of(space, configuration), build_recipe(configuration.train, space.registry)
    network = build_without_weights(configuration.architecture, space.registry, context).train()
    with _counting() as kept:
        network(torch.empty(recipe.batch_size, *context.input_shape, device="meta"))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return bytes_needed(parameters=parameters, kept=sum(kept.values()), data=data)


@contextmanager
def _counting() -> Iterator[dict[int, int]]:
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
