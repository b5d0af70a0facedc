"""A network: what is between a picture and its class scores."""

from __future__ import annotations

from torch import Tensor, nn

from nas.plugin import (
    Block,
    Count,
    Factory,
    Head,
    HeadContext,
    Initialisation,
    Network,
    NetworkContext,
    Shortcut,
    Stem,
    StemContext,
    UnitContext,
    make_unit,
    plugin,
    use,
)


@plugin("my_plugin")
class MyPlugin(Network):
    """A stem, `depth` units of one width, and a head."""

    def __init__(
        self,
        context: NetworkContext,
        *,
        width: Count = 16,
        depth: Count = 3,
        stem: Factory[Stem] = use("conv3x3"),
        block: Factory[Block] = use("basic"),
        shortcut: Factory[Shortcut] = use("identity"),
        head: Factory[Head] = use("linear"),
        init: Factory[Initialisation] = use("kaiming"),
    ) -> None:
        super().__init__()
        self.stem = stem(StemContext(context.input_shape[0], width))
        channels, self.stage = self.stem.out_channels, nn.Sequential()
        for index in range(depth):
            unit = make_unit(block, shortcut, UnitContext(channels, width, index=index, num_units=depth))
            self.stage.append(unit)
            channels = unit.out_channels
        self.closing = unit.block.closing()
        self.head = head(HeadContext(channels, context.num_outputs))
        self.initialisation = init()
        self.num_layers = self.stem.num_layers + sum(unit.block.num_layers for _, unit in self.units()) + self.head.num_layers

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_outputs)."""
        logits: Tensor = self.head(self.closing(self.stage(self.stem(x))))
        return logits
