"""The plugin kind `transition`: the layers between two stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn


@dataclass(frozen=True)
class TransitionContext:
    """What a transition knows: channels in, the next stage's width, and by how much the resolution falls."""

    in_channels: int
    width: int
    stride: int


class Transition(nn.Module):
    """The layers between two stages: (B, C, H, W) -> (B, out_channels, H/s, W/s). The units after it keep the resolution.

    A transition of one's own is a module with `kind = "transition"`, `out_channels` and `num_layers`.
    """

    kind: ClassVar[str] = "transition"
    out_channels: int
    num_layers: int = 1
