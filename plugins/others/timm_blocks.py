"""timm's own residual blocks by name, where the package is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from torch import nn

from nas.plugin import Block, UnitContext, plugin

from ._wrapped import needed, post_activated_parts


@plugin("timm")
class TimmBlock(Block):
    """A post-activation residual block of timm by its class's name, taken apart: its layers are the branch, the shortcut is the unit's.

    `InvertedResidual` widens six times and has no squeeze-and-excitation. Needs the optional package timm.
    """

    formula = "y = relu({merge}),  F(x) = BN conv3×3 relu BN conv3×3 (x)"

    def __init__(self, context: UnitContext, *, block: Literal["BasicBlock", "Bottleneck", "InvertedResidual"] = "BasicBlock") -> None:
        super().__init__()
        models: Any = needed("timm").models
        self.before = nn.Identity()
        if block == "InvertedResidual":
            theirs = models._efficientnet_blocks.InvertedResidual(
                context.in_channels, context.width, stride=context.stride, exp_ratio=6.0, noskip=True
            )
            names = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
            self.branch, self.after = nn.Sequential(*(getattr(theirs, name) for name in names)), nn.Identity()
            self.out_channels, self.num_layers = context.width, 3
            self.formula = "y = {merge},  F(x) = BN conv1×1 relu BN depthwise3×3 relu BN conv1×1 (x)"
        else:
            kind = getattr(models.resnet, block)
            theirs = kind(context.in_channels, context.width, context.stride)
            self.num_layers = 2 if block == "BasicBlock" else 3
            self.branch, self.after = post_activated_parts(theirs, self.num_layers), nn.ReLU()
            self.out_channels = context.width * kind.expansion
            if block == "Bottleneck":
                self.formula = "y = relu({merge}),  F(x) = BN conv1×1 relu BN conv3×3 relu BN conv1×1 (x)"


@plugin("timm_preact")
class TimmPreactBlock(Block):
    """A pre-activation residual block of timm by its class's name, taken apart like those of block `timm`.

    Its convolutions are plain ones, as in timm's resnetv2_50. Needs the optional package timm.
    """

    preactivated = True
    formula = "y = {merge},  F(x) = conv3×3 relu BN conv3×3 (h),  h = relu BN (x)"

    def __init__(self, context: UnitContext, *, block: Literal["PreActBasic", "PreActBottleneck"] = "PreActBasic") -> None:
        super().__init__()
        timm: Any = needed("timm")
        self.num_layers = 2 if block == "PreActBasic" else 3
        self.out_channels = context.width * (1 if block == "PreActBasic" else 4)
        layers: Any = timm.layers
        theirs = getattr(timm.models.resnetv2, block)(
            context.in_channels, self.out_channels, stride=context.stride,
            conv_layer=layers.create_conv2d, norm_layer=layers.BatchNormAct2d,
        )  # fmt: skip
        self.before = theirs.norm1
        last = (theirs.norm3, theirs.conv3) if block == "PreActBottleneck" else ()
        self.branch = nn.Sequential(theirs.conv1, theirs.norm2, theirs.conv2, *last)
        self.after = nn.Identity()
        self._closing: tuple[Callable[[int], nn.Module]] = (layers.BatchNormAct2d,)
        if block == "PreActBottleneck":
            self.formula = "y = {merge},  F(x) = conv1×1 relu BN conv3×3 relu BN conv1×1 (h),  h = relu BN (x)"

    def closing(self) -> nn.Module:
        """One norm and activation before the pooling."""
        return self._closing[0](self.unit_channels)
