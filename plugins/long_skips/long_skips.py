"""The three long skips: none, addition, concatenation (compared in Drozdzal et al. 2016, 1608.04117)."""

from __future__ import annotations

import torch
from torch import Tensor

from nas.plugin import LongSkip, LongSkipContext, plugin


@plugin("none")
class NoLongSkip(LongSkip):
    """The decoder's features alone: all that reaches it has gone through the deepest stage."""

    connects = False

    def __init__(self, context: LongSkipContext) -> None:
        super().__init__()
        self.out_channels = context.decoder_channels

    def forward(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        """(B, E, H, W), (B, D, H, W) -> (B, D, H, W)."""
        return decoded


@plugin("add")
class Add(LongSkip):
    """Encoder plus decoder (Drozdzal et al. 2016, §2)."""

    def __init__(self, context: LongSkipContext) -> None:
        super().__init__()
        if context.encoder_channels != context.decoder_channels:
            raise ValueError(
                f"long_skip 'add' needs equal channels, got {context.encoder_channels} from the encoder and "
                f"{context.decoder_channels} in the decoder; take concat"
            )
        self.out_channels = context.decoder_channels

    def forward(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        """(B, C, H, W), (B, C, H, W) -> (B, C, H, W)."""
        return encoded + decoded


@plugin("concat")
class Concat(LongSkip):
    """The encoder's channels, then the decoder's: U-Net's (Ronneberger et al. 2015, 1505.04597, Fig. 1)."""

    def __init__(self, context: LongSkipContext) -> None:
        super().__init__()
        self.out_channels = context.encoder_channels + context.decoder_channels

    def forward(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        """(B, E, H, W), (B, D, H, W) -> (B, E + D, H, W)."""
        return torch.cat((encoded, decoded), dim=1)
