"""Blocks with squeeze-and-excitation before the addition (Hu et al. 2018, 1709.01507, Fig. 3)."""

from __future__ import annotations

from torch import nn

from nas.plugin import Activation, Block, Count, Factory, Norm, UnitContext, last_layer, plugin, use

from ._layers import Layers, basic_convs, bottleneck_convs, post_activated, repeated
from ._squeeze_excite import SqueezeExcite


@plugin("se_basic")
class SEBasic(Block):
    """The basic block, its output scaled channel by channel before the addition; `reduction` narrows the gate's hidden layer."""

    formula = "y = relu({merge}),  F(x) = SE BN conv3×3 relu BN conv3×3 (x)"

    def __init__(
        self,
        context: UnitContext,
        *,
        layers: Layers = 2,
        reduction: Count = 16,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        width = context.width
        self.before = nn.Identity()
        self.branch: nn.Sequential = nn.Sequential(
            *post_activated(basic_convs(context, width, layers), norm, activation),
            SqueezeExcite(width, width // reduction, activation),
        )
        self.after = activation()
        self.out_channels = width
        self.num_layers = layers
        self.formula = f"y = relu({{merge}}),  F(x) = SE {repeated('BN conv3×3', ' relu ', layers)} (x)"

    def last_layers(self) -> tuple[nn.Module, ...]:
        """The last norm: the gate that follows only scales it."""
        return last_layer(self.branch[:-1])


@plugin("se_bottleneck")
class SEBottleneck(Block):
    """The bottleneck, its output scaled channel by channel before the addition; `reduction` narrows the gate's hidden layer."""

    formula = "y = relu({merge}),  F(x) = SE BN conv1×1 relu BN conv3×3 relu BN conv1×1 (x)"
    num_layers = 3

    def __init__(
        self,
        context: UnitContext,
        *,
        expansion: Count = 4,
        reduction: Count = 16,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        out = context.width * expansion
        self.before = nn.Identity()
        self.branch: nn.Sequential = nn.Sequential(
            *post_activated(bottleneck_convs(context, context.width, out), norm, activation),
            SqueezeExcite(out, out // reduction, activation),
        )
        self.after = activation()
        self.out_channels = out

    def last_layers(self) -> tuple[nn.Module, ...]:
        """The last norm: the gate that follows only scales it."""
        return last_layer(self.branch[:-1])
