"""Nested plugins, shared decisions and decisions by stage, in every network that is built of units."""

import pytest
import torch
from torch import nn

from nas.building import build
from nas.plugin import Network, NetworkContext
from nas.registry import Registry
from nas.sampling import first_choice, fixing, sample
from nas.space import parse_space
from nas.values.domains import Scalar

SIZES = {
    "staged": "widths: [4, 8], depth: 1",
    "dense": "growth: 4, stages: 2, depth: 1",
    "unet": "widths: [4, 8], depth: 1",
    "mlp": "widths: [4, 8], depth: 1",
    "generator": "size: 2, widths: [4, 8]",
    "discriminator": "widths: [4, 8]",
}
NETWORKS = {**SIZES, "isotropic": "width: 8, depth: 1"}
CONTEXT = NetworkContext((3, 16, 16), 5)


def built(text: str, registry: Registry, decided: dict[str, Scalar] | None = None) -> tuple[Network, list[str]]:
    """Build a space's network with some decisions fixed, run it once, and return it with the paths of its decisions."""
    space = parse_space(f"name: t\n{text}\n", "t.yaml", registry)
    chosen = sample(space, fixing(decided or {}, first_choice))
    network = build(chosen.configuration.architecture, registry, CONTEXT)
    answer = network(torch.randn(3, *CONTEXT.input_shape, generator=torch.Generator().manual_seed(0)))
    answer.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    return network, [path for path, _ in chosen.decisions]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_shared_decision_is_taken_once_for_blocks_and_shortcuts(name: str, registry: Registry) -> None:
    part = "channels: {mlp: {activation: {shared: a}}}, mixing: {token_mixing: {activation: {shared: a}}}"
    if name != "isotropic":
        block = name if name in ("generator", "discriminator") else "basic"
        part = f"block: [{{{block}: {{activation: {{shared: a}}}}}}, {{{block}: {{activation: {{shared: a}}}}}}]"
    text = f"shared: {{a: {{choices: [relu, tanh]}}}}\narchitecture: {{{name}: {{{NETWORKS[name]}, {part}}}}}"
    for choice, kind in (("relu", nn.ReLU), ("tanh", nn.Tanh)):
        network, paths = built(text, registry, {"shared.a": choice})
        assert paths == ["shared.a"]
        for _, unit in network.units():
            found = {type(m).__mro__[1] for m in unit.modules() if isinstance(m, nn.ReLU | nn.Tanh)}
            assert found == {kind}


@pytest.mark.parametrize("name", SIZES)
def test_each_stage_decides_for_itself(name: str, registry: Registry) -> None:
    choices = "{choices: [none, identity, projection]}"
    text = f"architecture: {{{name}: {{{SIZES[name]}, shortcut: [{choices}, {choices}]}}}}"
    paths = built(text, registry)[1]
    assert len(paths) == 2
    network, _ = built(text, registry, {paths[0]: "none", paths[1]: "identity"})
    by_stage = [unit.shortcut.plugin_name for _, unit in network.units()]  # type: ignore[attr-defined]
    assert by_stage[:2] == ["none", "identity"]


def test_the_two_units_of_an_isotropic_layer_decide_for_themselves(registry: Registry) -> None:
    choices = "{choices: [none, identity]}"
    text = f"architecture: {{isotropic: {{width: 8, depth: 2, shortcut: [{choices}, {choices}]}}}}"
    paths = built(text, registry)[1]
    network, _ = built(text, registry, {paths[0]: "identity", paths[1]: "none"})
    assert [unit.shortcut.connects for _, unit in network.units()] == [True, False, True, False]


@pytest.mark.parametrize("name", SIZES)
def test_depth_may_be_decided_by_stage(name: str, registry: Registry) -> None:
    sizes = SIZES[name].replace(", depth: 1", "")
    text = f"architecture: {{{name}: {{{sizes}, depth: [{{int: [1, 3]}}, {{int: [1, 3]}}]}}}}"
    paths = built(text, registry)[1]
    network, _ = built(text, registry, {paths[0]: 2, paths[1]: 3})
    assert sum(1 for _ in network.units()) == (7 if name == "unet" else 5)  # a U-Net's decoder has the first stage again


@pytest.mark.parametrize("name", NETWORKS)
def test_plugins_nest_three_deep(name: str, registry: Registry) -> None:
    inner = "{projection: {where: everywhere, norm: {group: {groups: {choices: [2, 4]}}}}}"
    text = f"shortcut: {{stochastic_depth: {{survival: 1.0, path: {{layer_scale: {{path: {inner}}}}}}}}}"
    paths = built(f"architecture: {{{name}: {{{NETWORKS[name]}, {text}}}}}", registry)[1]
    assert len(paths) == 1
    assert paths[0].endswith("stochastic_depth.path.layer_scale.path.projection.norm.group.groups")
    decided, _ = built(f"architecture: {{{name}: {{{NETWORKS[name]}, {text}}}}}", registry, {paths[0]: 4})
    for _, unit in decided.units():
        norms = [m for m in unit.shortcut.modules() if isinstance(m, nn.GroupNorm)]
        assert all(norm.num_groups == 4 for norm in norms)
        assert bool(norms) is not unit.block.preactivated  # a pre-activated unit's projection has no norm
