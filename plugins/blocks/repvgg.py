"""The RepVGG block: parallel convolutions that fuse to one (Ding et al. 2021, 2101.03697)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.plugin import Activation, Block, Factory, Norm, Shortcut, UnitContext, plugin, use

from ._layers import conv


class _Parallel(nn.Module):
    """A 3×3 and a 1×1 convolution side by side, each with its norm: BN conv3×3(x) + BN conv1×1(x)."""

    def __init__(self, context: UnitContext, norm: Factory[Norm]) -> None:
        super().__init__()
        self.conv3x3 = conv(context.in_channels, context.width, 3, context.stride)
        self.norm3x3 = norm(context.width)
        self.conv1x1 = conv(context.in_channels, context.width, 1, context.stride)
        self.norm1x1 = norm(context.width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/s, W/s)."""
        y: Tensor = self.norm3x3(self.conv3x3(x)) + self.norm1x1(self.conv1x1(x))
        return y


@plugin("repvgg")
class RepVGG(Block):
    """A 3×3 and a 1×1 convolution side by side, each with a norm; the activation follows the sum (Fig. 2 b).

    The paper's third branch, the identity with a norm of its own, is the shortcut `{same_shape: {norm: batch}}`. `fuse`
    turns the unit into one 3×3 convolution for inference.
    """

    formula = "y = relu({merge}),  F(x) = BN conv3×3 (x) + BN conv1×1 (x)"
    shortcuts = ("none", "identity", "projection", "same_shape")
    num_layers = 1

    def __init__(
        self,
        context: UnitContext,
        *,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        self.before = nn.Identity()
        self.branch: _Parallel = _Parallel(context, norm)
        self.after = activation()
        self.out_channels = context.width

    def last_layers(self) -> tuple[nn.Module, ...]:
        """The last layer of each of the two, a norm or, with none, the convolution."""
        parts = self.branch
        pairs = ((parts.conv3x3, parts.norm3x3), (parts.conv1x1, parts.norm1x1))
        return tuple(norm if any(True for _ in norm.parameters()) else layer for layer, norm in pairs)

    @torch.no_grad()
    def fuse(self, shortcut: Shortcut) -> nn.Conv2d:
        """Return the one 3×3 convolution that equals branch plus `shortcut`, the unit's own, in evaluation (§3.3).

        `after(fuse(shortcut)(x))` is the unit's output. Raises ValueError where the norms are not batch norms.
        """
        parts = self.branch
        kernel, bias = _folded(parts.conv3x3, parts.norm3x3)
        pointwise, pointwise_bias = _folded(parts.conv1x1, parts.norm1x1)
        carried, carried_bias = _pixelwise(shortcut.eval(), parts.conv3x3)
        fused = nn.Conv2d(
            parts.conv3x3.in_channels, self.out_channels, 3, parts.conv3x3.stride[0], padding=1,
            device=kernel.device, dtype=kernel.dtype,
        )  # fmt: skip
        fused.weight.copy_(kernel + F.pad(pointwise + carried, (1, 1, 1, 1)))
        assert fused.bias is not None  # it is built with one
        fused.bias.copy_(bias + pointwise_bias + carried_bias)
        return fused


def _folded(layer: nn.Conv2d, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Fold a batch norm in evaluation into the convolution before it: a kernel (C', C, k, k) and a bias (C',)."""
    if isinstance(norm, nn.Identity):
        return layer.weight, layer.weight.new_zeros(layer.out_channels)
    if not isinstance(norm, nn.BatchNorm2d) or norm.running_var is None or norm.running_mean is None:
        raise ValueError(f"only a batch norm folds into a convolution, not {type(norm).__name__}; take norm: batch")
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return layer.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale


def _pixelwise(shortcut: Shortcut, like: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Read a path that treats every pixel alike as a 1×1 kernel (C', C, 1, 1) and a bias (C',), from its answer to unit vectors."""
    if not shortcut.connects:
        return like.weight.new_zeros(like.out_channels, like.in_channels, 1, 1), like.weight.new_zeros(like.out_channels)
    units = torch.eye(like.in_channels, device=like.weight.device, dtype=like.weight.dtype)[:, :, None, None]
    bias = shortcut(torch.zeros_like(units[:1]), torch.zeros_like(units[:1]))
    return (shortcut(units, units) - bias).transpose(0, 1), bias.flatten()
