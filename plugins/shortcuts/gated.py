"""Gated shortcuts, as in highway networks."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from nas.plugin import Factory, Shortcut, ShortcutContext, plugin, use

from ._match import enlarged, inner_path, projecting_conv


@plugin("gated")
class Gated(Shortcut):
    """(1 − g)x + gF(x), or (1 − g)x + F(x), with g = σ(Conv1×1(x) + b) for each pixel and channel.

    `exclusive` is the highway network (Srivastava et al. 2015, 1505.00387) as He et al. 2016, 1603.05027, §3.1 run it,
    `shortcut_only` their second form. b starts at `bias`: at 0 half of x is lost in every unit, at −6 almost nothing. It
    is a parameter of its own, so that no initialisation of convolutions resets it. In a pre-activation unit the gate
    reads the pre-activated input.
    """

    formula = "(1 − g) x + g F(x),  g = σ(W x + b)"

    def __init__(
        self,
        context: ShortcutContext,
        *,
        gate: Literal["exclusive", "shortcut_only"] = "exclusive",
        bias: float = 0.0,
        path: Factory[Shortcut] = use("identity"),
    ) -> None:
        super().__init__()
        self.path = inner_path(path, context, adds=True, shaped=True)
        self.exclusive = gate == "exclusive"
        self.upsample = context.upsample
        self.conv = projecting_conv(context, context.out_channels, stride=context.stride)
        self.bias = nn.Parameter(torch.full((context.out_channels, 1, 1), bias))
        self.silences = self.path.silences
        self.out_channels = context.out_channels

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """(1 − g)x, (B, C, H, W) -> (B, C', H/s, W/s); exclusive: with g behind it, (B, 2C', H/s, W/s), for `merge`."""
        g = enlarged(torch.sigmoid(self.conv(h) + self.bias), self.upsample)
        carried = (1 - g) * self.path(x, h)
        return torch.cat((carried, g), dim=1) if self.exclusive else carried

    def merge(self, shortcut: Tensor, residual: Tensor) -> Tensor:
        """(1 − g)x + gF or (1 − g)x + F, (B, C', H', W')."""
        if not self.exclusive:
            return self.path.merge(shortcut, residual)
        carried, g = shortcut.chunk(2, dim=1)
        return self.path.merge(carried, g * residual)
