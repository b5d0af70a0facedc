"""Encoder and decoder with long skips between them, for an answer a pixel (Ronneberger et al. 2015, 1505.04597)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from nas.plugin import (
    Block,
    Count,
    Each,
    Factory,
    Head,
    HeadContext,
    Initialisation,
    LongSkip,
    LongSkipContext,
    Network,
    NetworkContext,
    Shortcut,
    Stem,
    StemContext,
    plugin,
    use,
)

from ._line import Line, layers_in, per_stage, per_unit, suited


class Up(nn.Module):
    """Doubles the resolution and joins the encoder's features: a 2×2 transposed convolution, then the long skip."""

    num_layers = 1

    def __init__(self, in_channels: int, out_channels: int, stage: int, long_skip: Factory[LongSkip]) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(in_channels, out_channels, 2, 2)
        self.skip = long_skip(LongSkipContext(out_channels, out_channels, stage))
        self.out_channels = self.skip.out_channels

    def forward(self, x: Tensor, encoded: Tensor) -> Tensor:
        """(B, C, ⌈H/2⌉, ⌈W/2⌉), (B, E, H, W) -> (B, out_channels, H, W)."""
        height, width = encoded.shape[-2:]
        joined: Tensor = self.skip(encoded, self.conv(x)[..., :height, :width])
        return joined


class DecoderStage(nn.Module):
    """The way up to a resolution and the units that work at it."""

    def __init__(self, up: Up, units: nn.Sequential) -> None:
        super().__init__()
        self.up = up
        self.units = units

    def forward(self, x: Tensor, encoded: Tensor) -> Tensor:
        """(B, C, ⌈H/2⌉, ⌈W/2⌉), (B, E, H, W) -> (B, C', H, W)."""
        y: Tensor = self.units(self.up(x, encoded))
        return y


@plugin("unet")
class UNet(Network):
    """An encoder of stages at falling resolution, a decoder of the same stages back up, and long skips between them.

    Each unit has its own `shortcut` too: short and long skips are decided apart (Drozdzal et al. 2016, 1608.04117). The
    decoder's stages have the encoder's widths, depths and blocks in reverse. The answer has the input's resolution.
    """

    def __init__(
        self,
        context: NetworkContext,
        *,
        stem: Factory[Stem] = use("conv3x3"),
        widths: tuple[Count, ...] = (16, 32, 64),
        depth: Each[Count] = 1,
        block: Each[Factory[Block]] = use("basic"),
        shortcut: Each[Factory[Shortcut]] = use("identity"),
        long_skip: Factory[LongSkip] = use("concat"),
        head: Factory[Head] = use("pixelwise"),
        init: Factory[Initialisation] = use("kaiming"),
    ) -> None:
        super().__init__()
        depths = per_stage("depth", depth, len(widths))
        blocks, shortcuts = per_unit("block", block, depths), per_unit("shortcut", shortcut, depths)
        place = StemContext(context.input_shape[0], widths[0])
        self.stem = stem(place)
        line = Line(self.stem.out_channels, num_units=2 * sum(depths) - depths[-1])
        self.encoder = nn.ModuleList()
        given: list[int] = []
        for stage, width in enumerate(widths):
            stride = 1 if stage == 0 else 2
            self.encoder.append(line.stage(blocks[stage], shortcuts[stage], width=width, stride=stride, stage=stage))
            given.append(line.channels)
        self.decoder = nn.ModuleList()
        for stage in reversed(range(len(widths) - 1)):
            up = Up(line.channels, given[stage], stage, long_skip)
            line.goes_on_behind(up.out_channels)
            units = line.stage(blocks[stage], shortcuts[stage], width=widths[stage], stage=stage)
            self.decoder.append(DecoderStage(up, units))
        self.stem = suited(stem, place, self.stem, self.encoder)
        self.closing = line.closing()
        self.head = head(HeadContext(line.channels, context.num_outputs))
        self.initialisation = init()
        self.num_layers = layers_in(*self.children())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_outputs, H, W), or (B, num_outputs) with a head that pools."""
        y, encoded = self.stem(x), []
        for stage in self.encoder:
            y = stage(y)
            encoded.append(y)
        for stage, features in zip(self.decoder, reversed(encoded[:-1]), strict=True):
            y = stage(y, features)
        scores: Tensor = self.head(self.closing(y))
        if scores.dim() == 4 and scores.shape[-2:] != x.shape[-2:]:  # the stem strides; a head for one answer a picture has no pixels
            scores = F.interpolate(scores, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return scores
