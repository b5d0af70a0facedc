"""The two networks of a generative adversarial training, built of the same units (Miyato et al. 2018, 1802.05957, Table 4)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from nas.plugin import (
    Block,
    Count,
    Each,
    Factory,
    Head,
    HeadContext,
    Initialisation,
    Network,
    NetworkContext,
    Shortcut,
    plugin,
    use,
)

from ._line import Line, layers_in, per_stage, per_unit


class Unfold(nn.Module):
    """One linear layer from a latent vector to a picture of `size`×`size` pixels."""

    num_layers = 1

    def __init__(self, num_latent: int, width: int, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_latent, width * size * size)
        self.shape = (width, size, size)

    def forward(self, z: Tensor) -> Tensor:
        """(B, num_latent) -> (B, width, size, size)."""
        y: Tensor = self.linear(z).unflatten(1, self.shape)
        return y


@plugin("generator")
class Generator(Network):
    """A picture from a latent vector: `size`×`size` pixels from one linear layer, then stages that each raise the resolution.

    Its input is the latent vector (any shape, read as one vector), its outputs are the picture's channels; the picture has
    `size` times the product of all `upsample` pixels a side. The first unit of a stage raises the resolution, by 2 unless
    `upsample` says otherwise, for all stages or for each. The defaults are SNGAN's generator of 32×32 pictures.
    """

    def __init__(
        self,
        context: NetworkContext,
        *,
        size: Count = 4,
        widths: tuple[Count, ...] = (256, 256, 256),
        depth: Each[Count] = 1,
        upsample: Each[Count] = 2,
        block: Each[Factory[Block]] = use("generator"),
        shortcut: Each[Factory[Shortcut]] = use("projection", norm=use("none")),
        head: Factory[Head] = use("to_picture"),
        init: Factory[Initialisation] = use("kaiming"),
    ) -> None:
        super().__init__()
        depths = per_stage("depth", depth, len(widths))
        blocks, shortcuts = per_unit("block", block, depths), per_unit("shortcut", shortcut, depths)
        raised = per_stage("upsample", upsample, len(widths))
        self.stem = Unfold(math.prod(context.input_shape), widths[0], size)
        line = Line(widths[0], num_units=sum(depths))
        self.stages = nn.Sequential(
            *(
                line.stage(blocks[stage], shortcuts[stage], width=width, upsample=raised[stage], stage=stage)
                for stage, width in enumerate(widths)
            )
        )
        self.closing = line.closing()
        self.head = head(HeadContext(line.channels, context.num_outputs))
        self.initialisation = init()
        self.num_layers = layers_in(*self.children())

    def forward(self, z: Tensor) -> Tensor:
        """(B, …) -> (B, num_outputs, H, W), H = W = size · ∏ upsample."""
        picture: Tensor = self.head(self.closing(self.stages(self.stem(z.flatten(1)))))
        return picture


@plugin("discriminator")
class Discriminator(Network):
    """A score of a picture: stages that halve the resolution, the first unit reading the picture itself, then a sum.

    `strides` says by how much the resolution falls in each stage, by 2 unless said otherwise. The defaults are SNGAN's
    discriminator without its last two units.
    """

    def __init__(
        self,
        context: NetworkContext,
        *,
        widths: tuple[Count, ...] = (128, 128),
        depth: Each[Count] = 1,
        strides: Each[Count] = 2,
        block: Each[Factory[Block]] = use("discriminator"),
        shortcut: Each[Factory[Shortcut]] = use("pool_projection", norm=use("none")),
        head: Factory[Head] = use("sum_linear"),
        init: Factory[Initialisation] = use("kaiming"),
    ) -> None:
        super().__init__()
        depths = per_stage("depth", depth, len(widths))
        blocks, shortcuts = per_unit("block", block, depths), per_unit("shortcut", shortcut, depths)
        steps = per_stage("strides", strides, len(widths))
        line = Line(context.input_shape[0], num_units=sum(depths))
        self.stages = nn.Sequential(
            *(
                line.stage(blocks[stage], shortcuts[stage], width=width, stride=steps[stage], stage=stage)
                for stage, width in enumerate(widths)
            )
        )
        self.closing = line.closing()
        self.head = head(HeadContext(line.channels, context.num_outputs))
        self.initialisation = init()
        self.num_layers = layers_in(*self.children())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_outputs)."""
        score: Tensor = self.head(self.closing(self.stages(x)))
        return score
