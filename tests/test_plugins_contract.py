"""The plugin contract: every shipped plugin keeps it, and every kind of broken one is caught."""

from __future__ import annotations

import importlib.util
import itertools
import random
from types import MappingProxyType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nas.errors import PluginError
from nas.plugin import (
    Activation,
    Block,
    Factory,
    Head,
    HeadContext,
    Initialisation,
    LongSkip,
    LongSkipContext,
    Network,
    NetworkContext,
    Norm,
    Schedule,
    Shortcut,
    ShortcutContext,
    Stem,
    StemContext,
    UnitContext,
    plugin,
    use,
)
from nas.registry import PluginInfo, Registry, discover
from nas.testing import BlockContract, ShortcutContract, check_plugin
from nas.values.architecture import Value

REGISTRY = discover()
SHIPPED = [f"{kind}/{name}" for kind in REGISTRY.kinds() if kind != "data" for name in REGISTRY.names(kind)]
PARAMETERS: dict[str, dict[str, Value]] = {
    "block/token_mixing": {"tokens": 64},  # the contract's inputs are 8×8
    "network/dense": {"depth": 2},  # 100 layers take long to export
    "network/generator": {"widths": (8, 8, 8)},
}
# Others may have to be downloaded.
DATA = [f"data/{name}" for name in ("digits", "digit_pictures", "noisy_scenes", "mixture", "identity_map")]
NEEDS_PACKAGE = {
    "network/timm": "timm", "block/timm": "timm", "block/timm_preact": "timm",
    "network/torchvision": "torchvision", "block/torchvision": "torchvision",
}  # fmt: skip


@pytest.mark.parametrize("which", [*SHIPPED, *DATA])
def test_shipped_plugin_keeps_the_contract(which: str) -> None:
    if which in NEEDS_PACKAGE and not importlib.util.find_spec(NEEDS_PACKAGE[which]):
        pytest.skip(f"the optional package {NEEDS_PACKAGE[which]} is not installed")
    kind, name = which.split("/")
    results = check_plugin(REGISTRY, kind, name, parameters=PARAMETERS.get(which))
    assert not [f"{result.name}: {result.detail}" for result in results if not result.passed]


class TestBottleneckByInheriting(BlockContract):
    name = "bottleneck"
    parameters = MappingProxyType({"expansion": 2})


class TestGatedByInheriting(ShortcutContract):
    name = "gated"


# --- broken plugins -------------------------------------------------------------------------------------------------


class _Plain(Block):
    """One convolution, to be broken."""

    num_layers = 1

    def __init__(self, context: UnitContext) -> None:
        super().__init__()
        self.before = nn.Identity()
        self.branch = nn.Conv2d(context.in_channels, context.width, 3, context.stride, padding=1)
        self.after = nn.ReLU()
        self.out_channels = context.width


@plugin("broken")
class AddsItsInputItself(_Plain):
    """Hides a skip in its branch."""

    class _Skip(nn.Module):
        def __init__(self, conv: nn.Conv2d) -> None:
            super().__init__()
            self.conv = conv

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return y + x if x.shape == y.shape else y

    def __init__(self, context: UnitContext) -> None:
        super().__init__(context)
        self.branch = self._Skip(self.branch)


@plugin("broken")
class ForgetsTheStride(_Plain):
    """Never strides."""

    def __init__(self, context: UnitContext) -> None:
        super().__init__(UnitContext(context.in_channels, context.width))


@plugin("broken")
class HasAnUnusedWeight(_Plain):
    """Creates more than it uses."""

    def __init__(self, context: UnitContext) -> None:
        super().__init__(context)
        self.unused = nn.Parameter(torch.ones(3))


@plugin("broken")
class DrawsFromPython(_Plain):
    """Draws a buffer that no seed reaches."""

    def __init__(self, context: UnitContext) -> None:
        super().__init__(context)
        self.register_buffer("noise", torch.tensor(random.random()))


