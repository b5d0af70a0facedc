"""A stem: the layers before the first unit."""

from __future__ import annotations

from torch import Tensor, nn

from nas.plugin import Activation, Count, Factory, Norm, Stem, StemContext, plugin, use


@plugin("my_plugin")
class MyPlugin(Stem):
    """One strided convolution, with norm and activation unless the first block brings its own."""

    def __init__(
        self,
        context: StemContext,
        *,
        stride: Count = 2,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        self.out_channels = context.width
        self.conv = nn.Conv2d(context.in_channels, context.width, 5, stride, padding=2, bias=False)
        self.ending = nn.Sequential(norm(context.width), activation()) if context.activated else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H/s, W/s)."""
        y: Tensor = self.ending(self.conv(x))
        return y
