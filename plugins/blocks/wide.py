"""The wide block: a pre-activation basic block of many channels (Zagoruyko and Komodakis 2016, 1605.07146)."""

from __future__ import annotations

from torch import nn

from nas.plugin import Activation, Block, Count, Factory, Fraction, Norm, UnitContext, plugin, use

from ._layers import basic_convs, pre_activated


@plugin("wide")
class Wide(Block):
    """A pre-activation basic block of `factor` times the stage's width, with dropout between its convolutions (Fig. 1 d).

    WRN-28-10 is `factor: 10` at widths 16, 32, 64 and depth 4, behind a stem of 16 channels and with projections.
    """

    preactivated = True
    formula = "y = {merge},  F(x) = conv3×3 dropout relu BN conv3×3 (h),  h = relu BN (x)"
    num_layers = 2

    def __init__(
        self,
        context: UnitContext,
        *,
        factor: Count = 10,
        dropout: Fraction = 0.0,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        self.out_channels = context.width * factor
        *opening, last = pre_activated(basic_convs(context, self.out_channels, 2), norm, activation)
        self.before = nn.Sequential(norm(context.in_channels), activation())
        self.branch = nn.Sequential(*opening, nn.Dropout(dropout), last)
        self.after = nn.Identity()
        self._closing = (norm, activation)

    def closing(self) -> nn.Module:
        """One norm and activation before the pooling."""
        norm, activation = self._closing
        return nn.Sequential(norm(self.unit_channels), activation())
