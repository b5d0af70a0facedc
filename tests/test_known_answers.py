"""The known answers about residual networks: exact figures that theory and the papers give, seen in the shipped plugins."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from nas.building import build, make
from nas.plugin import Network, NetworkContext, Unit, UnitContext, make_unit
from nas.probes import gradient_by_length, length_distribution, sampled_norms, way_back
from nas.probes.paths import Way
from nas.registry import discover
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.testing.subject import Subject, completed, generator_for, kaiming, perturb
from nas.values.architecture import PluginNode, Value

REGISTRY = discover()
PLACE = UnitContext(in_channels=8, width=8)


def unit_of(block: str, shortcut: str, place: UnitContext, /, **options: dict[str, Value]) -> Unit:
    """Build a unit with Kaiming values; `options` are parameters of the block and of the shortcut."""
    subject = Subject(REGISTRY, "block", block, options.get("block", {}))
    path = completed(REGISTRY, "shortcut", PluginNode(shortcut, tuple(options.get("shortcut", {}).items())))
    unit = make_unit(subject.built, lambda context: make("shortcut", path, REGISTRY, context), place)
    kaiming(REGISTRY).apply(unit, generator_for(0))
    return unit


def network(options: str, *, widths: str = "[8, 16]", depth: int = 3, seed: int = 0) -> Network:
    text = f"name: t\narchitecture: {{staged: {{widths: {widths}, depth: {depth}, {options}}}}}\n"
    decided = sample(parse_space(text, "t.yaml", REGISTRY), first_choice).configuration.architecture
    return build(decided, REGISTRY, NetworkContext((1, 8, 8), 10), seed=seed)


def units(built: Network) -> list[Unit]:
    return [unit for _, unit in built.units()]


# --- 1: lengths of paths --------------------------------------------------------------------------------------------


def test_path_lengths_of_54_units_are_binomial() -> None:
    lengths = length_distribution(54)
    mean = sum(k * share for k, share in enumerate(lengths))
    assert sum(lengths[5:18]) == pytest.approx(0.00453667, rel=1e-6)
    assert sum(lengths[19:36]) == pytest.approx(0.98017, rel=1e-5)
    assert mean == pytest.approx(27)
    assert math.sqrt(sum((k - mean) ** 2 * share for k, share in enumerate(lengths))) == pytest.approx(3.6742, rel=1e-5)


# --- 2 and 3: gradients of paths ------------------------------------------------------------------------------------


def in_double(options: str) -> tuple[Network, Way]:
    built = network(options, widths="[4]", depth=6).double().eval()
    perturb(built)
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return built, way_back(built, x, lambda outputs: nn.functional.cross_entropy(outputs, torch.arange(3)))


def single_path(way: Way, through_branch: tuple[bool, ...]) -> Tensor:
    """The gradient through one path, unit by unit from the last."""
    v = way.arriving[None]
    for unit, chosen in zip(reversed(way.units), reversed(through_branch), strict=True):
        v = unit.branch(v) if chosen else unit.shortcut(v)
    return v[0]


@pytest.mark.parametrize("options", ["block: preact_basic, shortcut: identity", "block: basic, shortcut: identity", "shortcut: gated"])
def test_gradients_of_all_64_paths_sum_to_autograds_by_length_and_in_all(options: str) -> None:
    _, way = in_double(options)
    by_length = [torch.zeros_like(way.whole) for _ in range(7)]
    for choice in itertools.product((False, True), repeat=6):
        by_length[sum(choice)] += single_path(way, choice)
    recursion = gradient_by_length(way)
    for exact, summed in zip(recursion, by_length, strict=True):
        assert (exact - summed).norm() < 1e-13 * way.whole.norm()
    assert (sum(recursion) - way.whole).norm() < 1e-14 * way.whole.norm()


def test_a_plain_networks_gradient_has_one_length() -> None:
    _, way = in_double("shortcut: none")
    norms = [float(v.norm()) for v in gradient_by_length(way)]
    assert norms[:6] == [0.0] * 6
    assert norms[6] == pytest.approx(float(way.whole.norm()))


def test_sampled_path_norms_are_those_of_single_paths() -> None:
    _, way = in_double("block: preact_basic, shortcut: identity")
    sampled = sampled_norms(way, samples=400, generator=torch.Generator().manual_seed(0))
    for length in (0, 1, 6):
        choices = [c for c in itertools.product((False, True), repeat=6) if sum(c) == length]
        expected = sum(float(single_path(way, choice).norm()) for choice in choices) / len(choices)
        assert sampled[length] == pytest.approx(expected, rel=0.1 if length == 1 else 1e-9)


# --- 4 and 5: branches that start at zero ---------------------------------------------------------------------------


def gradients(built: Network) -> dict[str, Tensor]:
    inputs = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    nn.functional.cross_entropy(built.train()(inputs), torch.arange(16) % 10).backward()
    return {path: p.grad for path, p in built.named_parameters() if p.grad is not None}


def test_zero_gamma_units_are_the_identity_for_inputs_of_at_least_zero_only() -> None:
    unit = units(network("shortcut: identity, init: zero_gamma"))[0].eval()
    x = torch.randn(4, 8, 6, 6)
    assert torch.equal(unit(x.relu()), x.relu())
    assert torch.equal(unit(x), x.relu())
    assert not torch.equal(unit(x), x)


def test_zero_gamma_equals_deleting_the_branches() -> None:
    built = network("shortcut: identity, init: zero_gamma").eval()
    x = torch.randn(4, 1, 8, 8)
    expected = built(x)
    for unit in units(built):
        unit.block.branch = nn.Sequential(unit.block.branch, _Zero())
    assert torch.equal(built(x), expected)


class _Zero(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 0 * x


@pytest.mark.parametrize("block", ["basic", "bottleneck", "se_basic", "mbconv", "repvgg", "relu_only_preact"])
def test_at_gamma_zero_the_first_step_reaches_gamma_and_no_earlier_branch_weight(block: str) -> None:
    built = network(f"block: {block}, shortcut: identity, init: zero_gamma")
    found = gradients(built)
    for path, unit in built.units():
        last = {id(p) for layer in unit.block.last_layers() for p in layer.parameters()}
        for inner, parameter in unit.block.branch.named_parameters():
            gradient = found[f"{path}.block.branch.{inner}"]
            if id(parameter) not in last:
                assert not gradient.any(), inner
            elif inner.endswith("weight"):
                assert gradient.any(), inner


def test_at_alpha_zero_the_first_step_reaches_alpha_and_no_branch_weight() -> None:
    found = gradients(network("shortcut: rezero"))
    assert all(gradient.any() == path.endswith("alpha") for path, gradient in found.items() if "block.branch" in path or "alpha" in path)


# --- 6: variances and gradients at the start ------------------------------------------------------------------------


def test_plain_batch_norm_relu_layers_grow_the_gradient_by_1_21_a_layer() -> None:
    torch.manual_seed(0)
    place = UnitContext(in_channels=96, width=96)
    units = [unit_of("basic", "none", place, block={"layers": 1}).train() for _ in range(12)]
    for unit in units:
        nn.init.normal_(unit.block.branch[0].weight, std=(2 / (9 * 96)) ** 0.5)
    inputs = [torch.randn(8, 96, 12, 12).requires_grad_(True)]
    for unit in units:
        inputs.append(unit(inputs[-1]))
    gradients = torch.autograd.grad((inputs[-1] * torch.randn_like(inputs[-1])).sum(), inputs)
    growth = (gradients[1].norm() / gradients[11].norm()).item() ** (1 / 10)
    assert growth == pytest.approx(1.2112, rel=0.03)


def variances(shortcut: str, block: str, *, num_units: int, width: int = 64) -> list[float]:
    """The variance behind each of a row of units at the start, in training mode."""
    torch.manual_seed(0)
    x, found = torch.randn(8, width, 8, 8), []
    for i in range(num_units):
        unit = unit_of(block, shortcut, UnitContext(width, width), block={"norm": PluginNode("none")} if block == "preact_basic" else {})
        kaiming(REGISTRY).apply(unit, generator_for(i))
        with torch.no_grad():
            x = unit.train()(x)
        found.append(float(x.var()))
    return found


def test_with_a_norm_last_in_the_branch_the_variance_behind_unit_l_is_one_plus_l() -> None:
    found = variances("identity", "inverted_residual", num_units=12)
    assert found == pytest.approx([1 + i for i in range(1, 13)], rel=0.1)


def test_without_a_norm_the_variance_about_doubles_with_every_unit() -> None:
    found = variances("identity", "preact_basic", num_units=8)
    growth = (found[-1] / found[0]) ** (1 / 7)
    assert growth == pytest.approx(2, rel=0.15)


# --- 7 and 8: gates, scales, survival -------------------------------------------------------------------------------


@pytest.mark.parametrize(("bias", "product"), [(0.0, 5.55e-17), (-5.0, 0.696), (-6.0, 0.875), (-7.0, 0.952)])
def test_product_of_the_gates_of_54_units(bias: float, product: float) -> None:
    x = torch.ones(1, 8, 1, 1, dtype=torch.float64, requires_grad=True)
    y: Tensor = x
    for _ in range(54):
        gate = unit_of("basic", "gated", PLACE, shortcut={"bias": bias}).shortcut.double()
        nn.init.zeros_(gate.conv.weight)
        y = gate.merge(gate(y, y), torch.zeros_like(y))
    (gradient,) = torch.autograd.grad(y.sum(), x)
    assert gradient.flatten()[0].item() == pytest.approx(product, rel=1e-3)


def test_scaling_by_a_half_loses_as_much_as_a_gate_at_zero() -> None:
    y = torch.ones(1, 8, 1, 1, dtype=torch.float64)
    half = unit_of("basic", "scaled", PLACE, shortcut={"lam": 0.5}).shortcut
    for _ in range(54):
        y = half.merge(half(y, y), torch.zeros_like(y))
    assert y.flatten()[0].item() == pytest.approx(5.55e-17, rel=1e-3)


def test_stochastic_depth_keeps_40_25_of_54_units_on_average() -> None:
    survivals = [unit_of("basic", "stochastic_depth", UnitContext(8, 8, index=i, num_units=54)).shortcut.survival for i in range(54)]
    assert sum(survivals) == pytest.approx(40.25)
    assert survivals[-1] == pytest.approx(0.5)


# --- 9: convolutions that are others ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shortcut", ["none", "identity", "projection", "same_shape"])
def test_repvgg_fuses_to_one_convolution_exactly(shortcut: str, stride: int) -> None:
    torch.manual_seed(0)
    options: dict[str, Value] = {"norm": PluginNode("batch")} if shortcut == "same_shape" else {}
    unit = unit_of("repvgg", shortcut, UnitContext(8, 8 * stride, stride=stride), shortcut=options).double()
    for _ in range(3):
        unit(torch.randn(16, 8, 6, 6, dtype=torch.float64))  # gives the norms statistics of their own
    perturb(unit.eval())
    x = torch.randn(4, 8, 6, 6, dtype=torch.float64)
    fused = unit.block.fuse(unit.shortcut)
    assert isinstance(fused, nn.Conv2d)
    error = (unit.block.after(fused(x)) - unit(x)).abs().max() / unit(x).abs().max()
    assert error < 1e-14


def test_dirac_convolutions_are_the_identity() -> None:
    built = network("shortcut: none, init: {dirac: {beta: 0.0}}")
    conv = units(built)[0].block.branch[0]
    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(conv(x), x)


# --- 10: no lower bound on the gradient, but a conditional one -------------------------------------------------------


def residual_line(matrices: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The gradient at the end and at the input of x + Jx over some linear branches."""
    x = torch.randn(5, dtype=torch.float64).requires_grad_()
    y = x
    for j in matrices:
        y = y + j @ y
    arriving = torch.randn(5, dtype=torch.float64)
    return arriving, torch.autograd.grad(y, x, arriving)[0]


def test_a_shortcut_gives_no_lower_bound_on_the_inputs_gradient() -> None:
    torch.manual_seed(0)
    _, at_input = residual_line([-torch.eye(5, dtype=torch.float64)])
    assert not at_input.any()


def test_branches_of_norm_below_one_bound_the_inputs_gradient_from_below() -> None:
    torch.manual_seed(0)
    for _ in range(20):
        drawn = [torch.randn(5, 5, dtype=torch.float64) for _ in range(6)]
        norms = [0.1 + 0.8 * float(torch.rand(())) for _ in drawn]
        matrices = [norm * j / torch.linalg.matrix_norm(j, 2) for norm, j in zip(norms, drawn, strict=True)]
        arriving, at_input = residual_line(matrices)
        assert at_input.norm() >= arriving.norm() * math.prod(1 - norm for norm in norms)
