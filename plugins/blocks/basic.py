"""The basic block: two 3×3 convolutions (He et al. 2015, 1512.03385, Fig. 5 left)."""

from __future__ import annotations

from torch import nn

from nas.plugin import Activation, Block, Factory, Norm, UnitContext, plugin, use

from ._layers import Layers, basic_convs, post_activated, repeated


@plugin("basic")
class Basic(Block):
    """Two 3×3 convolutions, each with a norm; the activation follows the addition (He et al. 2015, Fig. 5 left).

    `layers` is the number of convolutions that one shortcut spans: 2 in the paper, which saw no advantage in 1 (§3.2).
    """

    formula = "y = relu({merge}),  F(x) = BN conv3×3 relu BN conv3×3 (x)"

    def __init__(
        self,
        context: UnitContext,
        *,
        layers: Layers = 2,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        self.before = nn.Identity()
        self.branch = nn.Sequential(*post_activated(basic_convs(context, context.width, layers), norm, activation))
        self.after = activation()
        self.out_channels = context.width
        self.num_layers = layers
        self.formula = f"y = relu({{merge}}),  F(x) = {repeated('BN conv3×3', ' relu ', layers)} (x)"
