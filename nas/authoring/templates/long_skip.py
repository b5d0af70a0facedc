"""A long skip: joins an encoder's features to the decoder's of the same size."""

from __future__ import annotations

from torch import Tensor, nn

from nas.plugin import LongSkip, LongSkipContext, plugin


@plugin("my_plugin")
class MyPlugin(LongSkip):
    """The decoder's features plus the encoder's behind a 1×1 convolution."""

    def __init__(self, context: LongSkipContext, *, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(context.encoder_channels, context.decoder_channels, 1, bias=bias)
        self.out_channels = context.decoder_channels

    def forward(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        """(B, E, H, W), (B, D, H, W) -> (B, D, H, W)."""
        y: Tensor = decoded + self.conv(encoded)
        return y
