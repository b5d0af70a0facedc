"""The 1×1 projection shortcuts: options B and C of He et al. 2015, and ResNet-D's."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from nas.plugin import Factory, Norm, Shortcut, ShortcutContext, plugin, use

from ._match import enlarged, halving_pool, projecting_conv, projecting_norm


@plugin("projection")
class Projection(Shortcut):
    """A 1×1 convolution with norm, where the shape changes (option B) or everywhere (option C) (He et al. 2015, §3.3).

    In a pre-activation unit it reads the pre-activated input and has no norm of its own (He et al. 2016, §4.1). Where the
    resolution rises each projected pixel is repeated, which equals projecting the repeated ones.
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
        self.formula = type(self).formula if self.projects else Shortcut.formula
        if self.projects:
            self.conv = projecting_conv(context, context.out_channels, stride=context.stride)
            self.norm = projecting_norm(context, norm, context.out_channels)
        self.upsample = context.upsample
        self.out_channels = context.out_channels

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/s, W/s)."""
        if not self.projects:
            return x
        return enlarged(self.norm(self.conv(h)), self.upsample)


@plugin("pool_projection")
class PoolProjection(Shortcut):
    """Average pooling, then a 1×1 convolution with norm, where the shape changes (He, T. et al. 2018, 1812.01187, ResNet-D).

    A strided 1×1 convolution ignores three pixels of four; the pooling reads them all. In a pre-activation unit it reads
    the pre-activated input and has no norm of its own.
    """

    formula = "W pool(x) + F(x)"

    def __init__(self, context: ShortcutContext, *, norm: Factory[Norm] = use("batch")) -> None:
        super().__init__()
        self.projects = not context.same_shape
        self.formula = type(self).formula if self.projects else Shortcut.formula
        if self.projects:
            self.pool = halving_pool(context.stride)
            self.conv = projecting_conv(context, context.out_channels)
            self.norm = projecting_norm(context, norm, context.out_channels)
        self.upsample = context.upsample
        self.out_channels = context.out_channels

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/s, W/s)."""
        if not self.projects:
            return x
        return enlarged(self.norm(self.conv(self.pool(h))), self.upsample)
