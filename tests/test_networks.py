"""The shipped networks: what they are made of, what they refuse, and that their costs are counted right."""

import importlib.util
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from nas.building import build, build_without_weights, cost_of
from nas.errors import PluginError
from nas.outlining import outline
from nas.plugin import Network, NetworkContext
from nas.registry import Registry
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.values.architecture import Architecture

SMALL = NetworkContext((3, 16, 16), 5)


def architecture_of(text: str, registry: Registry) -> Architecture:
    space = parse_space(f"name: x\ninput: {{shape: [3, 16, 16], classes: 5}}\narchitecture: {text}\n", "x.yaml", registry)
    return sample(space, first_choice).configuration.architecture


@pytest.fixture
def network(registry: Registry) -> Callable[..., Any]:
    """Build a network from the text of its node."""
    return lambda text, context=SMALL, seed=0: build(architecture_of(text, registry), registry, context, seed=seed)


@pytest.fixture
def refusal(registry: Registry) -> Callable[[str], str]:
    """Return why a network cannot be built."""

    def message(text: str) -> str:
        with pytest.raises(PluginError) as caught:
            build(architecture_of(text, registry), registry, SMALL)
        return str(caught.value)

    return message


def picture(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def shortcut_names(registry: Registry) -> tuple[str, ...]:
    return registry.names("shortcut")


# --- counts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "staged",
        "{staged: {block: preact_bottleneck, shortcut: projection}}",
        "{staged: {block: {resnext: {cardinality: 4, base_width: 16}}, stem: deep, shortcut: pool_projection}}",
        "{staged: {block: convnext, shortcut: layer_scale, stem: patchify, transition: norm_conv}}",
        "{staged: {block: se_basic, shortcut: gated}}",
        "{staged: {block: {basic: {norm: {group: {groups: 4}}}}, shortcut: rezero}}",
        "{staged: {block: mbconv, shortcut: same_shape, head: conv_linear}}",
        "dense",
        "isotropic",
        "{isotropic: {mixing: token_mixing, positions: learned, shortcut: scaled}}",
        "unet",
        "mlp",
    ],
)
def test_cost_is_what_torch_counts(text: str, registry: Registry) -> None:
    architecture = architecture_of(text, registry)
    cost = cost_of(architecture, registry, SMALL)
    network = build_without_weights(architecture, registry, SMALL)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.empty(1, *SMALL.input_shape, device="meta"))
    assert (cost.macs, cost.parameters) == (counter.get_total_flops() // 2, sum(p.numel() for p in network.parameters()))


def test_attention_and_mlp_cost_what_their_formulas_say(registry: Registry) -> None:
    pixels, width, depth = 16, 32, 3  # 16×16 in patches of 4
    layer = 4 * pixels * width**2 + 2 * pixels**2 * width + 2 * pixels * width * 4 * width
    patches, head = pixels * width * 3 * 4 * 4, width * 5
    cost = cost_of(architecture_of(f"{{isotropic: {{width: {width}, depth: {depth}}}}}", registry), registry, SMALL)
    assert cost.macs == patches + depth * layer + head
    assert cost.num_layers == 1 + 4 * depth + 1


def test_mixer_costs_what_its_formula_says(registry: Registry) -> None:
    pixels, width = 16, 32
    layer = 2 * width * pixels * (width // 2) + 2 * pixels * width * 4 * width
    text = f"{{isotropic: {{width: {width}, depth: 1, mixing: token_mixing, positions: none}}}}"
    assert cost_of(architecture_of(text, registry), registry, SMALL).macs == pixels * width * 48 + layer + width * 5


def test_groups_divide_the_cost_of_a_convolution(registry: Registry) -> None:
    text = "{staged: {widths: [64], depth: 1, block: {resnext: {cardinality: {}, base_width: 4, expansion: 1}}, shortcut: none}}"

    def macs(cardinality: int) -> int:
        return cost_of(architecture_of(text.replace("{}", str(cardinality), 1), registry), registry, SMALL).macs

    inner = {groups: groups * 4 for groups in (1, 8)}
    unit = {groups: 256 * (2 * 64 * width + 9 * width * width // groups) for groups, width in inner.items()}
    assert macs(8) - macs(1) == unit[8] - unit[1]


def test_counting_leaves_other_networks_untouched(registry: Registry, network: Callable[..., Any]) -> None:
    built = network("staged").eval()
    before = built(picture(2, 3, 16, 16))
    cost_of(architecture_of("staged", registry), registry, SMALL)
    assert torch.equal(built(picture(2, 3, 16, 16)), before)


# --- staged ---------------------------------------------------------------------------------------------------------


def kinds(built: Network) -> list[str]:
    return [type(unit.block).plugin_name for _, unit in built.units()]  # type: ignore[attr-defined]


def test_a_list_gives_each_stage_its_block(network: Callable[..., Any]) -> None:
    built = network("{staged: {widths: [4, 8], depth: [1, 2], block: [basic, bottleneck]}}")
    assert kinds(built) == ["basic", "bottleneck", "bottleneck"]


def test_a_list_gives_each_unit_its_shortcut(network: Callable[..., Any]) -> None:
    built = network("{staged: {widths: [4, 8], depth: [1, 2], shortcut: [none, identity, none]}}")
    assert [unit.shortcut.plugin_name for _, unit in built.units()] == ["none", "identity", "none"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{staged: {widths: [4, 8, 8], depth: [1, 2]}}", "depth lists 2 values for 3 stages"),
        ("{staged: {widths: [4, 8], depth: 2, block: [basic]}}", "block lists 1 value for 2 stages of 4 units in all"),
        ("{staged: {widths: [4, 8], strides: [1]}}", "strides lists 1 value for 2 stages"),
        ("{staged: {widths: []}}", "at least one stage"),
        ("{staged: {block: repvgg, shortcut: gated}}", "block 'repvgg' runs with the shortcuts none, identity"),
        ("{staged: {block: attention, widths: [6]}}", "heads: 4 does not divide the width 6"),
        ("{staged: {block: token_mixing}}", "use it in network isotropic"),
        ("{isotropic: {width: 6, mixing: convnext}}", "width 6 is not a multiple of 4"),
        ("{isotropic: {shortcut: [none, identity, none]}}", "shortcut lists 3 values"),
        ("{isotropic: {stem: {patchify: {size: 32}}}}", "the stem cannot read an input of shape (3, 16, 16)"),
        ("{dense: {stages: 3, depth: [2, 2]}}", "depth lists 2 values for 3 stages"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_rule(text: str, rule: str, refusal: Callable[[str], str]) -> None:
    assert rule in refusal(text)


def test_strides_say_how_far_the_resolution_falls(network: Callable[..., Any]) -> None:
    built = network("{staged: {widths: [4, 4, 4], depth: 1, strides: [2, 1, 4]}}")
    assert built.stages(built.stem(picture(1, 3, 16, 16))).shape[-2:] == (2, 2)


def test_a_preactivated_first_block_gets_a_raw_stem(network: Callable[..., Any]) -> None:
    assert not list(network("{staged: {block: preact_basic}}").stem.ending)
    assert len(network("{staged: {block: basic}}").stem.ending) == 2


def test_an_activated_stem_stays_so_where_asked_for(network: Callable[..., Any]) -> None:
    assert len(network("{staged: {stem: {imagenet: {ending: activated}}, block: preact_basic}}").stem.ending) == 2


def test_a_post_activated_unit_behind_preactivated_ones_is_given_normalised_input(network: Callable[..., Any]) -> None:
    built = network("{staged: {widths: [4, 8], depth: 1, block: [preact_basic, basic]}}").eval()
    raw = built.stages[0](built.stem(picture(2, 3, 16, 16)))
    assert raw.min() < 0 <= built.stages[1].bridge1(raw).min()
    assert isinstance(built.closing, nn.Identity)


def test_no_bridge_stands_where_nothing_is_missing(network: Callable[..., Any]) -> None:
    for blocks in ("[basic, preact_basic]", "[basic, bottleneck]", "[preact_basic, convnext]", "[convnext, attention]"):
        built = network(f"{{staged: {{widths: [4, 8], depth: 1, block: {blocks}}}}}")
        assert list(dict(built.stages[1].named_children())) == ["unit1"], blocks


def test_a_transition_takes_the_stride_from_the_units(network: Callable[..., Any]) -> None:
    built = network("{staged: {widths: [4, 8], depth: 1, block: convnext, transition: norm_conv}}")
    assert built.stages[1].transition(picture(1, 4, 16, 16)).shape == (1, 8, 8, 8)
    assert [unit.block.branch[0].stride for _, unit in built.units()] == [(1, 1), (1, 1)]
    assert not hasattr(built.stages[0], "transition")


def test_closing_none_leaves_the_last_norm_to_the_head(network: Callable[..., Any]) -> None:
    assert isinstance(network("{staged: {block: preact_basic, closing: none}}").closing, nn.Identity)


# --- dense ----------------------------------------------------------------------------------------------------------


def test_dense_and_plain_are_one_network_with_another_shortcut(network: Callable[..., Any]) -> None:
    channels = {
        shortcut: [unit.out_channels for _, unit in network(f"{{dense: {{growth: 4, stages: 1, depth: 3, shortcut: {shortcut}}}}}").units()]
        for shortcut in ("dense", "none", "identity")
    }
    assert channels == {"dense": [12, 16, 20], "none": [4, 4, 4], "identity": [4, 4, 4]}


def test_a_dense_unit_hands_on_all_that_came_before(network: Callable[..., Any]) -> None:
    stage = network("{dense: {growth: 4, stages: 1, depth: 3}}").stages[0].eval()
    x = picture(1, 8, 6, 6)
    first = stage.unit1(x)
    assert torch.equal(stage(x)[:, :12], first)
    assert torch.equal(first[:, :8], x)


# --- isotropic ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixing", ["attention", "token_mixing", "convnext"])
def test_every_shortcut_of_one_width_works_on_patches(mixing: str, registry: Registry, network: Callable[..., Any]) -> None:
    for shortcut in set(shortcut_names(registry)) - {"dense"}:
        built = network(f"{{isotropic: {{width: 16, depth: 1, mixing: {mixing}, shortcut: {shortcut}}}}}")
        built(picture(3, 3, 16, 16)).square().sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in built.parameters()), shortcut


def test_a_layer_is_two_units_with_shortcuts_of_their_own(network: Callable[..., Any]) -> None:
    built = network("{isotropic: {width: 16, depth: 2, shortcut: [none, identity]}}")
    assert kinds(built) == ["attention", "mlp"] * 2
    assert [unit.shortcut.plugin_name for _, unit in built.units()] == ["none", "identity"] * 2


def test_attention_without_positions_cannot_tell_where_a_patch_stands(network: Callable[..., Any]) -> None:
    x = picture(2, 3, 16, 16)
    mirrored = x.unflatten(3, (4, 4)).flip(3).flatten(3)  # columns of patches in reverse, each patch as it is
    for positions, told in (("none", False), ("sines", True), ("learned", True)):
        built = network(f"{{isotropic: {{width: 16, positions: {positions}}}}}").eval()
        assert torch.allclose(built(x), built(mirrored), atol=1e-5) is not told


def test_attention_is_softmax_of_the_products(network: Callable[..., Any]) -> None:
    attention = network("{isotropic: {width: 16, depth: 1, mixing: {attention: {heads: 2}}}}").layers.unit1.block.branch[1]
    x = picture(2, 16, 4, 4)
    q, k, v = (layer(x).flatten(2).unflatten(1, (2, 8)) for layer in (attention.query, attention.key, attention.value))
    weights = torch.einsum("bhcq,bhck->bhqk", q, k).div(8**0.5).softmax(-1)
    mixed = torch.einsum("bhqk,bhck->bhcq", weights, v).reshape(2, 16, 4, 4)
    assert torch.allclose(attention(x), attention.projection(mixed), atol=1e-6)


def test_token_mixing_reads_across_pixels_and_never_across_channels(network: Callable[..., Any]) -> None:
    mixing = network("{isotropic: {width: 16, depth: 1, mixing: token_mixing}}").layers.unit1.block.branch[1]
    x = picture(1, 16, 4, 4).requires_grad_()
    (read,) = torch.autograd.grad(mixing(x)[0, 3, 0, 0], x)
    assert (read[0, 3] != 0).all()
    assert (read[0, [c for c in range(16) if c != 3]] == 0).all()


def test_attention_strides_in_a_staged_network(network: Callable[..., Any]) -> None:
    built = network("{staged: {widths: [8, 16], depth: 1, block: [basic, attention], shortcut: projection}}")
    assert built.stages(built.stem(picture(1, 3, 16, 16))).shape == (1, 16, 8, 8)


# --- unet and mlp ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(16, 16), (13, 18), (7, 5)])
@pytest.mark.parametrize("stem", ["conv3x3", "imagenet"])
def test_unet_answers_for_every_pixel(size: tuple[int, int], stem: str, network: Callable[..., Any]) -> None:
    built = network(f"{{unet: {{stem: {stem}, widths: [4, 8, 8]}}}}", NetworkContext((1, *size), 5))
    assert built(picture(2, 1, *size)).shape == (2, 5, *size)


@pytest.mark.parametrize(("long_skip", "reaches"), [("none", False), ("add", True), ("concat", True)])
def test_long_skip_is_the_only_way_round_the_deepest_stage(long_skip: str, reaches: bool, network: Callable[..., Any]) -> None:
    built = network(f"{{unet: {{widths: [4, 8], long_skip: {long_skip}}}}}").eval()
    nn.init.zeros_(built.decoder[-1].up.conv.weight)  # nothing comes up from the deepest stage
    one, other = built(picture(2, 3, 16, 16)).unbind()
    assert (not torch.equal(one, other)) is reaches


def test_unet_blocks_may_differ_by_stage(network: Callable[..., Any]) -> None:
    built = network("{unet: {widths: [4, 8], block: [basic, preact_basic]}}")
    assert kinds(built) == ["basic", "preact_basic", "basic"]
    assert built(picture(1, 3, 16, 16)).shape == (1, 5, 16, 16)


def test_mlp_reads_vectors_and_pictures(network: Callable[..., Any]) -> None:
    built = network("{mlp: {widths: [8, 6], depth: 2}}", NetworkContext((48,), 5)).eval()
    assert torch.equal(built(picture(4, 48)), built(picture(4, 48).reshape(4, 3, 4, 4)))
    assert built.num_layers == 1 + 2 * 4 + 1


# --- others' networks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_a_missing_package_is_named_when_its_network_is_built(
    package: str, refusal: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    assert f"pip install 'nas-ablation[{package}]'" in refusal(f"{{{package}: {{model: resnet18}}}}")


# --- vectorised training --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{isotropic: {width: 8, depth: 1}}", "{isotropic: {width: 8, depth: 1, mixing: token_mixing}}", "unet"])
def test_several_seeds_run_as_one_program(text: str, network: Callable[..., Any]) -> None:
    replicas = [network(text, seed=seed).eval() for seed in (0, 1)]
    parameters, buffers = torch.func.stack_module_state(replicas)
    x = picture(2, 3, 3, 16, 16)

    def run(state: dict[str, Tensor], statistics: dict[str, Tensor], inputs: Tensor) -> Tensor:
        answer: Tensor = torch.func.functional_call(replicas[0], (state, statistics), (inputs,))
        return answer

    together = torch.func.vmap(run)(parameters, buffers, x)
    assert all(torch.allclose(together[i], replicas[i](x[i]), atol=1e-5) for i in range(2))


@pytest.mark.parametrize("text", ["staged", "dense", "isotropic", "unet", "mlp"])
def test_units_are_listed_in_the_order_in_which_they_run(text: str, network: Callable[..., Any]) -> None:
    built, ran = network(text).eval(), list[nn.Module]()
    for _, unit in built.units():
        unit.register_forward_hook(lambda module, _inputs, _output: ran.append(module))
    built(picture(1, 3, 16, 16))
    assert [unit for _, unit in built.units()] == ran


def stage_names(registry: Registry, text: str) -> list[str]:
    return [row.name for row in outline(architecture_of(text, registry), registry, SMALL) if "unit" in row.name]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{staged: {widths: [4, 4], depth: [2, 1], strides: [1, 1]}}", ["stage 1 · unit 1", "stage 1 · unit 2", "stage 2 · unit 1"]),
        ("{dense: {growth: 4, stages: 2, depth: [2, 1]}}", ["stage 1 · unit 1", "stage 1 · unit 2", "stage 2 · unit 1"]),
        ("{mlp: {widths: [4, 4], depth: 1}}", ["stage 1 · unit 1", "stage 2 · unit 1"]),
        ("{isotropic: {width: 8, depth: 1}}", ["stage 1 · unit 1", "stage 1 · unit 2"]),
        ("{unet: {widths: [4, 4], depth: 1}}", ["stage 1 · unit 1", "stage 2 · unit 1", "stage 3 · unit 1"]),
    ],
)
def test_an_outline_names_units_by_their_stage_in_the_network(text: str, expected: list[str], registry: Registry) -> None:
    assert stage_names(registry, text) == expected
