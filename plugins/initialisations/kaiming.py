"""Kaiming initialisation: the default of the residual papers."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from nas.plugin import GeneratorFor, Initialisation, plugin

NORMS = (nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.LayerNorm)  # torch has no public base of its batch norms
CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


@plugin("kaiming")
class Kaiming(Initialisation):
    """Convolutions N(0, 2/fan) with zero biases, linear layers U(±1/√fan_in), norms at 1 and 0 (He et al. 2015, 1502.01852).

    `fan` is `out` in the residual papers' code: the backward signal keeps its variance. In a grouped convolution it counts
    the connections that there are. Linear layers start as torch starts them.
    """

    def __init__(self, *, fan: Literal["out", "in"] = "out") -> None:
        self.mode: Literal["fan_out", "fan_in"] = "fan_out" if fan == "out" else "fan_in"

    @torch.no_grad()
    def apply(self, network: nn.Module, generator_for: GeneratorFor) -> None:
        """Write the initial values into every convolution, linear layer and norm."""
        for path, module in network.named_modules():
            if isinstance(module, CONVS):
                generator = generator_for(f"{path}.weight")
                nn.init.kaiming_normal_(module.weight, mode=self.mode, nonlinearity="relu", generator=generator)
                if self.mode == "fan_out":
                    module.weight.mul_(module.groups**0.5)  # torch counts the outputs of all groups for each input
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.Linear):
                bound = module.in_features**-0.5
                nn.init.uniform_(module.weight, -bound, bound, generator=generator_for(f"{path}.weight"))
                if module.bias is not None:
                    nn.init.uniform_(module.bias, -bound, bound, generator=generator_for(f"{path}.bias"))
            elif isinstance(module, NORMS):
                if module.weight is not None:
                    nn.init.ones_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