@plugin("broken")
class KeepsStateOutside(_Plain):
    """Scales by a tensor that the state dict does not hold."""

    class _Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = (torch.rand(()),)

        def forward(self, x: Tensor) -> Tensor:
            return self.scale[0] * x

    def __init__(self, context: UnitContext) -> None:
        super().__init__(context)
        self.branch = nn.Sequential(self.branch, self._Scale())


@plugin("broken")
class SharesAModule(_Plain):
    """Uses a module that a copy does not copy."""

    _shared = nn.Conv2d(8, 8, 1)

    class _Borrowed(nn.Module):
        def __deepcopy__(self, memo: Any) -> nn.Module:
            return self

        def __init__(self, width: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(width, width, 1)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.conv(x)
            return y

    def __init__(self, context: UnitContext) -> None:
        super().__init__(context)
        self.branch = nn.Sequential(self.branch, self._Borrowed(context.width))


@plugin("broken")
class LooksAtItsValues(_Plain):
    """Decides by what is in its input, which a graph cannot."""

    class _Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    def __init__(self, context: UnitContext) -> None:
        super().__init__(context)
        self.branch = nn.Sequential(self.branch, self._Branching())


@plugin("broken")
class MiscountsItsLayers(_Plain):
    """Says two, has one."""

    num_layers = 2


@plugin("broken")
class HidesItsPreactivation(_Plain):
    """Activates before, without saying so."""

    def __init__(self, context: UnitContext) -> None:
        super().__init__(context)
        self.before = nn.ReLU()


@plugin("broken")
class StartsOtherwiseEachTime(_Plain):
    """Two arms of it would start apart."""

    count = itertools.count()

    def __init__(self, context: UnitContext) -> None:
        super().__init__(context)
        self.after = nn.PReLU(init=float(next(self.count)))


@plugin("broken")
class WrongDefault(_Plain):
    """Its default is not of its type."""

    def __init__(self, context: UnitContext, *, size: int = "three") -> None:
        super().__init__(context)


@plugin("broken")
class DropsTheInput(Shortcut):
    """Says that it connects and does not: the residual block without its skip."""

    def __init__(self, context: ShortcutContext) -> None:
        super().__init__()
        self.out_channels = context.out_channels

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return x

    def merge(self, shortcut: Tensor, residual: Tensor) -> Tensor:
        return residual


@plugin("broken")
class DropsTheBranch(Shortcut):
    """Forgets F(x) where it can."""

    def __init__(self, context: ShortcutContext) -> None:
        super().__init__()
        self.out_channels = context.out_channels
        self.same = context.same_shape

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return x

    def merge(self, shortcut: Tensor, residual: Tensor) -> Tensor:
        return shortcut if self.same else residual


@plugin("broken")
class MixesChannels(nn.Softmax, Activation):
    """No activation."""

    def __init__(self) -> None:
        super().__init__(dim=1)


@plugin("broken")
class LosesAChannel(Norm):
    """No norm."""

    def __init__(self, num_channels: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x[:, 1:]


class _PlainHead(Head):
    """Averages and projects."""

    def __init__(self, context: HeadContext) -> None:
        super().__init__()
        self.linear = nn.Linear(context.in_channels, context.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.linear(x.mean(dim=(2, 3)))
        return y


@plugin("broken")
class TakesAnything(_PlainHead):
    """Swallows what it does not know."""

    def __init__(self, context: HeadContext, **options: int) -> None:
        super().__init__(context)


@plugin("broken")
class LooksAtItsValuesInTheHead(_PlainHead):
    """Decides by what is in its input, which a graph cannot."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x if x.sum() > 0 else -x)


@plugin("broken")
class AnswersTooMuch(_PlainHead):
    """One output too many."""

    def __init__(self, context: HeadContext) -> None:
        super().__init__(HeadContext(context.in_channels, context.num_outputs + 1))


@plugin("broken")
class DrawsItsStem(Stem):
    """Draws a buffer that no seed reaches."""

    def __init__(self, context: StemContext) -> None:
        super().__init__()
        self.out_channels = context.width
        self.conv = nn.Conv2d(context.in_channels, context.width, 3, padding=1)
        self.register_buffer("noise", torch.tensor(random.random()))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(x)
        return y


@plugin("broken")
class ForgetsTheEncoder(LongSkip):
    """Says that it connects and does not."""

    def __init__(self, context: LongSkipContext) -> None:
        super().__init__()
        self.out_channels = context.decoder_channels

    def forward(self, encoded: Tensor, decoded: Tensor) -> Tensor:
        return decoded


@plugin("broken")
class StartsItsArmsApart(Network):
    """What comes after the shortcut starts where the shortcut's own draws left off."""

    num_layers = 2

    def __init__(
        self,
        context: NetworkContext,
        *,
        shortcut: Factory[Shortcut] = use("identity"),
        init: Factory[Initialisation] = use("as_built"),
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(context.input_shape[0], 8, 3, padding=1)
        self.shortcut = shortcut(ShortcutContext(8, 16))
        self.linear = nn.Linear(16, context.num_outputs)
        self.initialisation = init()

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        wide: Tensor = self.linear(self.shortcut.merge(self.shortcut(y, y), torch.cat((y, y), 1)).mean(dim=(2, 3)))
        return wide


@plugin("broken")
class DividesByZeroAtTheEnd(Schedule):
    """Infinite at the last step."""

    def factor(self, step: int, num_steps: int) -> float:
        return 1.0 if step + 1 < num_steps else float("inf")


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (AddsItsInputItself, "last layers silence the branch"),
        (ForgetsTheStride, "output shape"),
        (HasAnUnusedWeight, "gradients reach every parameter"),
        (DrawsFromPython, "same seed same weights"),
        (KeepsStateOutside, "state dict"),
        (SharesAModule, "deepcopy"),
        (LooksAtItsValues, "export"),
        (MiscountsItsLayers, "block tells the truth"),
        (HidesItsPreactivation, "block tells the truth"),
        (StartsOtherwiseEachTime, "same seed same weights"),
        (WrongDefault, "signature"),
        (DropsTheInput, "skip is there"),
        (DropsTheBranch, "branch is there"),
        (MixesChannels, "activation is elementwise"),
        (LosesAChannel, "norm keeps the shape"),
        (TakesAnything, "signature"),
        (LooksAtItsValuesInTheHead, "export"),
        (AnswersTooMuch, "output shape"),
        (DrawsItsStem, "same seed same weights"),
        (ForgetsTheEncoder, "long skip is there"),
        (StartsItsArmsApart, "arms share their tensors"),
        (DividesByZeroAtTheEnd, "schedule is a finite factor"),
    ],
)
def test_broken_plugin_fails_the_check_that_names_its_fault(broken: Any, check: str) -> None:
    registry = Registry((*REGISTRY.plugins, PluginInfo(broken.kind, "broken", broken, __file__, "0")))
    results = check_plugin(registry, broken.kind, "broken")
    failed = {result.name for result in results if not result.passed}
    assert check in failed, failed
    assert all(result.detail for result in results if not result.passed)


def test_plain_block_that_the_broken_ones_are_made_from_passes() -> None:
    fine = plugin("broken")(type("Fine", (_Plain,), {"__doc__": "Fine."}))
    registry = Registry((*REGISTRY.plugins, PluginInfo("block", "broken", fine, __file__, "0")))
    assert [result for result in check_plugin(registry, "block", "broken") if not result.passed] == []


def test_unknown_plugin_names_the_nearest() -> None:
    with pytest.raises(PluginError, match="did you mean 'bottleneck'"):
        check_plugin(REGISTRY, "block", "botleneck")
