"""Zero-gamma: every residual branch starts at zero."""

from __future__ import annotations

import torch
from torch import nn

from nas.plugin import Factory, GeneratorFor, Initialisation, plugin, use

from ._branches import paths_of, units_to_silence


@plugin("zero_gamma")
class ZeroGamma(Initialisation):
    """The norm that ends a branch starts at γ = 0, so that every unit starts as its shortcut (Goyal et al. 2017, 1706.02677, §5.1).

    A branch that ends in a convolution, as pre-activated ones do, starts that convolution at zero instead. Where nothing
    goes past the branch, γ stays at 1. Everything else starts as under `base`.
    """

    def __init__(self, *, base: Factory[Initialisation] = use("kaiming")) -> None:
        self.base = base()

    def prepare(self, network: nn.Module) -> None:
        """Refuse networks that would not learn from zero branches (ValueError)."""
        self.base.prepare(network)
        units_to_silence(network, "zero_gamma")

    def reinitialises(self, network: nn.Module) -> frozenset[str]:
        """The last layers of the branches, and what `base` names."""
        return self.base.reinitialises(network) | paths_of(network, _last_layers(network))

    @torch.no_grad()
    def apply(self, network: nn.Module, generator_for: GeneratorFor) -> None:
        """Write `base`'s values, then zeros."""
        self.prepare(network)
        self.base.apply(network, generator_for)
        for layer in _last_layers(network):
            for name in ("weight", "bias"):
                parameter = getattr(layer, name, None)
                if parameter is not None:
                    parameter.zero_()


def _last_layers(network: nn.Module) -> list[nn.Module]:
    return [layer for unit in units_to_silence(network, "zero_gamma") for layer in unit.block.last_layers()]
