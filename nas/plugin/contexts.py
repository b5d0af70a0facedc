"""Layer 1: what a plugin knows of its place in the network, injected when it is built."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NetworkContext:
    """What a network knows of its task: the input's shape (C, H, W) or (F,) and the number of outputs.

    `output_shape` is that of the answer to one input, as the task needs it; empty where any will do.
    """

    input_shape: tuple[int, ...]
    num_outputs: int
    output_shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class StemContext:
    """What a stem knows: channels in, the first stage's width, and whether to end in norm and activation.

    `activated` is False where the first block is pre-activated and brings its own.
    """

    in_channels: int
    width: int
    activated: bool = True


@dataclass(frozen=True)
class UnitContext:
    """What a unit knows of its place: channels in, its stage's width, its stride, and its index among the network's units.

    `upsample` is by how much the unit raises the resolution; only a block with `upsamples` is built where it is above 1.
    """

    in_channels: int
    width: int
    stride: int = 1
    index: int = 0
    num_units: int = 1
    stage: int = 0
    upsample: int = 1


@dataclass(frozen=True)
class ShortcutContext:
    """What a shortcut knows: the channels of x and of F(x), the stride, whether h is pre-activated, and the unit's index.

    `upsample` is by how much F(x) is larger than x; like the stride, matching it is the shortcut's business.
    """

    in_channels: int
    out_channels: int
    stride: int = 1
    preactivated: bool = False
    index: int = 0
    num_units: int = 1
    upsample: int = 1

    @property
    def same_shape(self) -> bool:
        """Whether x and F(x) have the same shape, so that nothing needs to be matched."""
        return self.stride == self.upsample == 1 and self.in_channels == self.out_channels


@dataclass(frozen=True)
class HeadContext:
    """What a head knows: the channels it is given and the number of outputs."""

    in_channels: int
    num_outputs: int


@dataclass(frozen=True)
class LongSkipContext:
    """What a long skip knows: the channels of the encoder's features and of the decoder's, and the resolution's index."""

    encoder_channels: int
    decoder_channels: int
    stage: int
