"""Shortcuts that drop something at random while they train: the carried input, or the whole branch."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from nas.plugin import Bounds, Factory, Fraction, Shortcut, ShortcutContext, plugin, use

from ._match import inner_path

Survival = Annotated[float, Bounds(0.01, 1.0)]


@plugin("dropout")
class DropoutShortcut(Shortcut):
    """Dropout(x) + F(x): dropout on the shortcut, which He et al. 2016, 1603.05027, §3.1 found to fail (rate .5)."""

    formula = "Dropout(x) + F(x)"

    def __init__(self, context: ShortcutContext, *, rate: Fraction = 0.5, path: Factory[Shortcut] = use("identity")) -> None:
        super().__init__()
        self.path = inner_path(path, context, adds=True)
        self.dropout = nn.Dropout(rate)
        self.connects, self.silences = self.path.connects, self.path.silences
        self.out_channels = self.path.out_channels

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Dropout(x), (B, C, H, W) -> (B, C', H/s, W/s); survivors are divided by 1 − rate while training."""
        carried: Tensor = self.dropout(self.path(x, h))
        return carried

    def merge(self, shortcut: Tensor, residual: Tensor) -> Tensor:
        """Dropout(x) + F, (B, C', H', W')."""
        return self.path.merge(shortcut, residual)


@plugin("stochastic_depth")
class StochasticDepth(Shortcut):
    """x + bF(x), b = 1 with probability p and else 0 (Huang et al. 2016, 1603.09382).

    p falls linearly with depth from 1 to `survival`: p_l = 1 − (l/L)(1 − survival) in unit l of L; `decay: constant` takes
    `survival` everywhere. `rescale: train` divides bF by p while training, so that testing uses F as it is (timm's
    DropPath); `rescale: eval` is the paper's: F as it is while training, times p in testing. `per: sample` draws b anew
    for each sample, `per: batch` once for the batch, as the paper does.
    """

    formula = "x + b F(x),  P(b = 1) = p"

    def __init__(
        self,
        context: ShortcutContext,
        *,
        survival: Survival = 0.5,
        decay: Literal["linear", "constant"] = "linear",
        rescale: Literal["train", "eval"] = "train",
        per: Literal["sample", "batch"] = "sample",
        path: Factory[Shortcut] = use("identity"),
    ) -> None:
        super().__init__()
        self.path = inner_path(path, context)
        depth = (context.index + 1) / context.num_units if decay == "linear" else 1.0
        self.survival = 1 - depth * (1 - survival)
        self.rescaled_in_training = rescale == "train"
        self.per_sample = per == "sample"
        self.connects, self.silences = self.path.connects, self.path.silences
        self.out_channels = self.path.out_channels

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/s, W/s)."""
        carried: Tensor = self.path(x, h)
        return carried

    def merge(self, shortcut: Tensor, residual: Tensor) -> Tensor:
        """X + bF, scaled as `rescale` says, (B, C', H', W')."""
        p = self.survival
        if not self.training:
            return self.path.merge(shortcut, residual if self.rescaled_in_training else p * residual)
        shape = (residual.shape[0] if self.per_sample else 1, *(1 for _ in residual.shape[1:]))
        survives = (torch.rand(shape, device=residual.device) < p).to(residual.dtype)
        return self.path.merge(shortcut, (survives / p if self.rescaled_in_training else survives) * residual)
