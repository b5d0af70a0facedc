"""What the block plugins share: convolutions in a row, with norms and activations between them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from nas.plugin import Activation, Bounds, Factory, Norm, UnitContext

Layers = Annotated[int, Bounds(1, 5)]
"""How many weight layers one shortcut spans."""


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, *, groups: int = 1, bias: bool = False) -> nn.Conv2d:
    """Return a convolution that keeps the resolution at stride 1."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, groups=groups, bias=bias)


class Pointwise(nn.Conv2d):
    """A 1×1 convolution with a bias, computed as one matrix product over all pixels.

    In blocks that normalise over channels the channels lie last in memory, where this is faster than torch's convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/s, W/s)."""
        s = self.stride[0]
        pixels = (x[:, :, ::s, ::s] if s > 1 else x).movedim(1, -1)
        return F.linear(pixels, self.weight.flatten(1), self.bias).movedim(-1, 1)


def basic_convs(context: UnitContext, width: int, layers: int) -> list[nn.Conv2d]:
    """Return `layers` 3×3 convolutions to `width` channels, the first one strided."""
    first = conv(context.in_channels, width, 3, context.stride)
    return [first, *(conv(width, width, 3) for _ in range(layers - 1))]


def bottleneck_convs(context: UnitContext, width: int, out_channels: int, *, stride_in: str = "3x3", groups: int = 1) -> list[nn.Conv2d]:
    """Return 1×1 to `width`, 3×3, 1×1 to `out_channels`; `stride_in` says which of the first two is strided."""
    first, second = (context.stride, 1) if stride_in == "1x1" else (1, context.stride)
    return [
        conv(context.in_channels, width, 1, first),
        conv(width, width, 3, second, groups=groups),
        conv(width, out_channels, 1),
    ]


def post_activated(convs: Iterable[nn.Conv2d], norm: Factory[Norm], activation: Factory[Activation]) -> list[nn.Module]:
    """Conv norm, act conv norm, act conv norm …: each convolution with its norm, activations between them."""
    layers: list[nn.Module] = []
    for i, layer in enumerate(convs):
        layers += ([activation()] if i else []) + [layer, norm(layer.out_channels)]
    return layers


def pre_activated(convs: Iterable[nn.Conv2d], norm: Factory[Norm], activation: Factory[Activation]) -> list[nn.Module]:
    """conv, norm act conv, norm act conv …: norm and activation before each convolution but the first."""
    layers: list[nn.Module] = []
    for i, layer in enumerate(convs):
        layers += ([norm(layer.in_channels), activation()] if i else []) + [layer]
    return layers


def repeated(layer: str, between: str, count: int) -> str:
    """Write `count` layers of a formula: `repeated("conv3×3", " relu BN ", 2)` is `conv3×3 relu BN conv3×3`."""
    return between.join([layer] * count)
