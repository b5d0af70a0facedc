"""The layers that some families put between two stages: blocks to use as a network's `transition`.

As a unit's block they run without a shortcut alone: an odd last row is not read, as in the published code.
"""

from __future__ import annotations

from typing import Annotated

from torch import nn

from nas.plugin import Activation, Block, Bounds, Factory, Norm, UnitContext, plugin, use

Compression = Annotated[float, Bounds(0.01, 1.0)]


@plugin("norm_conv")
class NormConv(Block):
    """A norm, then a convolution as large as its stride, to the stage's width: ConvNeXt's transition (2201.03545, §2.6)."""

    preactivated = True
    shortcuts = ("none",)
    formula = "y = {merge},  F(x) = conv s×s (h),  h = LN (x)"
    num_layers = 1

    def __init__(self, context: UnitContext, *, norm: Factory[Norm] = use("layer")) -> None:
        super().__init__()
        self.before = norm(context.in_channels)
        self.branch = nn.Conv2d(context.in_channels, context.width, context.stride, context.stride)
        self.after = nn.Identity()
        self.out_channels = context.width
        self._norm = (norm,)

    def closing(self) -> nn.Module:
        """One norm before the pooling."""
        return self._norm[0](self.unit_channels)


@plugin("compress")
class Compress(Block):
    """Norm, activation, a 1×1 convolution to `compression` times the channels it reads, average pooling: DenseNet's transition.

    It heeds no width: with `compression: 0.5` it halves what a dense stage has gathered (Huang et al. 2017, 1608.06993, §3).
    """

    preactivated = True
    shortcuts = ("none",)
    formula = "y = {merge},  F(x) = pool conv1×1 (h),  h = relu BN (x)"
    num_layers = 1

    def __init__(
        self,
        context: UnitContext,
        *,
        compression: Compression = 1.0,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        self.out_channels = max(1, int(compression * context.in_channels))
        self.before = nn.Sequential(norm(context.in_channels), activation())
        self.branch = nn.Sequential(
            nn.Conv2d(context.in_channels, self.out_channels, 1, bias=False),
            nn.AvgPool2d(context.stride) if context.stride > 1 else nn.Identity(),
        )
        self.after = nn.Identity()
        self._closing = (norm, activation)

    def closing(self) -> nn.Module:
        """One norm and activation before the pooling."""
        norm, activation = self._closing
        return nn.Sequential(norm(self.unit_channels), activation())
