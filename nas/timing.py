"""Layer 3: how long a network takes for one input: its latency on the device at hand."""

from __future__ import annotations

import time
from statistics import median

import torch
from torch import nn

WARM_UP = 5
PASSES = 50
MOST_S = 2.0
"""A network that is slow is timed for this long, in fewer passes."""
FEWEST = 5


@torch.no_grad()
def latency_ms(network: nn.Module, input_shape: tuple[int, ...], *, device: str) -> float:
    """Return the median time in milliseconds of a forward pass of one input, (1, *input_shape), in eval mode and on one thread.

    The network is moved to `device`. The figure is noisy: whatever else the machine does counts.
    """
    network = network.to(device).eval()
    example = torch.randn(1, *input_shape, generator=torch.Generator().manual_seed(0)).to(device, next(network.parameters()).dtype)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(WARM_UP):
            network(example)
        taken: list[float] = []
        started = time.perf_counter()
        while len(taken) < FEWEST or (len(taken) < PASSES and time.perf_counter() - started < MOST_S):
            taken.append(_timed(network, example))
    finally:
        torch.set_num_threads(threads)
    return 1000 * median(taken)


def _timed(network: nn.Module, example: torch.Tensor) -> float:
    _wait(example)
    before = time.perf_counter()
    network(example)
    _wait(example)
    return time.perf_counter() - before


def _wait(example: torch.Tensor) -> None:
    # An accelerator is handed its work and says so at once.
    if example.device.type != "cpu":
        torch.accelerator.synchronize(example.device)
