"""What the shortcut plugins share: the path inside another shortcut, and the 1×1 convolution that changes a shape."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from nas.plugin import Factory, Norm, Shortcut, ShortcutContext

from .same_shape import SameShape


def inner_path(path: Factory[Shortcut], context: ShortcutContext, *, adds: bool = False, shaped: bool = False) -> Shortcut:
    """Build the shortcut that another one wraps: it carries x, changes its shape and merges.

    `adds` asks for a path that is carried as it is and added, `shaped` for one in the shape of F(x) at every unit. Raises
    ValueError for a path that is not so, or that carries nothing at all.
    """
    built = path(context)
    name = getattr(type(built), "plugin_name", type(built).__name__)
    if context.same_shape and not built.connects:
        raise ValueError(f"path '{name}' carries nothing beside the branch; take identity or projection")
    if adds and type(built).merge not in (Shortcut.merge, SameShape.merge):
        raise ValueError(f"path '{name}' merges in its own way; take one that adds, as identity or projection do")
    if shaped and not built.connects:
        raise ValueError(
            f"path '{name}' does not bring x ({context.in_channels} channels, stride {context.stride}) to the shape of F(x) "
            f"({context.out_channels} channels); take identity, projection or pool_projection"
        )
    return built


def projecting_conv(context: ShortcutContext, out_channels: int, *, stride: int = 1) -> nn.Conv2d:
    """Return the 1×1 convolution from x's channels to `out_channels`, without a bias."""
    return nn.Conv2d(context.in_channels, out_channels, 1, stride, bias=False)


def projecting_norm(context: ShortcutContext, norm: Factory[Norm], out_channels: int) -> nn.Module:
    """Return the projection's norm: none in a pre-activation unit, whose h is normalised already (He et al. 2016, §4.1)."""
    return nn.Identity() if context.preactivated else norm(out_channels)


def enlarged(x: Tensor, upsample: int) -> Tensor:
    """Repeat every pixel `upsample` times in both directions, (B, C, H, W) -> (B, C, u·H, u·W)."""
    return F.interpolate(x, scale_factor=upsample, mode="nearest") if upsample > 1 else x


def halving_pool(stride: int) -> nn.Module:
    """Return the average over stride×stride pixels, (B, C, H, W) -> (B, C, ⌈H/s⌉, ⌈W/s⌉); nothing at stride 1."""
    if stride == 1:
        return nn.Identity()
    return nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False)
