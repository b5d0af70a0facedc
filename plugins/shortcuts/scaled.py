"""Shortcuts that multiply one of the paths: by constants, or by learned scales that start at or near zero."""

from __future__ import annotations

from typing import Annotated

import torch
from torch import Tensor, nn

from nas.plugin import Bounds, Factory, Shortcut, ShortcutContext, plugin, use

from ._match import inner_path

AboveZero = Annotated[float, Bounds(1e-12)]


@plugin("scaled")
class Scaled(Shortcut):
    """Both paths times a constant, λx + μF(x); the paper's are .5 and .5 (He et al. 2016, 1603.05027, §3.1)."""

    formula = "λ x + μ F(x)"

    def __init__(self, context: ShortcutContext, *, lam: float = 0.5, mu: float = 0.5, path: Factory[Shortcut] = use("identity")) -> None:
        super().__init__()
        self.path = inner_path(path, context, adds=True)
        self.lam, self.mu = lam, mu
        self.connects = self.path.connects and lam != 0
        self.silences = self.path.silences or mu == 0
        self.out_channels = self.path.out_channels

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """λx, (B, C, H, W) -> (B, C', H/s, W/s)."""
        carried: Tensor = self.path(x, h)
        return self.lam * carried

    def merge(self, shortcut: Tensor, residual: Tensor) -> Tensor:
        """λx + μF, (B, C', H', W')."""
        return self.path.merge(shortcut, self.mu * residual)


@plugin("rezero")
class ReZero(Shortcut):
    """x + αF(x), one learned α a unit that starts at zero (Bachlechner et al. 2020, 2003.04887; De and Smith 2020, SkipInit)."""

    formula = "x + α F(x),  α = 0 at the start"
    silences = True

    def __init__(self, context: ShortcutContext, *, path: Factory[Shortcut] = use("identity")) -> None:
        super().__init__()
        self.path = inner_path(path, context)
        self.alpha = nn.Parameter(torch.zeros(()))
        self.connects = self.path.connects
        self.out_channels = self.path.out_channels

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/s, W/s)."""
        carried: Tensor = self.path(x, h)
        return carried

    def merge(self, shortcut: Tensor, residual: Tensor) -> Tensor:
        """X + αF, (B, C', H', W')."""
        return self.path.merge(shortcut, self.alpha * residual)


@plugin("layer_scale")
class LayerScale(Shortcut):
    """x + γ⊙F(x), one learned γ a channel that starts small (Touvron et al. 2021, 2103.17239, CaiT: 1e-5).

    ConvNeXt starts at 1e-6 (Liu et al. 2022, 2201.03545), the default here.
    """

    formula = "x + γ ⊙ F(x),  γ small at the start"

    def __init__(self, context: ShortcutContext, *, initial: AboveZero = 1e-6, path: Factory[Shortcut] = use("identity")) -> None:
        super().__init__()
        self.path = inner_path(path, context)
        self.gamma = nn.Parameter(torch.full((context.out_channels, 1, 1), initial))
        self.connects, self.silences = self.path.connects, self.path.silences
        self.out_channels = self.path.out_channels

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/s, W/s)."""
        carried: Tensor = self.path(x, h)
        return carried

    def merge(self, shortcut: Tensor, residual: Tensor) -> Tensor:
        """X + γ⊙F, (B, C', H', W')."""
        return self.path.merge(shortcut, self.gamma * residual)
