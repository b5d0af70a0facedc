"""Networks of one resolution from end to end: transformers and mixers of patches."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from nas.plugin import (
    Block,
    Count,
    Each,
    Factory,
    Head,
    HeadContext,
    Initialisation,
    Network,
    NetworkContext,
    Shortcut,
    Stem,
    StemContext,
    plugin,
    use,
)

from ..blocks._tokens import TokenContext
from ._line import Line, layers_in, suited


class Positions(nn.Module):
    """x plus what says where each pixel stands: sines and cosines of its row and column (Vaswani et al. 2017, §3.5).

    Half of the channels tell the row, half the column. A learned table starts at the same values, so that no draw is
    spent on it.
    """

    def __init__(self, channels: int, height: int, width: int, *, learned: bool) -> None:
        super().__init__()
        table = sines(channels, height, width)
        if learned:
            self.table = nn.Parameter(table)
        else:
            self.register_buffer("table", table, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        return x + self.table


def sines(channels: int, height: int, width: int) -> Tensor:
    """Return the table of places, (C, H, W). Raises ValueError where the channels cannot be shared out."""
    if channels % 4:
        raise ValueError(f"width {channels} is not a multiple of 4, as sines and cosines of rows and columns need; or positions: none")
    frequencies = 10000.0 ** (-torch.arange(channels // 4) / (channels // 4))
    rows = torch.arange(height)[None, :, None] * frequencies[:, None, None]
    columns = torch.arange(width)[None, None, :] * frequencies[:, None, None]
    by_row = torch.cat((rows.sin(), rows.cos())).expand(-1, -1, width)
    by_column = torch.cat((columns.sin(), columns.cos())).expand(-1, height, -1)
    return torch.cat((by_row, by_column))


@plugin("isotropic")
class Isotropic(Network):
    """Patches, then `depth` layers of two units each, one that mixes pixels and one that mixes channels, then a head.

    `mixing: attention` is the transformer of Dosovitskiy et al. 2021, 2010.11929, with mean pooling in place of a class
    token and fixed sines as positions (Beyer et al. 2022, 2205.01580); `mixing: token_mixing` the mixer of Tolstikhin et
    al. 2021, 2105.01601, which has `positions: none`. A block of convolutions fits too. `shortcut` is one for all units or
    a list of two, for the mixing units and for the channel units.

    Patches stay a picture, (B, width, H/patch, W/patch), so that every shortcut and norm works on them.
    """

    def __init__(
        self,
        context: NetworkContext,
        *,
        stem: Factory[Stem] = use("patchify", size=4, norm=use("none")),
        width: Count = 64,
        depth: Count = 4,
        mixing: Factory[Block] = use("attention"),
        channels: Factory[Block] = use("mlp"),
        shortcut: Each[Factory[Shortcut]] = use("identity"),
        positions: Literal["sines", "learned", "none"] = "sines",
        head: Factory[Head] = use("linear"),
        init: Factory[Initialisation] = use("kaiming"),
    ) -> None:
        super().__init__()
        shortcuts = shortcut if isinstance(shortcut, tuple) else (shortcut, shortcut)
        if len(shortcuts) != 2:
            raise ValueError(f"shortcut lists {len(shortcuts)} values; give one, or two: of the mixing and of the channel units")
        place = StemContext(context.input_shape[0], width)
        self.stem = stem(place)
        height, columns = grid_of(self.stem, context.input_shape)
        line = Line(self.stem.out_channels, num_units=2 * depth, place=partial(TokenContext, num_tokens=height * columns))
        self.positions = nn.Identity() if positions == "none" else Positions(line.channels, height, columns, learned=positions == "learned")
        self.layers = line.stage((mixing, channels) * depth, shortcuts * depth, width=width)
        self.stem = suited(stem, place, self.stem, self.layers)
        self.closing = line.closing()
        self.head = head(HeadContext(line.channels, context.num_outputs))
        self.initialisation = init()
        self.num_layers = layers_in(*self.children())
        # Layers that work in each pixel are faster with the channels last in memory; convolutions of few channels are not.
        self._channels_last = not any(type(layer) is nn.Conv2d for layer in self.layers.modules())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_outputs)."""
        pixels = self.positions(self.stem(x))
        if self._channels_last:
            pixels = pixels.movedim(1, -1).contiguous().movedim(-1, 1)
        logits: Tensor = self.head(self.closing(self.layers(pixels)))
        return logits


@torch.no_grad()
def grid_of(stem: Stem, input_shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many rows and columns a stem leaves of an input. Raises ValueError where it leaves none."""
    try:
        height, width = stem.eval()(torch.zeros(1, *input_shape)).shape[-2:]
    except RuntimeError as error:
        raise ValueError(f"the stem cannot read an input of shape {tuple(input_shape)}: {error}") from error
    stem.train()
    return int(height), int(width)
