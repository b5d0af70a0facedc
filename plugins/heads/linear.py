"""The classification head: average pooling and one linear layer."""

from __future__ import annotations

from torch import Tensor, nn

from nas.plugin import Head, HeadContext, plugin


@plugin("linear")
class Linear(Head):
    """Global average pooling, then one linear layer (He et al. 2015, §4.2)."""

    def __init__(self, context: HeadContext) -> None:
        super().__init__()
        self.linear = nn.Linear(context.in_channels, context.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_outputs)."""
        logits: Tensor = self.linear(x.mean(dim=(2, 3)))
        return logits
