"""The concatenating shortcut of DenseNet."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor

from nas.plugin import Bounds, Factory, Norm, Shortcut, ShortcutContext, plugin, use

from ._match import enlarged, halving_pool, projecting_conv, projecting_norm


@plugin("dense")
class Dense(Shortcut):
    """[x, F(x)]: the branch's channels are put behind the input's, so widths grow (Huang et al. 2017, 1608.06993).

    A stage's width is then its growth rate. Where the resolution falls, x goes through a `transition`: average pooling
    alone (`pool`), or a 1×1 convolution to `compression` times its channels before it (`conv`, DenseNet's; in a
    pre-activation unit it reads the pre-activated input, elsewhere it has a norm of its own).
    """

    formula = "[x, F(x)]"

    def __init__(
        self,
        context: ShortcutContext,
        *,
        transition: Literal["pool", "conv"] = "pool",
        compression: Annotated[float, Bounds(0.01, 1.0)] = 1.0,
        norm: Factory[Norm] = use("batch"),
    ) -> None:
        super().__init__()
        carried = context.in_channels
        self.converts = transition == "conv" and context.stride > 1
        if self.converts:
            carried = max(1, int(compression * context.in_channels))
            self.conv = projecting_conv(context, carried)
            self.norm = projecting_norm(context, norm, carried)
        self.pool, self.upsample = halving_pool(context.stride), context.upsample
        self.out_channels = carried + context.out_channels

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C or compressed C, H/s, W/s)."""
        return enlarged(self.pool(self.norm(self.conv(h)) if self.converts else x), self.upsample)

    def merge(self, shortcut: Tensor, residual: Tensor) -> Tensor:
        """[x, F], (B, C + C', H', W')."""
        return torch.cat((shortcut, residual), dim=1)
