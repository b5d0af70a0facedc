"""Dirac initialisation: every convolution of a branch starts near the identity, which needs no shortcut."""

from __future__ import annotations

import torch
from torch import nn

from nas.plugin import Factory, GeneratorFor, Initialisation, plugin, use

from ._branches import branch_convs, units_of


@plugin("dirac")
class Dirac(Initialisation):
    """W = αδ + βŴ in the branches: δ the convolution that is the identity, Ŵ `base`'s filters at norm 1.

    The start of DiracNet (Zagoruyko and Komodakis 2017, 1706.00388, §2: α = 1, β = .1), whose plain networks train
    deep; it keeps the two parts apart as parameters, which this does not. Stem, head and shortcuts start as under `base`.
    """

    def __init__(self, *, alpha: float = 1.0, beta: float = 0.1, base: Factory[Initialisation] = use("kaiming")) -> None:
        self.alpha, self.beta = alpha, beta
        self.base = base()

    def prepare(self, network: nn.Module) -> None:
        """Prepare `base`; refuse a network without convolutions in its branches (ValueError)."""
        self.base.prepare(network)
        if not _branch_convs(network):
            raise ValueError("init 'dirac' needs convolutions in residual branches, and this network has none; take init: kaiming")

    def reinitialises(self, network: nn.Module) -> frozenset[str]:
        """The convolutions of the branches, and what `base` names."""
        weights = {id(conv.weight) for conv in _branch_convs(network)}
        own = (path for path, parameter in network.named_parameters() if id(parameter) in weights)
        return self.base.reinitialises(network) | frozenset(own)

    @torch.no_grad()
    def apply(self, network: nn.Module, generator_for: GeneratorFor) -> None:
        """Write `base`'s values, then mix the identity into the branches."""
        self.prepare(network)
        self.base.apply(network, generator_for)
        for conv in _branch_convs(network):
            norms = conv.weight.flatten(1).norm(dim=1).clamp_min(torch.finfo(conv.weight.dtype).tiny)
            identity = nn.init.dirac_(torch.empty_like(conv.weight), groups=conv.groups)
            conv.weight.copy_(self.alpha * identity + self.beta * conv.weight / norms[:, None, None, None])


def _branch_convs(network: nn.Module) -> tuple[nn.Conv2d, ...]:
    return tuple(conv for _, unit in units_of(network) for _, conv in branch_convs(unit))
