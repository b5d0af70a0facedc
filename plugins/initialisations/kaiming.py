"""Kaiming initialisation: the default of the residual papers."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from nas.plugin import GeneratorFor, Initialisation, plugin


@plugin("kaiming")
class Kaiming(Initialisation):
    """Convolutions N(0, 2/fan), linear layers U(±1/√fan_in), norms at 1 and 0 (He et al. 2015, 1502.01852).

    `fan` is `out` in the residual papers' code: the backward signal keeps its variance.
    """

    def __init__(self, *, fan: Literal["out", "in"] = "out") -> None:
        self.mode: Literal["fan_out", "fan_in"] = "fan_out" if fan == "out" else "fan_in"

    @torch.no_grad()
    def apply(self, network: nn.Module, generator_for: GeneratorFor) -> None:
        """Write the initial values into every convolution and linear layer; norms start at 1 and 0 already."""
        for path, module in network.named_modules():
            if isinstance(module, nn.Conv2d):
                generator = generator_for(f"{path}.weight")
                nn.init.kaiming_normal_(module.weight, mode=self.mode, nonlinearity="relu", generator=generator)
            elif isinstance(module, nn.Linear):
                bound = module.in_features**-0.5
                nn.init.uniform_(module.weight, -bound, bound, generator=generator_for(f"{path}.weight"))
            if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
