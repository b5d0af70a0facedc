"""Every block with every shortcut at every change of shape: it builds, runs and learns, or `nas check` refuses it in words."""

import itertools
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from nas.cli.check import command as check
from nas.errors import NasError, PluginError
from nas.plugin import Unit, UnitContext
from nas.registry import discover
from nas.testing.subject import Subject, perturb
from nas.values.architecture import Value

REGISTRY = discover()
NEEDS_PACKAGE = {"torchvision", "timm", "timm_preact"}
BLOCKS = tuple(name for name in REGISTRY.names("block") if name not in NEEDS_PACKAGE)
SIZE = 5
PARAMETERS: dict[str, dict[str, Value]] = {
    "token_mixing": {"tokens": SIZE * SIZE}, "wide": {"factor": 2}, "resnext": {"cardinality": 2}, "mbconv": {"expansion": 2},
}  # fmt: skip
PLACES = {
    "same": UnitContext(8, 8, index=1, num_units=4),
    "wider": UnitContext(8, 16, index=1, num_units=4),
    "narrower": UnitContext(8, 4, index=1, num_units=4),
    "strided": UnitContext(8, 8, stride=2, index=1, num_units=4),
    "wider and strided": UnitContext(8, 16, stride=2, index=1, num_units=4),
    "wider, strided by three": UnitContext(8, 12, stride=3, index=1, num_units=4),
    "first of all": UnitContext(3, 8, index=0, num_units=4),
    "raising": UnitContext(8, 4, upsample=2, index=1, num_units=4),
}


def expected_refusal(block: str, shortcut: str, place: UnitContext) -> str | None:
    """What does not go together, and the words that say why."""
    cls = REGISTRY.find("block", block).cls
    if block == "token_mixing" and place.stride > 1:
        return "it keeps the resolution, got a unit of stride"
    if place.upsample > 1 and not cls.upsamples:
        return "cannot raise the resolution"
    if cls.shortcuts is not None and shortcut not in cls.shortcuts:
        return "runs with the shortcuts"
    if block == "bn_after_add" and shortcut == "dense":
        return "has weights after the merge"
    return None


def side(unit: Unit, place: UnitContext) -> int:
    """⌈H/s⌉, but ⌊H/s⌋ behind the transitions, which nothing goes past."""
    rows = SIZE * place.upsample
    return rows // place.stride if unit.block.shortcuts == ("none",) else -(-rows // place.stride)


def run(unit: Unit, place: UnitContext) -> None:
    perturb(unit.train())
    x = torch.randn(3, place.in_channels, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = unit(x)
    assert y.shape == (3, unit.out_channels, side(unit, place), side(unit, place))
    y.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in (x, *unit.parameters()))


@pytest.mark.parametrize("block", BLOCKS)
def test_every_shortcut_runs_and_learns_or_is_refused_in_words(block: str) -> None:
    subject = Subject(REGISTRY, "block", block, PARAMETERS.get(block, {}))
    for shortcut, place in itertools.product(REGISTRY.names("shortcut"), PLACES.values()):
        rule = expected_refusal(block, shortcut, place)
        if rule is None:
            run(subject.unit_with(shortcut, place), place)
        else:
            with pytest.raises((PluginError, ValueError), match=rule):
                subject.unit_with(shortcut, place)


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        ("staged: {block: token_mixing, shortcut: identity}", "use it in network isotropic, or give it `tokens: H×W`"),
        ("staged: {block: {token_mixing: {tokens: 64}}, shortcut: identity}", "it keeps the resolution, got a unit of stride 2"),
        ("staged: {block: repvgg, shortcut: gated}", "block 'repvgg' runs with the shortcuts none, identity, projection, same_shape"),
        ("staged: {block: compress, shortcut: identity}", "block 'compress' runs with the shortcuts none; got 'identity'"),
        ("staged: {block: bn_after_add, shortcut: dense}", "block 'bn_after_add' has weights after the merge"),
        ("generator: {block: basic}", "block 'basic' cannot raise the resolution (by 2 here); take block generator"),
    ],
)
def test_check_refuses_in_words(network: str, reason: str, tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text(f"name: t\ndata: digits\narchitecture:\n  {network}\n", encoding="utf-8")
    with pytest.raises(NasError) as caught:
        CliRunner().invoke(check, [str(space)], catch_exceptions=False)
    assert reason in str(caught.value)
