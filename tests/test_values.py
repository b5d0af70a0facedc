"""Values are frozen, written in one canonical form, and come back from it as they were."""

import json
import math
import random
from dataclasses import FrozenInstanceError

import pytest

from nas.values.architecture import Architecture, Configuration, PluginNode, from_json, key_of, to_json, write
from nas.values.domains import Choices, FloatRange, IntRange, Scalar, written
from nas.values.outcome import Cost, Outcome
from nas.values.seeds import derive

NODE = PluginNode(
    "staged",
    (
        ("widths", (8, 16)),
        ("block", PluginNode("basic", (("norm", PluginNode("batch")), ("rate", 0.1)))),
        ("closing", None),
        ("bias", True),
    ),
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, "true"), (False, "false"), (None, "null"), (3, "3"), (-6.0, "-6"), (0.03, "0.03"), (1e-5, "1e-05"), ("none", "none")],
)
def test_a_scalar_is_written_as_a_space_file_does(value: Scalar, text: str) -> None:
    assert written(value) == text


@pytest.mark.parametrize("value", [0.1234567, 0.1234568, 1 / 3, 1e300, 123456789.0])
def test_a_written_float_tells_it_from_its_neighbours(value: float) -> None:
    assert float(written(value)) == value
    assert written(value) != written(math.nextafter(value, math.inf))


def test_choices_tell_true_from_one() -> None:
    assert Choices((1, 2)).contains(1)
    assert not Choices((1, 2)).contains(True)
    assert not Choices((1, 2)).contains(1.0)


@pytest.mark.parametrize(
    ("value", "there"), [(1, True), (4, True), (10, True), (2, False), (0, False), (13, False), (4.0, False), (True, False)]
)
def test_an_integer_range_contains_its_steps_alone(value: Scalar, there: bool) -> None:
    assert IntRange(1, 10, step=3).contains(value) is there


@pytest.mark.parametrize(
    ("value", "there"), [(0.5, True), (1, True), (2.0, True), (2.1, False), (math.nan, False), (True, False), ("1", False)]
)
def test_a_real_range_contains_its_ends_and_no_truth_values(value: Scalar, there: bool) -> None:
    assert FloatRange(0.5, 2.0).contains(value) is there


@pytest.mark.parametrize(
    "domain",
    [
        Choices(("a", None, True)), IntRange(1, 10, step=3), IntRange(1, 100, log=True), IntRange(5, 5), FloatRange(-1.0, 1.0),
        FloatRange(0.03, 0.3, log=True), FloatRange(0.1, 0.1, log=True), FloatRange(1e-9, 1e-8, log=True),
    ],
)  # fmt: skip
def test_what_is_drawn_lies_in_the_domain(domain: Choices | IntRange | FloatRange) -> None:
    rng = random.Random(0)
    assert all(domain.contains(domain.draw(rng)) for _ in range(2000))
    assert domain.contains(domain.first)


def test_a_logarithmic_range_draws_as_often_below_its_geometric_mean_as_above() -> None:
    rng = random.Random(0)
    below = sum(FloatRange(0.001, 0.1, log=True).draw(rng) < 0.01 for _ in range(4000))
    assert 1900 < below < 2100


def test_an_integer_range_draws_both_of_its_ends() -> None:
    rng = random.Random(0)
    for domain in (IntRange(1, 7, step=3), IntRange(1, 7, log=True)):
        assert {1, 7} <= {domain.draw(rng) for _ in range(500)}


@pytest.mark.parametrize(
    ("domain", "size", "text"),
    [
        (Choices((None, True, "basic")), 3, "{null, true, basic}"),
        (IntRange(1, 10, step=3), 4, "1..10 step 3"),
        (IntRange(1, 8, log=True), 8, "1..8 (log)"),
        (FloatRange(0.02, 0.3, log=True), math.inf, "0.02..0.3 (log)"),
        (FloatRange(0.1234567, 1.0), math.inf, "0.1234567..1"),
        (FloatRange(0.5, 0.5), 1, "0.5..0.5"),
    ],
)
def test_a_domain_knows_its_size_and_writes_itself(domain: Choices | IntRange | FloatRange, size: float, text: str) -> None:
    assert (domain.size, str(domain)) == (size, text)


def test_a_node_is_written_on_one_line() -> None:
    assert write(NODE) == "staged(widths=8-16, block=basic(norm=batch, rate=0.1), closing=null, bias=true)"
    assert str(PluginNode("identity")) == "identity"


def test_a_node_comes_back_from_json_as_it_was() -> None:
    assert from_json(json.loads(json.dumps(to_json(NODE)))) == NODE


def test_a_document_of_two_names_is_no_node() -> None:
    with pytest.raises(ValueError, match=r"a plugin node is \{name: \{…\}\}, got \['a', 'b'\]"):
        PluginNode.from_dict({"b": {}, "a": {}})


def test_a_configuration_comes_back_with_its_key() -> None:
    configuration = Configuration(Architecture(NODE), PluginNode("train", (("epochs", 3),)), PluginNode("digits"))
    again = Configuration.from_dict(json.loads(json.dumps(configuration.to_dict())))
    assert again == configuration
    assert again.key == configuration.key


def test_a_key_does_not_depend_on_the_order_of_keys() -> None:
    assert key_of({"a": 1, "b": [2]}) == key_of({"b": [2], "a": 1})


@pytest.mark.parametrize(
    ("one", "other"), [({"a": 1}, {"a": True}), ({"a": 1}, {"a": 1.0}), ({"a": 1}, {"a": "1"}), ({"a": [1, 2]}, {"a": [2, 1]})]
)
def test_a_key_tells_apart_what_python_takes_for_equal(one: dict[str, object], other: dict[str, object]) -> None:
    assert key_of(one) != key_of(other)


def test_the_key_of_an_architecture_does_not_move() -> None:
    # Ledgers hold it: another way to write or hash it would part a study from its own trainings.
    assert Architecture(NODE).key == "4746bdcd9f31"


def test_values_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        NODE.name = "other"  # type: ignore[misc]


def test_seeds_are_the_same_on_every_machine_and_differ_by_each_key() -> None:
    assert derive(0, "init", "stem.conv.weight") == 6217639766823069234
    seeds = {derive(*keys) for keys in ((0, "a"), (0, "b"), (1, "a"), ("a", 0), (0,), (0, "a", ""))}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)


def outcome(**changes: object) -> Outcome:
    fields = {
        "status": "complete", "score": 0.9, "metrics": {"val_accuracy": 0.9}, "curves": {"val_loss": (1.0, 0.5)},
        "cost": Cost(10, 20, 3), "num_epochs": 2, "duration_s": 1.5, "device": "cpu",
    }  # fmt: skip
    return Outcome(**{**fields, **changes})  # type: ignore[arg-type]


def test_an_outcome_comes_back_from_json_as_it_was() -> None:
    assert Outcome.from_dict(json.loads(json.dumps(outcome().to_dict()))) == outcome()


def test_an_outcome_with_figures_that_are_not_finite_is_plain_json() -> None:
    broken = outcome(status="failed", metrics={"val_loss": math.nan}, curves={"val_loss": (math.inf, -math.inf)}, failure="diverged")
    text = json.dumps(broken.to_dict(), allow_nan=False)
    again = Outcome.from_dict(json.loads(text))
    assert math.isnan(again.metrics["val_loss"])
    assert again.curves["val_loss"] == (math.inf, -math.inf)
