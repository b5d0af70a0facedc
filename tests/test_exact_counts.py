"""Parameters and multiply-accumulates of published networks, exactly, as `nas show --json` prints them of the shipped spaces."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from torch import nn

from nas.building import build, cost_of
from nas.cli.show import command as show
from nas.paths import shipped
from nas.plugin import NetworkContext
from nas.registry import Registry
from nas.sampling import first_choice, sample
from nas.space import load_space

REFERENCE = Path(shipped("search_spaces")) / "reference"

PARAMETERS = {
    # 10 classes at 32×32: options A, B and C of He et al. 2015, 1512.03385, §4.2
    "resnet20": 269_722, "resnet20_b": 272_474, "resnet20_c": 283_962,
    "resnet32": 464_154, "resnet32_b": 466_906, "resnet32_c": 489_594,
    "resnet56": 853_018, "resnet56_b": 855_770, "resnet56_c": 900_858,
    "resnet110": 1_727_962, "resnet110_b": 1_730_714,
    "preact_resnet164": 1_703_258, "wrn28_10": 36_479_194, "wrn16_4": 2_748_890,
    "densenet_40_12": 1_019_722, "densenet_bc_100_12": 769_162,
    # a latent vector of 128 to 32×32 RGB, and back to one score
    "sngan_generator": 4_275_971, "sngan_discriminator": 1_053_569,
    # 1000 classes at 224×224
    "resnet18": 11_689_512, "resnet50": 25_557_032, "resnext50_32x4d": 25_028_904, "resnet50d": 25_576_264,
    "densenet121": 7_978_856, "mobilenet_v2": 3_504_872, "convnext_tiny": 28_589_128,
}  # fmt: skip
MACS = {
    "resnet20": 40_551_040, "resnet32": 68_862_592, "resnet56": 125_485_696, "resnet110": 252_887_680,
    "densenet_40_12": 264_812_928, "densenet_bc_100_12": 287_929_692,
    "resnet18": 1_814_073_344, "resnet50": 4_089_184_256, "resnext50_32x4d": 4_230_479_872, "resnet50d": 4_328_824_832,
    "densenet121": 2_834_161_664, "mobilenet_v2": 300_774_272, "convnext_tiny": 4_455_531_264,
}  # fmt: skip
LAYERS = {
    "resnet20": 20, "resnet32": 32, "resnet56": 56, "resnet110": 110, "preact_resnet164": 164, "resnet18": 18, "resnet50": 50,
    "resnext50_32x4d": 50, "densenet_40_12": 40, "densenet_bc_100_12": 100, "densenet121": 121, "mobilenet_v2": 53, "convnext_tiny": 59,
    "resnet50d": 52,  # its stem has three layers in place of one
    "wrn28_10": 26, "wrn16_4": 14,  # their names count the three projections, which lie beside the longest path
}  # fmt: skip


def shown(file: Path) -> dict[str, Any]:
    done = CliRunner().invoke(show, [str(file), "--json"], catch_exceptions=False)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_reference_space_shows_the_published_figures(name: str) -> None:
    document = shown(REFERENCE / f"{name}.yaml")
    published = {"parameters": PARAMETERS[name], "macs": MACS.get(name), "num_layers": LAYERS.get(name)}
    assert {key: document[key] for key, value in published.items() if value} == {key: value for key, value in published.items() if value}


@pytest.mark.parametrize("name", [name for name in MACS if name.startswith("resnet") and PARAMETERS[name] < 2_000_000])
def test_the_plain_network_costs_what_option_a_costs(name: str, tmp_path: Path) -> None:
    text = (REFERENCE / f"{name}.yaml").read_text(encoding="utf-8")
    plain = tmp_path / "plain.yaml"
    plain.write_text(text.replace("shortcut: identity", "shortcut: none"), encoding="utf-8")
    document = shown(plain)
    assert "none" in document["architecture"]["staged"]["shortcut"]
    assert (document["parameters"], document["macs"], document["num_layers"]) == (PARAMETERS[name], MACS[name], LAYERS[name])


def test_every_reference_space_has_its_published_figure_here() -> None:
    assert {file.stem for file in REFERENCE.glob("*.yaml")} == PARAMETERS.keys()


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_reference_space_says_its_figures_in_its_first_lines(name: str) -> None:
    head = (REFERENCE / f"{name}.yaml").read_text(encoding="utf-8").partition("name:")[0]
    assert f"{PARAMETERS[name]:,} parameters" in head


def test_a_built_network_has_the_parameters_that_were_counted(registry: Registry) -> None:
    space = load_space(REFERENCE / "resnet20_c.yaml", registry)
    network = build(sample(space, first_choice).configuration.architecture, registry, NetworkContext((3, 32, 32), 10))
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS["resnet20_c"]


def test_resnet110_is_counted_in_under_200_ms_and_no_weight_is_allocated(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    space = load_space(REFERENCE / "resnet110.yaml", registry)
    architecture, context = sample(space, first_choice).configuration.architecture, NetworkContext((3, 32, 32), 10)
    allocated = []
    register = nn.Module.register_parameter

    def note(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None and not parameter.is_meta:
            allocated.append(name)
        register(module, name, parameter)

    with monkeypatch.context() as patched:
        patched.setattr(nn.Module, "register_parameter", note)
        assert cost_of(architecture, registry, context).parameters == PARAMETERS["resnet110"]
    assert not allocated
    times = []
    for _ in range(3):
        started = time.process_time()  # what other programs take away from the processor does not count
        cost_of(architecture, registry, context)
        times.append(time.process_time() - started)
    assert min(times) < 0.2
