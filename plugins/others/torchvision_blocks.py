"""torchvision's own residual blocks by name, where the package is installed."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn

from nas.plugin import Block, UnitContext, plugin

from ._wrapped import needed, post_activated_parts


@plugin("torchvision")
class TorchvisionBlock(Block):
    """A residual block of torchvision by its class's name, taken apart: its layers are the branch, the shortcut is the unit's.

    `InvertedResidual` widens six times. Needs the optional package torchvision.
    """

    formula = "y = relu({merge}),  F(x) = BN conv3×3 relu BN conv3×3 (x)"

    def __init__(self, context: UnitContext, *, block: Literal["BasicBlock", "Bottleneck", "InvertedResidual"] = "BasicBlock") -> None:
        super().__init__()
        models: Any = needed("torchvision").models
        self.before = nn.Identity()
        if block == "InvertedResidual":
            theirs = models.mobilenetv2.InvertedResidual(context.in_channels, context.width, context.stride, expand_ratio=6)
            self.branch, self.after = theirs.conv, nn.Identity()
            self.out_channels, self.num_layers = context.width, 3
            self.formula = "y = {merge},  F(x) = BN conv1×1 relu6 BN depthwise3×3 relu6 BN conv1×1 (x)"
        else:
            kind = getattr(models.resnet, block)
            theirs = kind(context.in_channels, context.width, context.stride)
            self.num_layers = 2 if block == "BasicBlock" else 3
            self.branch, self.after = post_activated_parts(theirs, self.num_layers), nn.ReLU()
            self.out_channels = context.width * kind.expansion
            if block == "Bottleneck":
                self.formula = "y = relu({merge}),  F(x) = BN conv1×1 relu BN conv3×3 relu BN conv1×1 (x)"
