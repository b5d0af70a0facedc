"""An initialisation: how a network's parameters get their first values."""

from __future__ import annotations

import torch
from torch import nn

from nas.plugin import Factory, GeneratorFor, Initialisation, Positive, plugin, use


@plugin("my_plugin")
class MyPlugin(Initialisation):
    """As under `base`, but linear layers are drawn from N(0, `deviation`²).

    Each tensor is drawn from `generator_for(its path)`, so that tensors that two networks share start equal.
    """

    def __init__(self, *, deviation: Positive = 0.01, base: Factory[Initialisation] = use("kaiming")) -> None:
        self.deviation = deviation
        self.base = base()

    def prepare(self, network: nn.Module) -> None:
        """What `base` needs."""
        self.base.prepare(network)

    def reinitialises(self, network: nn.Module) -> frozenset[str]:
        """The paths of the tensors that start otherwise than under `kaiming`."""
        linear = (f"{path}.weight" for path, module in network.named_modules() if isinstance(module, nn.Linear))
        return self.base.reinitialises(network) | frozenset(linear)

    @torch.no_grad()
    def apply(self, network: nn.Module, generator_for: GeneratorFor) -> None:
        """Write `base`'s values, then the linear layers'."""
        self.base.apply(network, generator_for)
        for path, module in network.named_modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(0, self.deviation, generator=generator_for(f"{path}.weight"))
