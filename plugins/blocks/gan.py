"""The blocks of adversarial networks: resampling on both paths (Miyato et al. 2018, 1802.05957; Brock et al. 2018, 1809.11096)."""

from __future__ import annotations

from torch import nn

from nas.plugin import Activation, Block, Factory, Norm, UnitContext, plugin, use

from ..shortcuts._match import halving_pool
from ._layers import conv


@plugin("generator")
class GeneratorBlock(Block):
    """Norm, activation, enlarging, 3×3, norm, activation, 3×3: the unit of SNGAN's and BigGAN's generators.

    Enlarging repeats every pixel. It reads x as it comes: with shortcut `{projection: {norm: none}}` it is their unit, with
    `none` or `identity` the same one without weights beside it. At a stride it averages at its end, as `discriminator` does.
    """

    upsamples = True
    formula = "y = {merge},  F(x) = conv3×3 relu BN conv3×3 up relu BN (x)"
    num_layers = 2

    def __init__(
        self,
        context: UnitContext,
        *,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        width, up = context.width, context.upsample
        layers = [norm(context.in_channels), activation()]
        layers += [nn.Upsample(scale_factor=up)] if up > 1 else []
        layers += [conv(context.in_channels, width, 3, bias=True), norm(width), activation(), conv(width, width, 3, bias=True)]
        self.before = nn.Identity()
        self.branch = nn.Sequential(*layers, halving_pool(context.stride))
        self.after = nn.Identity()
        self.out_channels = width
        self._closing = (norm, activation)

    def closing(self) -> nn.Module:
        """One norm and activation before what makes the picture."""
        norm, activation = self._closing
        return nn.Sequential(norm(self.unit_channels), activation())


@plugin("discriminator")
class DiscriminatorBlock(Block):
    """Activation, 3×3, activation, 3×3, average pooling at a stride: the unit of SNGAN's and BigGAN's discriminators.

    The network's first unit has no activation at its start, since it reads the picture. With shortcut
    `{pool_projection: {norm: none}}` it is their unit, with `none` or `identity` the same one without weights beside it.
    The papers normalise the weights' spectrum in place of the activations, which is a matter of the training.
    """

    formula = "y = {merge},  F(x) = pool conv3×3 relu conv3×3 relu (x)"
    num_layers = 2

    def __init__(
        self,
        context: UnitContext,
        *,
        norm: Factory[Norm] = use("none"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        width = context.width
        layers = [norm(context.in_channels), activation()] if context.index > 0 else []
        layers += [conv(context.in_channels, width, 3, bias=True), norm(width), activation(), conv(width, width, 3, bias=True)]
        self.before = nn.Identity()
        self.branch = nn.Sequential(*layers, halving_pool(context.stride))
        self.after = nn.Identity()
        self.out_channels = width
        self._closing = (norm, activation)
        if context.index == 0:
            self.formula = "y = {merge},  F(x) = pool conv3×3 relu conv3×3 (x)"

    def closing(self) -> nn.Module:
        """One activation before the pooling, behind a norm where there are norms."""
        norm, activation = self._closing
        return nn.Sequential(norm(self.unit_channels), activation())
