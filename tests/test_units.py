"""Blocks and shortcuts against known answers: published figures, exact identities, and what does not go together."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nas.building import build, cost_of, make
from nas.errors import PluginError
from nas.plugin import NetworkContext as Context
from nas.plugin import Unit, UnitContext, make_unit
from nas.registry import discover
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.testing.subject import Subject, completed, generator_for, kaiming
from nas.values.architecture import Architecture, PluginNode, Value

REGISTRY = discover()
PLACE = UnitContext(in_channels=8, width=8)


def unit_of(block: str, shortcut: str, place: UnitContext, /, **options: dict[str, Value]) -> Unit:
    """Build a unit with Kaiming values; `options` are parameters of the block and of the shortcut."""
    subject = Subject(REGISTRY, "block", block, options.get("block", {}))
    path = completed(REGISTRY, "shortcut", PluginNode(shortcut, tuple(options.get("shortcut", {}).items())))
    unit = make_unit(subject.built, lambda context: make("shortcut", path, REGISTRY, context), place)
    kaiming(REGISTRY).apply(unit, generator_for(0))
    return unit


def architecture(text: str) -> Architecture:
    return sample(parse_space(f"name: t\narchitecture: {text}\n", "t.yaml", REGISTRY), first_choice).configuration.architecture


@pytest.mark.parametrize("rescale", ["train", "eval"])
def test_stochastic_depth_gives_the_same_branch_on_average_in_training_and_in_testing(rescale: str) -> None:
    options: dict[str, Value] = {"survival": 0.25, "decay": "constant", "rescale": rescale}
    drop = unit_of("basic", "stochastic_depth", PLACE, shortcut=options).shortcut
    residual = torch.ones(20_000, 1, 1, 1)
    torch.manual_seed(0)
    trained, tested = (drop.train(mode).merge(torch.zeros_like(residual), residual) for mode in (True, False))
    assert trained.mean().item() == pytest.approx(tested.mean().item(), rel=0.05)
    assert tested[0].item() == (1.0 if rescale == "train" else 0.25)
    assert sorted(trained.unique().tolist()) == [0.0, 4.0 if rescale == "train" else 1.0]


def test_stochastic_depth_by_batch_keeps_or_drops_all_samples_together() -> None:
    drop = unit_of("basic", "stochastic_depth", PLACE, shortcut={"per": "batch", "decay": "constant"}).shortcut.train()
    residual = torch.ones(64, 1, 1, 1)
    kept = {tuple(drop.merge(torch.zeros_like(residual), residual).unique().tolist()) for _ in range(40)}
    assert kept == {(0.0,), (2.0,)}


def test_option_a_takes_every_second_pixel_and_pads_channels_on_both_sides() -> None:
    shortcut = unit_of("basic", "identity", UnitContext(8, 16, stride=2)).shortcut
    x = torch.randn(2, 8, 6, 6)
    y = shortcut(x, x)
    assert torch.equal(y[:, 4:12], x[:, :, ::2, ::2])
    assert not y[:, :4].any()
    assert not y[:, 12:].any()


def test_preactivated_projection_reads_h_without_a_norm() -> None:
    unit = unit_of("preact_basic", "projection", UnitContext(8, 16, stride=2)).eval()
    x = torch.randn(2, 8, 6, 6)
    h = unit.block.before(x)
    assert torch.allclose(unit.shortcut(x, h), nn.functional.conv2d(h, unit.shortcut.conv.weight, stride=2))


def test_pool_projection_averages_before_it_projects() -> None:
    shortcut = unit_of("preact_basic", "pool_projection", UnitContext(8, 16, stride=2)).shortcut
    h = torch.randn(2, 8, 6, 6)
    expected = nn.functional.conv2d(nn.functional.avg_pool2d(h, 2), shortcut.conv.weight)
    assert torch.allclose(shortcut(h, h), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("scaled", {"lam": 0.5, "mu": 2.0}, lambda x, f: 0.5 * x + 2 * f),
        ("rezero", {}, lambda x, f: x),
        ("layer_scale", {"initial": 0.25}, lambda x, f: x + 0.25 * f),
        ("gated", {"gate": "exclusive"}, lambda x, f: 0.5 * x + 0.5 * f),
        ("gated", {"gate": "shortcut_only"}, lambda x, f: 0.5 * x + f),
        ("dropout", {}, lambda x, f: x + f),
        ("dense", {}, lambda x, f: torch.cat((x, f), 1)),
        ("none", {}, lambda x, f: f),
        ("same_shape", {}, lambda x, f: x + f),
    ],
)
def test_shortcut_is_its_formula(name: str, options: dict[str, Value], expected: Callable[[Tensor, Tensor], Tensor]) -> None:
    shortcut = unit_of("basic", name, PLACE, shortcut=options).shortcut.eval()
    if name == "gated":
        nn.init.zeros_(shortcut.conv.weight)
    x, f = torch.randn(2, 8, 5, 5), torch.randn(2, 8, 5, 5)
    assert torch.allclose(shortcut.merge(shortcut(x, x), f), expected(x, f), atol=1e-6)


def test_shortcuts_wrap_each_other() -> None:
    options: dict[str, Value] = {"survival": 0.5, "path": PluginNode("layer_scale", (("path", PluginNode("projection")),))}
    shortcut = unit_of("basic", "stochastic_depth", UnitContext(8, 16, stride=2), shortcut=options).shortcut.eval()
    assert {path for path, _ in shortcut.named_parameters()} >= {"path.gamma", "path.path.conv.weight"}
    x, f = torch.randn(2, 8, 6, 6), torch.randn(2, 16, 3, 3)
    carried = shortcut.path.path(x, x)
    assert torch.allclose(shortcut.merge(shortcut(x, x), f), carried + 1e-6 * f)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("original", {}), ("basic", {})),
        (("original", {"convs": "bottleneck"}), ("bottleneck", {})),
        (("full_preact", {}), ("preact_basic", {})),
        (("full_preact", {"convs": "bottleneck"}), ("preact_bottleneck", {})),
        (("wide", {"factor": 2}), ("preact_basic", {"width": 16})),
    ],
)
def test_blocks_of_two_names_are_one_network(one: tuple[str, dict[str, Value]], other: tuple[str, dict[str, Value]]) -> None:
    first = unit_of(one[0], "identity", PLACE, block=one[1]).eval()
    width = other[1].pop("width", 8) if "width" in other[1] else 8
    second = unit_of(other[0], "identity", UnitContext(8, int(width)), block=other[1]).eval()
    for p, q in zip(first.parameters(), second.parameters(), strict=True):
        q.data.copy_(p.data)
    x = torch.randn(2, 8, 6, 6)
    assert torch.equal(first(x), second(x))


@pytest.mark.parametrize("block", ["basic", "preact_basic", "se_basic"])
@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_one_shortcut_spans_as_many_weight_layers_as_asked(block: str, layers: int) -> None:
    built = unit_of(block, "identity", PLACE, block={"layers": layers}).block
    spatial = [m for m in built.branch.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert built.num_layers == len(spatial) == built.formula.count("conv3×3") == layers


def test_network_of_single_layer_blocks_counts_its_layers() -> None:
    text = "{staged: {depth: 6, block: {basic: {layers: 1}}}}"
    assert cost_of(architecture(text), REGISTRY, Context((3, 32, 32), 10)).num_layers == 20


def test_dense_shortcut_grows_a_networks_widths() -> None:
    text = "{staged: {widths: [12, 12], depth: 3, block: {preact_basic: {layers: 1}}, shortcut: dense, stem: {conv3x3: {width: 16}}}}"
    network = build(architecture(text), REGISTRY, Context((1, 8, 8), 10))
    assert [unit.out_channels for _, unit in network.units()] == [28, 40, 52, 64, 76, 88]
    assert network.eval()(torch.randn(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{staged: {block: bn_after_add, shortcut: dense}}", "has weights after the merge"),
        ("{staged: {block: repvgg, shortcut: gated}}", "runs with the shortcuts none, identity, projection, same_shape"),
        ("{staged: {shortcut: {gated: {path: none}}}}", "carries nothing beside the branch"),
        ("{staged: {shortcut: {gated: {path: same_shape}}}}", "does not bring x"),
        ("{staged: {shortcut: {scaled: {path: gated}}}}", "merges in its own way"),
        ("{staged: {widths: [12, 24], block: {basic: {norm: {group: {groups: 8}}}}}}", "does not divide 12 channels"),
    ],
)
def test_senseless_combination_is_refused_before_training_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        cost_of(architecture(text), REGISTRY, Context((3, 32, 32), 10))


def test_layer_norm_normalises_the_channels_of_each_pixel_and_of_each_token() -> None:
    norm = make("norm", completed(REGISTRY, "norm", PluginNode("layer")), REGISTRY, 8)
    maps = torch.randn(2, 8, 3, 5)
    tokens = maps.flatten(2).transpose(1, 2)
    assert torch.allclose(norm(maps).flatten(2).transpose(1, 2), norm(tokens), atol=1e-6)
    assert torch.allclose(norm(maps).mean(dim=1), torch.zeros(2, 3, 5), atol=1e-6)
