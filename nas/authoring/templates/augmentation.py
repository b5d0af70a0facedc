"""An augmentation: apply(inputs, generator) changes whole batches at random."""

from __future__ import annotations

import torch
from torch import Tensor

from nas.plugin import Augmentation, Positive, plugin


@plugin("my_plugin")
class MyPlugin(Augmentation):
    """Each picture's contrast is scaled by a factor between 1 − `most` and 1 + `most`."""

    def __init__(self, *, most: Positive = 0.2) -> None:
        self.most = most

    def apply(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W); what is random comes from `generator` alone, so that twins see equal pictures."""
        drawn = torch.rand(len(inputs), 1, 1, 1, generator=generator).to(inputs.device, inputs.dtype)
        return inputs * (1 + self.most * (2 * drawn - 1))
