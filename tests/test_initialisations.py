"""Initial values: what each initialisation writes, what twins share, and which networks it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from nas.building import build, build_without_weights, cost_of, make
from nas.errors import PluginError
from nas.plugin import Initialisation, Network, NetworkContext, Unit
from nas.registry import discover
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.testing.subject import completed
from nas.values.architecture import Architecture, PluginNode

REGISTRY = discover()
DIGITS = NetworkContext((1, 8, 8), 10)
NORMLESS = "stem: {conv3x3: {norm: none}}, block: {basic: {norm: none}}"


def architecture(options: str) -> Architecture:
    text = f"name: t\narchitecture: {{staged: {{widths: [8, 16], depth: 3, {options}}}}}\n"
    return sample(parse_space(text, "t.yaml", REGISTRY), first_choice).configuration.architecture


def network(options: str, seed: int = 0) -> Network:
    return build(architecture(options), REGISTRY, DIGITS, seed=seed)


def units(built: Network) -> list[Unit]:
    return [unit for _, unit in built.units()]


def gradients(built: Network) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(16, 1, 8, 8, generator=generator)
    nn.functional.cross_entropy(built.train()(inputs), torch.arange(16) % 10).backward()
    return {path: p.grad for path, p in built.named_parameters() if p.grad is not None}


# --- kaiming


def test_kaiming_draws_convolutions_by_fan_out_and_linear_layers_as_torch_does() -> None:
    built = network("stem: {conv3x3: {width: 128}}, block: bottleneck")
    conv = units(built)[0].block.branch[0]
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / 8), rel=0.1)  # 8 channels out, 1×1
    linear = built.head.linear
    bound = linear.in_features**-0.5
    for tensor in (linear.weight, linear.bias):
        assert 0.7 * bound < tensor.abs().max().item() <= bound


def test_kaiming_puts_norms_back_to_one_and_zero() -> None:
    built = network("shortcut: identity")
    norms = [m for m in built.modules() if isinstance(m, nn.BatchNorm2d)]
    with torch.no_grad():
        for norm in norms:
            norm.weight.fill_(3.0)
            norm.bias.fill_(3.0)
    built.initialisation.apply(built, lambda path: torch.Generator().manual_seed(0))
    assert all((norm.weight == 1).all() and (norm.bias == 0).all() for norm in norms)


def test_kaiming_counts_the_connections_of_a_depthwise_convolution() -> None:
    built = network("stem: {conv3x3: {width: 64}}, block: {inverted_residual: {expansion: 4}}")
    depthwise = units(built)[0].block.branch[3]
    assert depthwise.groups == 256
    assert depthwise.weight.std().item() == pytest.approx(math.sqrt(2 / 9), rel=0.1)


def test_one_seed_gives_one_start_and_another_seed_another() -> None:
    one, same, other = (network("shortcut: projection", seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[path], same[path]) for path in one)
    assert any(not torch.equal(one[path], other[path]) for path in one)


def test_adding_a_projection_moves_no_other_tensor() -> None:
    plain, projected = (dict(network(f"shortcut: {s}").named_parameters()) for s in ("none", "projection"))
    assert plain.keys() < projected.keys()
    assert all(torch.equal(plain[path], projected[path]) for path in plain)


# --- zero_gamma


def test_zero_gamma_zeroes_the_last_convolution_of_a_preactivated_branch() -> None:
    built = network("block: preact_basic, shortcut: identity, init: zero_gamma")
    for unit in units(built):
        norm, last = unit.block.branch[1], unit.block.branch[-1]
        assert (norm.weight == 1).all()
        assert not last.weight.any()


def test_zero_gamma_leaves_units_alone_that_have_nothing_beside_the_branch() -> None:
    built = network("shortcut: same_shape, init: zero_gamma")
    silent = [not layer.weight.any() for unit in units(built) for layer in unit.block.last_layers()]
    assert silent == [True, True, True, False, True, True]


# --- dirac


def test_dirac_adds_a_tenth_of_filters_at_norm_one() -> None:
    built, pure = (network(f"shortcut: none, init: {{dirac: {{beta: {beta}}}}}") for beta in (0.1, 0.0))
    for unit, other in zip(units(built), units(pure), strict=True):
        filters = unit.block.branch[3].weight - other.block.branch[3].weight
        assert torch.allclose(filters.flatten(1).norm(dim=1), torch.full((len(filters),), 0.1))


# --- fixup


def test_fixup_scales_the_first_convolution_by_the_root_of_the_units_and_zeroes_the_last() -> None:
    fixup, plain = (network(f"{NORMLESS}, shortcut: identity, init: {init}") for init in ("fixup", "kaiming"))
    for unit, other in zip(units(fixup), units(plain), strict=True):
        first, last = unit.block.branch[0], unit.block.branch[3]
        assert torch.allclose(first.weight, other.block.branch[0].weight * 6**-0.5)
        assert not last.weight.any()
    assert not any(p.any() for p in fixup.head.parameters())


def test_fixup_adds_four_biases_and_a_scale_to_a_branch_of_two_layers() -> None:
    fixup, plain = (dict(network(f"{NORMLESS}, shortcut: identity, init: {init}").named_parameters()) for init in ("fixup", "kaiming"))
    assert plain.keys() < fixup.keys()
    added = [fixup[path] for path in fixup.keys() - plain.keys()]
    assert len(added) == 6 * 5
    assert all(p.shape == () for p in added)
    assert sum(p.item() for p in added) == 6  # six scales at one, all biases at zero


def test_fixup_parameters_are_counted_before_training() -> None:
    chosen = architecture(f"{NORMLESS}, shortcut: identity, init: fixup")
    held = sum(p.numel() for p in build(chosen, REGISTRY, DIGITS).parameters())
    assert cost_of(chosen, REGISTRY, DIGITS).parameters == held


def test_fixup_keeps_the_signal_of_a_deep_network_that_grows_without_it() -> None:
    deep = NORMLESS + ", shortcut: identity, init: "
    stds = {}
    for init in ("fixup", "kaiming"):
        built = build(architecture(deep + init), REGISTRY, DIGITS).eval()
        y = torch.randn(8, 8, 8, 8, generator=torch.Generator().manual_seed(0)).relu()
        before = y.std()
        for unit in units(built)[:3]:
            y = unit(y)
        stds[init] = (y.std() / before).item()
    assert stds["fixup"] == pytest.approx(1.0)
    assert stds["kaiming"] > 2


# --- refusals


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("shortcut: none, init: zero_gamma", "no shortcut beside its branches"),
        ("shortcut: rezero, init: zero_gamma", "neither would ever get a gradient"),
        ("shortcut: identity, block: relu_before_add, init: zero_gamma", "an activation ends that of 'relu_before_add'"),
        ("shortcut: identity, init: fixup", "BatchNorm2d|Batch at"),
        (f"{NORMLESS}, shortcut: none, init: fixup", "no shortcut beside its branches"),
        (f"{NORMLESS}, shortcut: rezero, init: fixup", "neither would ever get a gradient"),
    ],
)
def test_network_that_would_not_learn_from_its_start_is_refused_before_training(options: str, reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        cost_of(architecture(options), REGISTRY, DIGITS)


@pytest.mark.parametrize("init", ["zero_gamma", "dirac", "fixup"])
def test_initialisation_names_exactly_the_tensors_that_start_otherwise(init: str) -> None:
    options = f"{NORMLESS}, shortcut: identity" if init == "fixup" else "shortcut: identity"
    one, other = (network(f"{options}, init: {name}") for name in (init, "kaiming"))
    first, second = dict(one.named_parameters()), dict(other.named_parameters())
    changed = {path for path in second if not torch.equal(first[path], second[path])}
    own: Initialisation = make("initialisation", completed(REGISTRY, "initialisation", PluginNode(init)), REGISTRY)
    assert changed <= own.reinitialises(one) & second.keys()
    assert changed


def test_preparing_twice_adds_nothing() -> None:
    built = build_without_weights(architecture(f"{NORMLESS}, shortcut: identity, init: fixup"), REGISTRY, DIGITS)
    built.initialisation.prepare(built)
    once = sum(1 for _ in built.parameters())
    built.initialisation.prepare(built)
    assert sum(1 for _ in built.parameters()) == once
