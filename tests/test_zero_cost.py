"""Zero-cost scores, each against a known answer on a network small enough to work it out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from nas.building import make
from nas.plugin import Examples, Probe, Reading, Subject
from nas.registry import discover
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.testing.probe_checks import probed
from nas.testing.subject import completed
from nas.values.architecture import PluginNode, Value

REGISTRY = discover()


def read(name: str, given: Subject, **parameters: Value) -> Reading:
    probe: Probe = make("probe", completed(REGISTRY, "probe", PluginNode(name, tuple(parameters.items()))), REGISTRY)
    return probe.measure(given)


def with_network(*layers: nn.Module, inputs: Tensor | None = None) -> Subject:
    given = replace(probed(REGISTRY), build=lambda _moment: nn.Sequential(nn.Flatten(), *layers))  # type: ignore[arg-type,return-value]
    if inputs is not None:
        given = replace(given, parts=dict.fromkeys(given.parts, Examples(inputs, torch.zeros(len(inputs), dtype=torch.long))))
    return given


def staged(options: str) -> Subject:
    text = f"name: t\narchitecture: {{staged: {{widths: [4, 8], depth: 2, {options}}}}}\n"
    return probed(REGISTRY, sample(parse_space(text, "t.yaml", REGISTRY), first_choice).configuration.architecture.network)


def linear(inner: int, outer: int) -> nn.Linear:
    layer = nn.Linear(inner, outer, bias=False)
    generator = torch.Generator().manual_seed(inner)
    nn.init.normal_(layer.weight, generator=generator)
    return layer


def test_synflow_of_linear_layers_is_their_number_times_the_product_of_absolute_weights() -> None:
    one, two, three = linear(64, 5), linear(5, 3), linear(3, 2)
    product = three.weight.double().abs() @ two.weight.double().abs() @ one.weight.double().abs()
    reading = read("synflow", with_network(one, two, three))
    assert reading.figures["score"] == pytest.approx(3 * float(product.sum()), rel=1e-9)
    assert reading.figures["log_score"] == pytest.approx(math.log10(3 * float(product.sum())), rel=1e-9)


def test_synflow_is_conserved_from_layer_to_layer_of_a_plain_network() -> None:
    layers = read("synflow", staged("shortcut: none")).series["layers"]
    assert len(layers) == 10
    assert layers == pytest.approx([layers[0]] * 10, rel=1e-9)


def test_synflow_looks_at_no_example() -> None:
    given = staged("shortcut: identity")
    other = replace(given, parts={name: Examples(7 * part.inputs + 1, part.targets) for name, part in given.parts.items()})
    assert read("synflow", given) == read("synflow", other)


def test_nothing_flows_through_a_layer_of_zeros() -> None:
    zero = linear(64, 5)
    nn.init.zeros_(zero.weight)
    reading = read("synflow", with_network(zero, linear(5, 2)))
    assert reading.figures["score"] == 0
    assert "nothing flows" in reading.words


def test_naswot_of_two_codes_is_the_log_of_the_determinant_by_hand() -> None:
    same = nn.Linear(2, 2, bias=False)
    nn.init.eye_(same.weight)
    reading = read("naswot", with_network(same, nn.ReLU(), inputs=torch.tensor([[1.0, 1.0], [1.0, -1.0]])))
    assert reading.figures == {"rank": 1.0, "score": pytest.approx(math.log(2 * 2 - 1 * 1))}


def test_naswot_of_identical_activations_is_degenerate() -> None:
    reading = read("naswot", with_network(linear(2, 8), nn.ReLU(), inputs=torch.ones(6, 2)))
    assert reading.figures == {"rank": pytest.approx(1 / 6)}
    assert "singular" in reading.words


def test_naswot_refuses_a_network_without_activations() -> None:
    with pytest.raises(ValueError, match="no activations"):
        read("naswot", with_network(linear(64, 3)))


def test_naswot_tells_examples_of_a_residual_network_apart() -> None:
    figures = read("naswot", staged("shortcut: identity"), examples=32).figures
    assert figures["rank"] == 1.0
    assert math.isfinite(figures["score"])


def test_the_gradient_norm_of_one_layer_is_that_of_softmax_regression() -> None:
    layer, inputs = linear(4, 3), torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    error = torch.softmax(layer(inputs), 1) - torch.eye(3)[torch.zeros(8, dtype=torch.long)]
    by_hand = float((error.T @ inputs / 8).norm())
    assert read("gradient_norm", with_network(layer, inputs=inputs)).figures["score"] == pytest.approx(by_hand, rel=1e-5)


def test_the_gradient_norm_adds_up_the_layers_of_the_probe_gradients() -> None:
    given = staged("shortcut: identity")
    layers = read("gradients", given, examples=32).series["norms"]
    assert read("gradient_norm", given, examples=32).figures["score"] == pytest.approx(math.fsum(layers), rel=1e-6)
