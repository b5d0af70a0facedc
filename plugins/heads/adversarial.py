"""The ends of generative adversarial networks: a picture, and a score of one (Miyato et al. 2018, 1802.05957, Table 4)."""

from __future__ import annotations

from torch import Tensor, nn

from nas.plugin import Activation, Factory, Head, HeadContext, plugin, use


@plugin("to_picture")
class ToPicture(Head):
    """A 3×3 convolution to the picture's channels, then `activation`: tanh, for pictures in −1..1."""

    def __init__(self, context: HeadContext, *, activation: Factory[Activation] = use("tanh")) -> None:
        super().__init__()
        self.conv = nn.Conv2d(context.in_channels, context.num_outputs, 3, padding=1)
        self.activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_outputs, H, W)."""
        picture: Tensor = self.activation(self.conv(x))
        return picture


@plugin("sum_linear")
class SumLinear(Head):
    """The sum over all pixels, then one linear layer: the score of SNGAN's and BigGAN's discriminators."""

    def __init__(self, context: HeadContext) -> None:
        super().__init__()
        self.linear = nn.Linear(context.in_channels, context.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_outputs)."""
        score: Tensor = self.linear(x.sum(dim=(2, 3)))
        return score
