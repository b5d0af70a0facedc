"""The plugin kind `long_skip`: what a decoder gets from the encoder's stage of the same resolution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn


@dataclass(frozen=True)
class LongSkipContext:
    """What a long skip knows: the channels of the encoder's features and of the decoder's, and the resolution's index."""

    encoder_channels: int
    decoder_channels: int
    stage: int


class LongSkip(nn.Module):
    """Joins an encoder's features to the decoder's of the same size: (B, E, H, W), (B, D, H, W) -> (B, out_channels, H, W).

    A long skip of one's own is a module with `kind = "long_skip"`, `out_channels` and this `forward`.
    """

    kind: ClassVar[str] = "long_skip"
    connects: ClassVar[bool] = True
    """Whether the encoder's features reach the decoder beside the path through the deeper stages."""
    out_channels: int

    def forward(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        """Join the two."""
        raise NotImplementedError(f"long_skip {type(self).__name__} defines no forward(encoded, decoded)")
