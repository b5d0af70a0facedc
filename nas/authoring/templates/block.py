"""A block: the residual branch of a unit."""

from __future__ import annotations

from torch import nn

from nas.plugin import Activation, Block, Count, Factory, Norm, UnitContext, plugin, use


@plugin("my_plugin")
class MyPlugin(Block):
    """One convolution, a norm, and an activation behind the merge."""

    formula = "y = relu({merge}),  F(x) = BN conv (x)"
    num_layers = 1

    def __init__(
        self,
        context: UnitContext,
        *,
        kernel_size: Count = 3,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        conv = nn.Conv2d(context.in_channels, context.width, kernel_size, context.stride, kernel_size // 2, bias=False)
        self.before = nn.Identity()
        self.branch = nn.Sequential(conv, norm(context.width))
        self.after = activation()
        self.out_channels = context.width
