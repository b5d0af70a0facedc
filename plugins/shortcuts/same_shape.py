"""The shortcut that exists only where the shape stays: MobileNetV2's, EfficientNet's and RepVGG's."""

from __future__ import annotations

from torch import Tensor

from nas.plugin import Factory, Norm, Shortcut, ShortcutContext, plugin, use


@plugin("same_shape")
class SameShape(Shortcut):
    """x where the unit keeps its shape; nothing where it changes (Sandler et al. 2018, 1801.04381, Fig. 4 d).

    With `norm: batch` it is the identity branch of RepVGG (Ding et al. 2021, 2101.03697, §3.3).
    """

    formula = "x + F(x), or F(x) where the shape changes"

    def __init__(self, context: ShortcutContext, *, norm: Factory[Norm] = use("none")) -> None:
        super().__init__()
        self.connects = context.same_shape
        if self.connects:
            self.norm = norm(context.in_channels)
        self.out_channels = context.out_channels

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """(B, C, H, W) -> the same; where the shape changes, `merge` drops what is returned here."""
        return self.norm(x) if self.connects else x

    def merge(self, shortcut: Tensor, residual: Tensor) -> Tensor:
        """Add the two where there are two, (B, C', H', W')."""
        return shortcut + residual if self.connects else residual
