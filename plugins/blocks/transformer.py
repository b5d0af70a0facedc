"""The two units of a transformer layer: attention between pixels, then an MLP in each (Vaswani et al. 2017, 1706.03762)."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from nas.plugin import Activation, Block, Bounds, Count, Factory, Norm, UnitContext, plugin, use

from ._layers import Pointwise


class SelfAttention(nn.Module):
    """softmax(QKᵀ/√d) V over all pixels, in `heads` parts of the channels; at stride s the queries are every s-th pixel."""

    def __init__(self, in_channels: int, width: int, stride: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Pointwise(in_channels, width, stride)
        self.key = Pointwise(in_channels, width)
        self.value = Pointwise(in_channels, width)
        self.projection = Pointwise(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H/s, W/s)."""
        query = self.query(x)
        q, k, v = (self._by_head(t) for t in (query, self.key(x), self.value(x)))
        mixed = F.scaled_dot_product_attention(q, k, v)
        y: Tensor = self.projection(mixed.transpose(2, 3).reshape(query.shape))
        return y

    def _by_head(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, heads, HW, C/heads)."""
        return x.reshape(x.shape[0], self.heads, x.shape[1] // self.heads, -1).transpose(2, 3)


@plugin("attention")
class Attention(Block):
    """Self-attention between all pixels of the picture: x + Attention(LN x), the first unit of a layer (pre-norm, 2010.11929).

    Each pixel is a token. `heads` has to divide the stage's width. Attention sees no places: the network gives them
    (`isotropic`), or convolutions before it do.
    """

    formula = "y = {merge},  F(x) = W softmax(QKᵀ/√d) V,  Q, K, V = W LN (x)"
    num_layers = 2

    def __init__(self, context: UnitContext, *, heads: Count = 4, norm: Factory[Norm] = use("layer")) -> None:
        super().__init__()
        if context.width % heads:
            raise ValueError(f"heads: {heads} does not divide the width {context.width}; take a divisor of every width")
        self.before = nn.Identity()
        self.branch = nn.Sequential(norm(context.in_channels), SelfAttention(context.in_channels, context.width, context.stride, heads))
        self.after = nn.Identity()
        self.out_channels = context.width
        self._norm = (norm,)

    def closing(self) -> nn.Module:
        """One norm before the pooling: nothing follows the addition."""
        return self._norm[0](self.unit_channels)


@plugin("mlp")
class MLPBlock(Block):
    """Two linear layers in each pixel, `expansion` times the width between them: x + MLP(LN x), a layer's second unit.

    It is the mixer's channel mixing too (Tolstikhin et al. 2021, 2105.01601, Fig. 1).
    """

    formula = "y = {merge},  F(x) = W gelu W LN (x)"
    num_layers = 2

    def __init__(
        self,
        context: UnitContext,
        *,
        expansion: Annotated[float, Bounds(0.01)] = 4.0,
        norm: Factory[Norm] = use("layer"),
        activation: Factory[Activation] = use("gelu"),
    ) -> None:
        super().__init__()
        hidden = max(1, int(expansion * context.width))
        self.before = nn.Identity()
        self.branch = nn.Sequential(
            norm(context.in_channels),
            Pointwise(context.in_channels, hidden, context.stride),
            activation(),
            Pointwise(hidden, context.width),
        )
        self.after = nn.Identity()
        self.out_channels = context.width
        self._norm = (norm,)

    def closing(self) -> nn.Module:
        """One norm before the pooling: nothing follows the addition."""
        return self._norm[0](self.unit_channels)
