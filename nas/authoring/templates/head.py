"""A head: the layers after the last unit."""

from __future__ import annotations

from torch import Tensor, nn

from nas.plugin import Fraction, Head, HeadContext, plugin


@plugin("my_plugin")
class MyPlugin(Head):
    """The largest value of each channel, dropout, one linear layer."""

    def __init__(self, context: HeadContext, *, dropout: Fraction = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(context.in_channels, context.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_outputs)."""
        logits: Tensor = self.linear(self.dropout(x.amax(dim=(2, 3))))
        return logits
