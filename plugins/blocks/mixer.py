"""The mixer's first unit: a perceptron across the pixels (Tolstikhin et al. 2021, 2105.01601). Its second one is block `mlp`."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from nas.plugin import Activation, Block, Bounds, Count, Factory, Norm, UnitContext, plugin, use

from ._tokens import TokenContext


class AcrossTokens(nn.Module):
    """W₂ act(W₁ t) for each channel, t its values at all pixels."""

    def __init__(self, num_tokens: int, hidden: int, activation: Factory[Activation]) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(num_tokens, hidden), activation(), nn.Linear(hidden, num_tokens))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        mixed: Tensor = self.layers(x.flatten(2)).reshape(x.shape)
        return mixed


@plugin("token_mixing")
class TokenMixing(Block):
    """An MLP across all pixels, the same for every channel: x + MLP((LN x)ᵀ)ᵀ (Fig. 1); `expansion` times the width inside.

    It needs to know how many pixels there are: the network `isotropic` tells it, elsewhere `tokens` says it. It keeps
    width and resolution.
    """

    formula = "y = {merge},  F(x) = (W gelu W (LN x)ᵀ)ᵀ"
    num_layers = 2

    def __init__(
        self,
        context: UnitContext,
        *,
        expansion: Annotated[float, Bounds(0.01)] = 0.5,
        tokens: Count | None = None,
        norm: Factory[Norm] = use("layer"),
        activation: Factory[Activation] = use("gelu"),
    ) -> None:
        super().__init__()
        num_tokens = tokens or (context.num_tokens if isinstance(context, TokenContext) else 0)
        if not num_tokens:
            raise ValueError("its weights span a fixed number of pixels: use it in network isotropic, or give it `tokens: H×W`")
        if context.stride != 1:
            raise ValueError(f"it keeps the resolution, got a unit of stride {context.stride}; put a transition before the stage")
        self.before = nn.Identity()
        self.branch = nn.Sequential(norm(context.in_channels), AcrossTokens(num_tokens, max(1, int(expansion * context.width)), activation))
        self.after = nn.Identity()
        self.out_channels = context.in_channels
        self._norm = (norm,)

    def closing(self) -> nn.Module:
        """One norm before the pooling: nothing follows the addition."""
        return self._norm[0](self.unit_channels)
