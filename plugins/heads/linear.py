"""Classification heads: average pooling and one linear layer, with what some families put around it."""

from __future__ import annotations

from torch import Tensor, nn

from nas.plugin import Activation, Count, Factory, Fraction, Head, HeadContext, Norm, plugin, use


@plugin("linear")
class Linear(Head):
    """Global average pooling, then one linear layer (He et al. 2015, §4.2), with dropout before it where `dropout` is set."""

    def __init__(self, context: HeadContext, *, dropout: Fraction = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(context.in_channels, context.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_outputs)."""
        logits: Tensor = self.linear(self.dropout(x.mean(dim=(2, 3))))
        return logits


@plugin("norm_linear")
class NormLinear(Head):
    """Global average pooling, a norm, then one linear layer: ConvNeXt's head (Liu et al. 2022, 2201.03545, §2.6).

    The network's own closing norm stands before it, unless the network says `closing: none`, as ConvNeXt does.
    """

    def __init__(self, context: HeadContext, *, dropout: Fraction = 0.0, norm: Factory[Norm] = use("layer")) -> None:
        super().__init__()
        self.norm = norm(context.in_channels)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(context.in_channels, context.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_outputs)."""
        pooled = self.norm(x.mean(dim=(2, 3), keepdim=True)).flatten(1)
        logits: Tensor = self.linear(self.dropout(pooled))
        return logits


@plugin("conv_linear")
class ConvLinear(Head):
    """A 1×1 convolution to `width` channels with norm and activation, average pooling, dropout, one linear layer.

    The head of MobileNetV2 (Sandler et al. 2018, 1801.04381, Table 2: width 1280, ReLU6) and of EfficientNet.
    """

    num_layers = 2

    def __init__(
        self,
        context: HeadContext,
        *,
        width: Count = 1280,
        dropout: Fraction = 0.2,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu6"),
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(context.in_channels, width, 1, bias=False)
        self.norm = norm(width)
        self.activation = activation()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, context.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_outputs)."""
        features = self.activation(self.norm(self.conv(x)))
        logits: Tensor = self.linear(self.dropout(features.mean(dim=(2, 3))))
        return logits
