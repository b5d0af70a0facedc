"""Layer 3: batch-norm statistics measured anew, for a network whose parts were taken out or moved."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

N = TypeVar("N", bound=nn.Module)


@torch.no_grad()
def recompute_batch_norm(network: N, inputs: Tensor, *, batch: int = 128) -> N:
    """Replace every batch norm's running mean and variance by their averages over `inputs`; return the network in eval mode.

    Everything else, dropout too, works as in evaluation. A network without batch norm stays as it is.
    """
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
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
