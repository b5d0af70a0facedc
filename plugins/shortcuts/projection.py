"""The 1×1 projection shortcut, options B and C of He et al. 2015."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from nas.plugin import Factory, Norm, Shortcut, ShortcutContext, plugin, use


@plugin("projection")
class Projection(Shortcut):
    """A 1×1 convolution with norm, where the shape changes (option B) or everywhere (option C) (He et al. 2015, §3.3).

    In a pre-activation unit it reads the pre-activated input and has no norm of its own (He et al. 2016, §4.1).
    """

    formula = "W x + F(x)"

    def __init__(
        self,
        context: ShortcutContext,
        *,
        where: Literal["needed", "everywhere"] = "needed",
        norm: Factory[Norm] = use("batch"),
    ) -> None:
        super().__init__()
        self.projects = where == "everywhere" or not context.same_shape
        if self.projects:
            self.conv = nn.Conv2d(context.in_channels, context.out_channels, 1, context.stride, bias=False)
            self.norm = nn.Identity() if context.preactivated else norm(context.out_channels)
        self.out_channels = context.out_channels

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/s, W/s)."""
        if not self.projects:
            return x
        projected: Tensor = self.norm(self.conv(h))
        return projected
