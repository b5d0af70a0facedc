"""No shortcut: the plain network."""

from __future__ import annotations

from torch import Tensor

from nas.plugin import Shortcut, ShortcutContext, plugin


@plugin("none")
class NoShortcut(Shortcut):
    """The plain network: the unit's output is the branch alone (He et al. 2015, §3.3)."""

    formula = "F(x)"
    connects = False

    def __init__(self, context: ShortcutContext) -> None:
        super().__init__()
        self.out_channels = context.out_channels

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """Carry nothing: `merge` drops what is returned here."""
        return x

    def merge(self, shortcut: Tensor, residual: Tensor) -> Tensor:
        """The branch alone, (B, C', H', W')."""
        return residual
