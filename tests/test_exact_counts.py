"""Parameters and multiply-accumulates of published networks, 10 classes at 32×32 RGB, exactly."""

from __future__ import annotations

import pytest

from nas.building import build, cost_of
from nas.paths import shipped
from nas.plugin import NetworkContext
from nas.registry import Registry, discover
from nas.sampling import first_choice, sample
from nas.space import load_space
from nas.values.architecture import Architecture
from nas.values.outcome import Cost

CIFAR = NetworkContext(input_shape=(3, 32, 32), num_outputs=10)

PARAMETERS = {
    "resnet20": 269_722, "resnet20_b": 272_474, "resnet20_c": 283_962,
    "resnet32": 464_154, "resnet32_b": 466_906, "resnet32_c": 489_594,
    "resnet56": 853_018, "resnet56_b": 855_770, "resnet56_c": 900_858,
    "resnet110": 1_727_962, "resnet110_b": 1_730_714,
    "preact_resnet164": 1_703_258, "wrn28_10": 36_479_194, "wrn16_4": 2_748_890,
}  # fmt: skip
MACS = {"resnet20": 40_551_040, "resnet32": 68_862_592, "resnet56": 125_485_696, "resnet110": 252_887_680}
LAYERS = {"resnet20": 20, "resnet32": 32, "resnet56": 56, "resnet110": 110, "preact_resnet164": 164, "wrn28_10": 26, "wrn16_4": 14}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return discover()


def reference(name: str, registry: Registry) -> Architecture:
    space = load_space(shipped("search_spaces") / "reference" / f"{name}.yaml", registry)
    assert not space.decisions
    return sample(space, first_choice).configuration.architecture


def cost(name: str, registry: Registry) -> Cost:
    return cost_of(reference(name, registry), registry, CIFAR)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_published_ones(name: str, registry: Registry) -> None:
    assert cost(name, registry).parameters == PARAMETERS[name]


@pytest.mark.parametrize("name", MACS)
def test_multiply_accumulates_are_the_published_ones(name: str, registry: Registry) -> None:
    assert cost(name, registry).macs == MACS[name]


@pytest.mark.parametrize("name", LAYERS)
def test_weight_layers_on_the_longest_path(name: str, registry: Registry) -> None:
    assert cost(name, registry).num_layers == LAYERS[name]


def test_built_network_has_the_parameters_that_were_counted(registry: Registry) -> None:
    architecture = reference("resnet20_c", registry)
    network = build(architecture, registry, CIFAR)
    assert sum(p.numel() for p in network.parameters()) == cost_of(architecture, registry, CIFAR).parameters
