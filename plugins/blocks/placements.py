"""The five places of the activation in a unit (He et al. 2016, 1603.05027, Fig. 4 and Table 2).

Each holds the convolutions of the basic block (ResNet-110) or, with `convs: bottleneck`, of the bottleneck (ResNet-164).
"""

from __future__ import annotations

from typing import Literal

from torch import nn

from nas.plugin import Activation, Block, Factory, Norm, UnitContext, plugin, use

from ._layers import basic_convs, bottleneck_convs, post_activated, pre_activated

Convs = Literal["basic", "bottleneck"]
EXPANSION = 4


def _convs(context: UnitContext, kind: Convs) -> list[nn.Conv2d]:
    if kind == "basic":
        return basic_convs(context, context.width, 2)
    return bottleneck_convs(context, context.width, EXPANSION * context.width)


@plugin("original")
class Original(Block):
    """Activation after the addition, norm inside the branch (Fig. 4 a): the same network as `basic` or `bottleneck`."""

    formula = "y = relu({merge}),  F(x) = BN conv3×3 relu BN conv3×3 (x)"

    def __init__(
        self,
        context: UnitContext,
        *,
        convs: Convs = "basic",
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        layers = _convs(context, convs)
        self.before = nn.Identity()
        self.branch = nn.Sequential(*post_activated(layers, norm, activation))
        self.after = activation()
        self.out_channels, self.num_layers = layers[-1].out_channels, len(layers)


@plugin("bn_after_add")
class BNAfterAdd(Block):
    """The last norm moved behind the addition, where it alters the shortcut's signal too (Fig. 4 b)."""

    formula = "y = relu BN ({merge}),  F(x) = conv3×3 relu BN conv3×3 (x)"

    def __init__(
        self,
        context: UnitContext,
        *,
        convs: Convs = "basic",
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        layers = _convs(context, convs)
        self.before = nn.Identity()
        self.branch = nn.Sequential(*pre_activated(layers, norm, activation))
        self.out_channels, self.num_layers = layers[-1].out_channels, len(layers)
        self.after = nn.Sequential(norm(self.out_channels), activation())


@plugin("relu_before_add")
class ReLUBeforeAdd(Block):
    """The last activation moved before the addition, so that the branch can only add (Fig. 4 c)."""

    formula = "y = {merge},  F(x) = relu BN conv3×3 relu BN conv3×3 (x)"

    def __init__(
        self,
        context: UnitContext,
        *,
        convs: Convs = "basic",
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        layers = _convs(context, convs)
        self.before = nn.Identity()
        self.branch = nn.Sequential(*post_activated(layers, norm, activation), activation())
        self.after = nn.Identity()
        self.out_channels, self.num_layers = layers[-1].out_channels, len(layers)


@plugin("relu_only_preact")
class ReLUOnlyPreact(Block):
    """The activation before each convolution, the norm behind it (Fig. 4 d)."""

    preactivated = True
    formula = "y = {merge},  F(x) = BN conv3×3 relu BN conv3×3 (h),  h = relu(x)"

    def __init__(
        self,
        context: UnitContext,
        *,
        convs: Convs = "basic",
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        layers = _convs(context, convs)
        self.before = activation()
        self.branch = nn.Sequential(*post_activated(layers, norm, activation))
        self.after = nn.Identity()
        self.out_channels, self.num_layers = layers[-1].out_channels, len(layers)
        self._activation = (activation,)

    def closing(self) -> nn.Module:
        """One activation before the pooling."""
        return self._activation[0]()


@plugin("full_preact")
class FullPreact(Block):
    """Norm and activation before each convolution (Fig. 4 e): as `preact_basic` or `preact_bottleneck`."""

    preactivated = True
    formula = "y = {merge},  F(x) = conv3×3 relu BN conv3×3 (h),  h = relu BN (x)"

    def __init__(
        self,
        context: UnitContext,
        *,
        convs: Convs = "basic",
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        layers = _convs(context, convs)
        self.before = nn.Sequential(norm(context.in_channels), activation())
        self.branch = nn.Sequential(*pre_activated(layers, norm, activation))
        self.after = nn.Identity()
        self.out_channels, self.num_layers = layers[-1].out_channels, len(layers)
        self._closing = (norm, activation)

    def closing(self) -> nn.Module:
        """One norm and activation before the pooling."""
        norm, activation = self._closing
        return nn.Sequential(norm(self.unit_channels), activation())
