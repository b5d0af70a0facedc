"""Layer 3: batch-norm statistics measured anew, for a network whose parts were taken out or moved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

N = TypeVar("N", bound=nn.Module)


@contextmanager
def recomputed_batch_norm(network: N, inputs: Tensor, *, batch: int = 128) -> Iterator[N]:
    """Have a network in eval mode use the statistics of `inputs` for a while."""
    kept = [(norm, {name: buffer.clone() for name, buffer in norm.named_buffers()}) for norm in _norms(network)]
    yield recompute_batch_norm(network, inputs, batch=batch)
    for norm, buffers in kept:
        for name, buffer in buffers.items():
            norm.get_buffer(name).copy_(buffer)


@torch.no_grad()
def recompute_batch_norm(network: N, inputs: Tensor, *, batch: int = 128) -> N:
    """Replace every batch norm's running mean and variance by their averages over `inputs`; return the network in eval mode.

    Everything else, dropout too, works as in evaluation. A network without batch norm stays as it is.
    """
    norms = _norms(network)
    network.eval()
    if not norms:
        return network
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to ask for the plain average over all batches
        norm.train()
    for start in range(0, len(inputs) - 1, batch):
        network(inputs[start : start + batch])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return network.eval()


def _norms(network: nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
