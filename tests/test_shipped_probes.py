"""The shipped probes, each against a known answer on a small network."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nas.building import make
from nas.plugin import Examples, Moment, Network, Probe, Reading, Subject, Unit
from nas.probes import added_by_branch, explained, responses, ridge, same_shape_groups, stages_of, trace, units_of
from nas.registry import discover
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.testing import check_plugin
from nas.testing.probe_checks import probed
from nas.testing.subject import completed
from nas.values.architecture import PluginNode, Value

REGISTRY = discover()


def subject(options: str = "shortcut: identity", *, kind: str = "staged", moments: tuple[Moment, ...] = ("start", "end")) -> Subject:
    sizes = "" if "widths" in options else "widths: [4, 8], depth: 3, "
    text = f"name: t\narchitecture: {{{kind}: {{{sizes}{options}}}}}\n"
    network = sample(parse_space(text, "t.yaml", REGISTRY), first_choice).configuration.architecture.network
    return probed(REGISTRY, network, moments=moments)


def changed(given: Subject, change: Callable[[Unit], None]) -> Subject:
    """The same subject with every unit of every network changed."""

    def build(moment: Moment) -> Network:
        network = given.build(moment)
        with torch.no_grad():
            for _, unit in units_of(network):
                change(unit)
        return network

    return replace(given, build=build)


def silent(unit: Unit) -> None:
    for layer in unit.block.last_layers():
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)


def read(name: str, given: Subject, **parameters: Value) -> Reading:
    node = completed(REGISTRY, "probe", PluginNode(name, tuple(parameters.items())))
    probe: Probe = make("probe", node, REGISTRY)
    return probe.measure(given)


# --- what they are made of ------------------------------------------------------------------------------------------


def test_units_of_a_stage_stand_in_one_module_and_those_that_keep_their_shape_make_groups() -> None:
    network = subject().network()
    assert stages_of(network) == (0, 0, 0, 1, 1, 1)
    groups = same_shape_groups(network, torch.zeros(2, 1, 8, 8))
    assert groups == (("stages.0.unit1", "stages.0.unit2", "stages.0.unit3"), ("stages.1.unit2", "stages.1.unit3"))


@pytest.mark.parametrize(("shortcut", "scale"), [("identity", 1.0), ("{scaled: {lam: .7, mu: .25}}", 0.25), ("none", 1.0), ("rezero", 0.0)])
def test_what_a_branch_adds_is_what_the_merge_makes_of_it(shortcut: str, scale: float) -> None:
    given = subject(f"shortcut: {shortcut}", moments=("start",))
    _, visits = trace(given.network("start"), given.parts["test"].inputs)
    unit, x = visits[1].unit, visits[1].x
    torch.testing.assert_close(added_by_branch(unit, x), scale * unit.block.branch(x), rtol=1e-4, atol=1e-5)


def test_a_layers_response_is_that_of_its_norm() -> None:
    given = subject()
    network, inputs = given.network(), given.parts["test"].inputs
    found = dict(responses(network, inputs))
    first = network.get_submodule("stages.0.unit1").block
    x = trace(network, inputs)[1][0].x
    torch.testing.assert_close(found["stages.0.unit1.block.branch.0"], first.branch[1](first.branch[0](x)))


def test_a_ridge_readout_recovers_what_is_linear_and_nothing_of_noise() -> None:
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(n, 30, generator=generator) for n in (200, 100, 100)]
    weights = torch.randn(30, 4, generator=generator)
    linear = [3 + x @ weights for x in features]
    noise = [torch.randn(len(x), 4, generator=generator) for x in features]
    for targets, low, high in ((linear, 0.999, 1.0), (noise, -0.1, 0.05)):
        predictions = ridge((features[0], targets[0]), (features[1], targets[1]), features[2]).predictions
        assert low <= explained(targets[2].double(), predictions) <= high


# --- paths and places -----------------------------------------------------------------------------------------------


def test_paths_of_a_network_whose_branches_are_silent_have_no_length() -> None:
    figures = read("paths", changed(subject(), silent)).figures
    assert (figures["mean_length"], figures["mean_length_exact"], figures["mean_length_sampled"]) == (3.0, 0.0, 0.0)
    assert figures["effective_share"] == 1 / 64


def test_sampled_quantity_is_the_number_of_paths_times_the_norm_of_one() -> None:
    reading = read("paths", subject())
    expected = [math.comb(6, k) * norm for k, norm in enumerate(reading.series["path"])]
    assert list(reading.series["sampled"]) == pytest.approx(expected)
    assert len(reading.series["exact"]) == 7
    assert sum(reading.series["lengths"]) == pytest.approx(1)


def test_paths_past_other_things_than_units_are_refused() -> None:
    unet = replace(subject("widths: [4, 8]", kind="unet"), loss=lambda outputs, _targets: outputs.square().mean())
    with pytest.raises(ValueError, match="paths"):
        read("paths", unet)


def test_swapping_units_that_add_nothing_changes_nothing() -> None:
    reading = read("reorder", changed(subject(), silent), pairs=(1, 3))
    assert set(reading.series["errors"]) == set(reading.series["errors_recomputed"]) == {reading.figures["intact_error"]}
    assert len(reading.series["taus"]) == 2
    assert reading.series["taus"][0] == pytest.approx(1.0, abs=2 * 3 / 4)  # one swap in groups of 3 and 2: at most 3 of 4 pairs turn
    assert reading.series["taus"][0] < 1


def test_a_network_without_two_units_of_a_shape_cannot_be_reordered() -> None:
    with pytest.raises(ValueError, match="no two units of one shape"):
        read("reorder", subject("widths: [4, 8], depth: 1"))


# --- what passes through --------------------------------------------------------------------------------------------


def test_the_ratio_is_that_of_the_norms_of_branch_and_input() -> None:
    given = subject()
    reading = read("responses", given, examples=1000)
    _, visits = trace(given.network(), given.parts["test"].inputs)
    expected = [(visit.unit.block.branch(visit.x).norm() / visit.x.norm()).item() for visit in visits]
    assert list(reading.series["ratio"]) == pytest.approx(expected, rel=1e-4)
    assert len(reading.series["std"]) == 14
    assert set(read("responses", changed(given, silent)).series["ratio"]) == {0.0}


def test_units_with_silent_branches_are_the_identity() -> None:
    reading = read("identity", changed(subject(), silent))
    assert reading.series["distance"] == (0.0,) * 5
    assert read("identity", subject()).figures["mean_distance"] > 0.1


class _Downhill(nn.Module):
    """A branch that returns the loss's negative gradient at its input, as the subject's last unit sees it."""

    def __init__(self, step: Tensor) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        return self.step + 0 * x


def test_a_branch_that_steps_down_the_gradient_has_the_cosine_one() -> None:
    given = subject("shortcut: identity, block: preact_basic")
    batch = given.parts["test"]

    def build(moment: Moment) -> Network:
        network = given.build(moment).eval()
        _, unit = units_of(network)[-1]
        silent(unit)
        for _ in range(3):  # the gradient at x moves with the step; a small one has it settle
            outputs, visits = trace(network, batch.inputs.clone().requires_grad_())
            (gradient,) = torch.autograd.grad(given.loss(outputs, batch.targets), visits[-1].x)
            unit.block.branch = _Downhill(-1e-4 * gradient / gradient.norm())
        return network

    assert read("identity", replace(given, build=build), examples=1000).figures["last_cosine"] == pytest.approx(1, abs=1e-3)


def test_weights_that_stayed_are_told_and_weights_that_moved_are_measured() -> None:
    given = subject()
    still = replace(given, build=lambda _moment: given.build("start"))
    assert read("weights_moved", still).figures["unmoved"] == 12
    assert "did not move" in read("weights_moved", still).words
    moved = read("weights_moved", given)
    start, end = given.network("start"), given.network("end")
    weights = [[p for p in units_of(n)[0][1].block.parameters() if p.dim() > 1] for n in (start, end)]
    expected = math.hypot(*(float((one - other).detach().norm()) for one, other in zip(*weights, strict=True)))
    assert moved.series["moved"][0] == pytest.approx(expected, rel=1e-5)
    assert moved.figures["unmoved"] == 0
    assert "least_step" not in moved.figures


def test_signals_double_a_unit_without_norm_and_not_with_it() -> None:
    bare = "stem: {conv3x3: {norm: none}}, block: {preact_basic: {norm: none}}, widths: [32], depth: 8, shortcut: identity"
    normed = "block: preact_basic, widths: [32], depth: 8, shortcut: identity"
    found = [read("signals", subject(options)).figures["doublings_start"] for options in (bare, normed)]
    assert found[0] == pytest.approx(1, abs=0.25)
    assert found[1] < 0.6


def test_an_identity_keeps_all_of_the_input_decodable_and_a_deep_plain_network_does_not() -> None:
    deep = "widths: [8], depth: 10, "
    residual, plain = (read("decodability", subject(f"{deep}shortcut: {name}")) for name in ("rezero", "none"))
    assert len(plain.series["input"]) == len(plain.series["label"]) == 11
    assert residual.series["input_start"] == pytest.approx([residual.series["input_start"][0]] * 11)  # α = 0
    assert plain.series["input_start"][-1] < 0.5 * plain.series["input_start"][0]


def test_labels_that_the_input_says_linearly_are_read_out() -> None:
    given = subject("widths: [8], depth: 1, shortcut: identity")
    parts = {}
    for i, name in enumerate(("train", "val", "test")):
        targets = torch.randint(10, (128,), generator=torch.Generator().manual_seed(i))
        parts[name] = Examples(torch.eye(64)[targets].reshape(-1, 1, 8, 8), targets)
    assert read("decodability", replace(given, parts=parts)).figures["label_last"] == 1.0


# --- around the input, around the weights -----------------------------------------------------------------------------


def test_the_gradients_of_a_linear_network_do_not_shatter_and_a_deep_plain_ones_do() -> None:
    shallow, plain, residual = (
        read("shattering", subject(options)).figures["correlation_start"]
        for options in (
            "widths: [8], depth: 1, shortcut: identity",
            "widths: [8], depth: 15, shortcut: none",
            "widths: [8], depth: 15, shortcut: identity, block: preact_basic",
        )
    )
    assert plain < 0.4
    assert residual > plain + 0.2
    assert shallow > plain + 0.2


def test_the_middle_of_the_landscape_is_the_trained_loss_and_directions_have_the_filters_norms() -> None:
    given = subject()
    batch = given.parts["train"]
    reading = read("landscape", given, points=5, examples=1000)
    assert len(reading.series["grid"]) == 25
    expected = given.loss(given.network()(batch.inputs), batch.targets).item()
    assert reading.figures["loss"] == pytest.approx(expected, rel=1e-5)
    assert reading.series["grid"][12] == pytest.approx(expected, rel=1e-5)
    assert read("landscape", given, points=5, radius=1e-6).figures["rise"] == pytest.approx(0, abs=1e-3)


def test_the_landscape_of_a_quadratic_is_convex() -> None:
    class Bowl(Network):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.weight.square().sum().expand(len(x), 10)

    given = replace(subject(), build=lambda _moment: Bowl(), loss=lambda outputs, _targets: outputs.mean())
    reading = read("landscape", given, points=7)
    assert reading.figures["convex"] == 1.0
    assert reading.figures["points"] == 7


def test_a_landscape_that_would_take_too_long_gets_fewer_points() -> None:
    assert read("landscape", subject(), points=301, seconds=0.1).figures["points"] < 301


@pytest.mark.parametrize("options", ["none", "identity", "rezero", "identity, block: bottleneck", "identity, block: preact_basic"])
def test_a_stretched_network_gives_the_same_answers_from_more_layers(options: str) -> None:
    figures = read("stretch", subject(f"shortcut: {options}"), copies=2).figures
    assert figures["difference"] < 1e-4
    assert figures["error"] == figures["intact_error"]
    assert figures["layers_after"] >= figures["layers"] + 2 * 5 * 2


def test_units_that_cannot_be_an_identity_are_not_stretched() -> None:
    with pytest.raises(ValueError, match="can be made an identity"):
        read("stretch", subject("shortcut: none, block: preact_basic"))


# --- the page -------------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parent.parent / "docs" / "probes.md").read_text()


@pytest.mark.parametrize("name", REGISTRY.names("probe"))
def test_the_page_of_probes_has_every_figure_and_series(name: str) -> None:
    cls = REGISTRY.find("probe", name).cls
    section = PAGE.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    missing = [declared.name for declared in (*cls.figures, *cls.series) if f"`{declared.name}`" not in section]  # type: ignore[attr-defined]
    assert not missing


def test_the_probe_that_the_page_writes_keeps_the_contract(tmp_path: Path) -> None:
    (tmp_path / "probes").mkdir()
    (tmp_path / "probes" / "sparsity.py").write_text(PAGE.partition("```python\n")[2].partition("```")[0])
    results = check_plugin(discover([tmp_path]), "probe", "sparsity")
    assert [result.detail for result in results if not result.passed] == []
