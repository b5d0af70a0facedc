"""DenseNet: stages in which every unit reads the outputs of all before it (Huang et al. 2017, 1608.06993)."""

from __future__ import annotations

from torch import Tensor, nn

from nas.plugin import (
    Activation,
    Block,
    Count,
    Each,
    Factory,
    Head,
    HeadContext,
    Initialisation,
    Network,
    NetworkContext,
    Norm,
    Shortcut,
    Stem,
    StemContext,
    UnitContext,
    plugin,
    use,
)

from ._line import Line, layers_in, per_stage, per_unit, suited


@plugin("dense_bottleneck")
class DenseBottleneck(Block):
    """Norm, activation, 1×1 to `expansion` times the growth, norm, activation, 3×3 to the growth (§3, DenseNet-B)."""

    preactivated = True
    formula = "y = {merge},  F(x) = conv3×3 relu BN conv1×1 (h),  h = relu BN (x)"
    num_layers = 2

    def __init__(
        self,
        context: UnitContext,
        *,
        expansion: Count = 4,
        norm: Factory[Norm] = use("batch"),
        activation: Factory[Activation] = use("relu"),
    ) -> None:
        super().__init__()
        growth, inner = context.width, context.width * expansion
        self.before = nn.Sequential(norm(context.in_channels), activation())
        self.branch = nn.Sequential(
            nn.Conv2d(context.in_channels, inner, 1, bias=False),
            norm(inner),
            activation(),
            nn.Conv2d(inner, growth, 3, context.stride, padding=1, bias=False),
        )
        self.after = nn.Identity()
        self.out_channels = growth
        self._closing = (norm, activation)

    def closing(self) -> nn.Module:
        """One norm and activation before the pooling."""
        norm, activation = self._closing
        return nn.Sequential(norm(self.unit_channels), activation())


@plugin("dense")
class Dense(Network):
    """Stages of units that each add `growth` channels to what they read, with a transition between stages (Table 1).

    What makes it dense is the shortcut of that name, [x, F(x)]; under `none` the same units stand in a plain row, under
    `identity` in a residual one, `growth` channels wide. The stem gives twice the growth, as in DenseNet-BC. Layers a
    stage come as `depth`, one value or one for each of `stages`.
    """

    def __init__(
        self,
        context: NetworkContext,
        *,
        stem: Factory[Stem] = use("conv3x3"),
        growth: Count = 12,
        stages: Count = 3,
        depth: Each[Count] = 12,
        block: Each[Factory[Block]] = use("dense_bottleneck"),
        shortcut: Each[Factory[Shortcut]] = use("dense"),
        transition: Factory[Block] = use("compress", compression=0.5),
        head: Factory[Head] = use("linear"),
        init: Factory[Initialisation] = use("kaiming"),
    ) -> None:
        super().__init__()
        depths = per_stage("depth", depth, stages)
        blocks, shortcuts = per_unit("block", block, depths), per_unit("shortcut", shortcut, depths)
        place = StemContext(context.input_shape[0], 2 * growth)
        self.stem = stem(place)
        line = Line(self.stem.out_channels, num_units=sum(depths))
        self.stages = nn.Sequential()
        for stage in range(stages):
            stride, between = (2, transition) if stage > 0 else (1, None)
            self.stages.append(line.stage(blocks[stage], shortcuts[stage], width=growth, stride=stride, stage=stage, transition=between))
        self.stem = suited(stem, place, self.stem, self.stages)
        self.closing = line.closing()
        self.head = head(HeadContext(line.channels, context.num_outputs))
        self.initialisation = init()
        self.num_layers = layers_in(*self.children())

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_outputs)."""
        logits: Tensor = self.head(self.closing(self.stages(self.stem(x))))
        return logits
