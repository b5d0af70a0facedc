"""A space file becomes a typed value whose identity, size and labels follow from what it means."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import pytest

from nas.errors import UserError
from nas.paths import shipped
from nas.registry import Registry, discover
from nas.sampling import sample
from nas.space import Constraint, Decision, Space, load_space, parse_space, size_of
from nas.space.schema import schema_of
from nas.values.outcome import Cost

GATED = "shortcut: {choices: [%s]}"


def space_of(text: str, registry: Registry) -> Space:
    return parse_space(text, "space.yaml", registry)


def staged(parameters: str, registry: Registry) -> Space:
    return space_of(f"architecture:\n  staged:\n    {parameters}\n", registry)


def labels(parameters: str, path: str, registry: Registry) -> tuple[object, ...]:
    return staged(parameters, registry).decisions[f"architecture.staged.{path}"].domain.labels  # type: ignore[union-attr]


# --- what is written, and what is meant -------------------------------------------------------------------------------

PLAIN = """\
name: meaning
data: digits
architecture:
  staged:
    depth: {int: [1, 9]}
    shortcut: {choices: [none, identity]}
train:
  epochs: 10
  optimizer: {sgd: {lr: {float: [0.02, 0.3], log: true}, weight_decay: 5.0e-4}}
search: {trials: 30}
measure: {factor: architecture.staged.shortcut, reference: none, replicates: 10}
constraints: [parameters <= 1M, macs <= 50M]
"""


def changed(*pairs: tuple[str, str]) -> str:
    text = PLAIN
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\n" + changed(("digits\n", "digits   # another\n\n")),
        changed(("    depth: {int: [1, 9]}\n", ""), ("identity]}\n", "identity]}\n    depth:\n      int: [1, 9]\n")),
        changed(("data: digits\n", ""), ("measure:", "data: digits\nmeasure:")),
        changed(("data: digits\n", "")),
        changed(("5.0e-4", "0.0005")),
        changed(("5.0e-4", "5e-4")),
        changed(("epochs: 10\n", "'epochs': 10\n  batch_size: 64\n")),
        changed(("choices: [none", "choices: [{none: {}}")),
        changed(("choices: [none", "choices: [{none: }")),
        changed(("int: [1, 9]", "int: [1, 9], step: 1, log: false")),
        changed(("[parameters <= 1M, macs <= 50M]", "['macs<=50_000_000', parameters <= 1000K]")),
        changed(("trials: 30", "minutes: 5, workers: 3")),
        changed(("replicates: 10", "replicates: 20, smallest_effect: 0.02")),
        changed(("name: meaning", "name: other")),
        changed(("search: {trials: 30}\n", "search: {trials: 30, maximize: val_accuracy}\n")),
        PLAIN.replace("\n", "\r\n"),
        "\ufeff" + PLAIN,
    ],
)  # fmt: skip
def test_files_that_mean_the_same_are_one_study(text: str, registry: Registry) -> None:
    assert space_of(text, registry).identity() == space_of(PLAIN, registry).identity()
    assert space_of(text, registry).key == space_of(PLAIN, registry).key


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[0.02, 0.3]", "[0.02, 0.31]"),
        ("log: true", "log: false"),
        ("[1, 9]", "[1, 8]"),
        ("[none, identity]", "[none, identity, projection]"),
        ("[none, identity]", "[none, {gated: {bias: -6}}]"),
        ("epochs: 10", "epochs: 11"),
        ("epochs: 10", "epochs: 10\n  precision: 64-true"),
        ("5.0e-4", "5.1e-4"),
        ("1M", "1.000001M"),
        ("parameters <=", "parameters <"),
        ("trials: 30", "trials: 30, minimize: val_loss"),
        ("trials: 30", "trials: 30, sampler: random"),
        ("search:", "seed: 1\nsearch:"),
        ("staged:", "staged:\n    init: fixup"),
    ],
)
def test_files_that_mean_something_else_are_two_studies(old: str, new: str, registry: Registry) -> None:
    text = changed((old, new)).replace("reference: none", "reference: none")
    assert space_of(text, registry).key != space_of(PLAIN, registry).key


def test_the_key_does_not_depend_on_where_the_file_lies(tmp_path: Path, registry: Registry) -> None:
    keys = set()
    for name in ("one/space.yaml", "two/other.yaml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(PLAIN)
        keys.add(load_space(tmp_path / name, registry).key)
    assert len(keys) == 1


def test_a_changed_plugin_source_is_another_study_of_the_spaces_that_use_it(registry: Registry) -> None:
    space = space_of(PLAIN, registry)
    edited = tuple(replace(i, sha256="0" * 64) if i.name == "identity" else i for i in registry.plugins)
    unused = tuple(replace(i, sha256="0" * 64) if i.name == "bottleneck" else i for i in registry.plugins)
    assert replace(space, registry=Registry(edited)).key != space.key
    assert replace(space, registry=Registry(unused)).key == space.key


def test_plugins_that_stand_only_in_defaults_count_in_the_identity(registry: Registry) -> None:
    plugins = space_of(PLAIN, registry).identity()["plugins"]
    assert {"norm/batch", "activation/relu", "head/linear", "initialisation/kaiming", "schedule/linear"} <= set(plugins)
    assert "block/bottleneck" not in plugins


def test_an_identity_names_places_as_paths_do(registry: Registry) -> None:
    identity = space_of(PLAIN, registry).identity()
    assert identity["train.epochs"] == 10
    assert identity["train.optimizer.sgd.momentum"] == 0.9
    assert identity["architecture.staged.widths.2"] == 64
    assert identity["architecture.staged.shortcut[identity]"] == "identity"


def test_an_identity_says_where_two_studies_differ(registry: Registry) -> None:
    one, other = (space_of(text, registry).identity() for text in (PLAIN, changed(("[0.02, 0.3]", "[0.02, 0.4]"))))
    assert {place: (one[place], other[place]) for place in one if one[place] != other[place]} == {
        "train.optimizer.sgd.lr": (
            {"float": [0.02, 0.3], "step": None, "log": True},
            {"float": [0.02, 0.4], "step": None, "log": True},
        )
    }


def test_a_shipped_space_has_one_key_in_every_copy_of_the_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = shipped("search_spaces") / "residual.yaml"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "plugins").symlink_to(shipped("plugins"))
    assert load_space(file, discover()).key == load_space(file, discover([shipped("plugins")])).key


# --- labels -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("none, identity", ("none", "identity")),
        ("none, {gated: {bias: -6}}", ("none", "gated")),
        ("{gated: {bias: 0}}, {gated: {bias: -6}}", ("gated(bias=0)", "gated(bias=-6)")),
        ("gated, {gated: {gate: shortcut_only, bias: -6}}", ("gated(gate=exclusive, bias=0)", "gated(gate=shortcut_only, bias=-6)")),
        ("{gated: {bias: 0.1234567}}, {gated: {bias: 0.1234568}}", ("gated(bias=0.1234567)", "gated(bias=0.1234568)")),
        ("{gated: {path: identity}}, {gated: {path: projection}}", ("gated(path=identity)", "gated(path=projection)")),
        (
            "{gated: {path: projection}}, {gated: {path: {projection: {where: everywhere}}}}",
            ("gated(path=projection(where=needed))", "gated(path=projection(where=everywhere))"),
        ),
        ("{gated: {bias: {float: [0, 1]}}}, {gated: {bias: {float: [1, 2]}}}", ("gated(bias=0..1)", "gated(bias=1..2)")),
        (
            "{gated: {bias: 0}}, {gated: {bias: -6, gate: {choices: [exclusive, shortcut_only]}}}",
            ("gated(bias=0)", "gated(bias=-6)"),
        ),
        (
            "{gated: {path: {choices: [identity, projection]}}}, {gated: {path: {choices: [identity, {projection: {where: everywhere}}]}}}",
            ("gated(path={identity, projection(where=needed)})", "gated(path={identity, projection(where=everywhere)})"),
        ),
    ],
)
def test_namesakes_are_labelled_by_what_they_differ_in(options: str, expected: tuple[str, ...], registry: Registry) -> None:
    assert labels(GATED % options, "shortcut", registry) == expected


def test_lists_are_labelled_by_their_items(registry: Registry) -> None:
    assert labels("widths: {choices: [[4, 8], [8, 16]]}", "widths", registry) == ("4-8", "8-16")
    assert labels("block: {choices: [[basic, bottleneck, basic], basic]}", "block", registry) == ("basic-bottleneck-basic", "basic")


def test_decisions_inside_namesakes_are_named_by_their_label(registry: Registry) -> None:
    space = staged("block: {choices: [{basic: {norm: none, layers: {int: [1, 2]}}}, {basic: {layers: {int: [2, 3]}}}]}", registry)
    assert [path.removeprefix("architecture.staged.") for path in space.decisions] == [
        "block", "block.basic(norm=none).layers", "block.basic(norm=batch).layers",
    ]  # fmt: skip


def test_decisions_inside_lists_of_a_choice_are_named_by_their_label(registry: Registry) -> None:
    space = staged("depth: {choices: [[1, 1, {int: [1, 2]}], [2, 2, {int: [3, 4]}]]}", registry)
    assert [path.removeprefix("architecture.staged.") for path in space.decisions] == [
        "depth", "depth.1-1-1..2.2", "depth.2-2-3..4.2",
    ]  # fmt: skip


@pytest.mark.parametrize(("choices", "expected"), [("[true, false]", (True, False)), ("[false]", (False,))])
def test_truth_values_are_choices_of_their_own_type(choices: str, expected: tuple[bool, ...], registry: Registry) -> None:
    space = space_of(f"train: {{deterministic: {{choices: {choices}}}}}\narchitecture: staged\n", registry)
    found = space.decisions["train.deterministic"].domain.labels  # type: ignore[union-attr]
    assert [(type(label), label) for label in found] == [(bool, label) for label in expected]


def test_whole_numbers_become_reals_where_a_real_is_declared(registry: Registry) -> None:
    space = space_of("train: {optimizer: {sgd: {lr: {choices: [1, 0.5]}, weight_decay: 0}}}\narchitecture: staged\n", registry)
    assert [type(label) for label in space.decisions["train.optimizer.sgd.lr"].domain.labels] == [float, float]  # type: ignore[union-attr]
    assert type(space.identity()["train.optimizer.sgd.weight_decay"]) is float


def test_minus_zero_is_zero(registry: Registry) -> None:
    assert staged("shortcut: {gated: {bias: -0.0}}", registry).key == staged("shortcut: {gated: {bias: 0}}", registry).key


def test_null_stands_where_a_plugin_may_be_left_out(registry: Registry) -> None:
    assert staged("transition: null", registry).key == staged("depth: 3", registry).key
    assert labels("transition: {choices: [null, norm_conv]}", "transition", registry) == (None, "norm_conv")


# --- sharing and repeating --------------------------------------------------------------------------------------------


def test_an_alias_stands_for_itself_with_decisions_of_its_own(registry: Registry) -> None:
    space = staged("stem: {conv3x3: {norm: &norm {choices: [batch, none]}}}\n    block: {basic: {norm: *norm}}", registry)
    assert list(space.decisions) == ["architecture.staged.stem.conv3x3.norm", "architecture.staged.block.basic.norm"]


def test_a_shared_entry_is_one_decision_wherever_it_is_used(registry: Registry) -> None:
    uses = "stem: {conv3x3: {norm: {shared: norm}}}, block: {basic: {norm: {shared: norm}}}"
    space = space_of(f"shared: {{norm: {{choices: [batch, none]}}}}\narchitecture: {{staged: {{{uses}}}}}", registry)
    assert list(space.decisions) == ["shared.norm"]
    assert len(space.placed) == 2


def test_a_shared_entry_may_use_another_one(registry: Registry) -> None:
    text = """\
shared:
  size: {choices: [2, 3]}
  block: {choices: [{basic: {layers: {shared: size}}}, preact_basic]}
architecture: {staged: {depth: {shared: size}, block: {shared: block}}}
"""
    assert list(space_of(text, registry).decisions) == ["shared.size", "shared.block"]


def test_a_shared_plugin_may_hold_decisions(registry: Registry) -> None:
    text = "shared: {b: {basic: {layers: {int: [1, 3]}}}}\narchitecture: {staged: {block: [{shared: b}, {shared: b}, basic]}}"
    assert list(space_of(text, registry).decisions) == ["shared.b.basic.layers"]


def test_each_stage_may_decide_for_itself(registry: Registry) -> None:
    space = staged("widths: [8, 16]\n    depth: [{int: [1, 3]}, 2]\n    block: [basic, {choices: [basic, bottleneck]}]", registry)
    assert list(space.decisions) == ["architecture.staged.depth.0", "architecture.staged.block.1"]


# --- size -------------------------------------------------------------------------------------------------------------

SHARED = """\
shared:
  norm: {choices: [batch, {group: {groups: {choices: [2, 4]}}}, none]}
  size: {int: [2, 5]}
architecture:
  staged:
    depth: {shared: size}
    stem: {choices: [{conv3x3: {norm: {shared: norm}}}, {conv3x3: {width: 8}}]}
    block:
      - {choices: [{basic: {norm: {shared: norm}, layers: {shared: size}}}, {bottleneck: {expansion: {int: [1, 3]}}}]}
      - {choices: [{basic: {norm: {shared: norm}}}, preact_basic]}
      - basic
    shortcut: {choices: [none, {gated: {bias: {choices: [0, -6]}}}]}
"""


def enumerated(space: Space) -> int:
    """Count the ways to decide a small space by making every one of them."""
    found, waiting = set(), [dict[str, object]()]
    while waiting:
        made = waiting.pop()

        class Open(Exception):
            pass

        def choose(decision: Decision, made: dict[str, object] = made) -> object:
            if decision.path not in made:
                domain = decision.domain
                values = getattr(domain, "labels", None) or range(domain.low, domain.high + 1)  # type: ignore[union-attr, arg-type]
                waiting.extend({**made, decision.path: value} for value in values)
                raise Open
            return made[decision.path]

        try:
            found.add(sample(space, choose).decisions)  # type: ignore[arg-type]
        except Open:
            continue
    return len(found)


@pytest.mark.parametrize(
    "text",
    [
        SHARED,
        SHARED.replace("{shared: norm}", "batch", 2),
        "architecture: {staged: {depth: {int: [1, 9]}, block: {choices: [basic, {bottleneck: {expansion: {int: [1, 4]}}}]}}}",
        "architecture: staged",
    ],
)
def test_the_size_is_what_counting_one_by_one_gives(text: str, registry: Registry) -> None:
    space = space_of(text, registry)
    assert size_of(*space.roots.values()) == enumerated(space)


def test_a_shared_decision_is_counted_once(registry: Registry) -> None:
    text = "shared: {w: {int: [1, 7]}}\narchitecture: {staged: {widths: [{shared: w}, {shared: w}, {shared: w}]}}"
    assert size_of(space_of(text, registry).architecture) == 7


def test_a_real_range_makes_a_space_infinite(registry: Registry) -> None:
    space = space_of("train: {optimizer: {sgd: {lr: {float: [0, 1]}}}}\narchitecture: {staged: {depth: {int: [1, 2]}}}", registry)
    assert size_of(space.architecture) == 2
    assert math.isinf(size_of(*space.roots.values()))


def test_large_spaces_are_counted_exactly_and_at_once(registry: Registry) -> None:
    stage = "{choices: [{basic: {norm: {shared: n}, layers: {int: [1, 5]}}}, {preact_basic: {norm: {shared: n}}}]}"
    text = f"shared: {{n: {{choices: [batch, none]}}}}\narchitecture: {{staged: {{block: [{', '.join([stage] * 30)}]}}}}"
    assert size_of(space_of(text, registry).architecture) == 2 * 6**30


# --- sections ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "quantity", "limit"),
    [
        ("parameters <= 1M", "parameters", 1_000_000), ("macs<50.5k", "macs", 50_500), ("macs <= 1.1G", "macs", 1_100_000_000),
        ("num_layers >= 20", "num_layers", 20), ("parameters > .5M", "parameters", 500_000), ("macs <= 1e6", "macs", 1_000_000),
        ("parameters <= 1_234_567", "parameters", 1_234_567),
    ],
)  # fmt: skip
def test_a_constraint_is_read_exactly(text: str, quantity: str, limit: float) -> None:
    constraint = Constraint.parse(text)
    assert (constraint.quantity, constraint.limit) == (quantity, limit)
    assert Constraint.parse(str(constraint).replace(",", "")) == constraint


@pytest.mark.parametrize(("relation", "holds"), [("<=", True), ("<", False), (">=", True), (">", False)])
def test_a_constraint_holds_at_its_limit_as_it_is_written(relation: str, holds: bool) -> None:
    assert Constraint.parse(f"parameters {relation} 100").holds(Cost(100, 0, 0)) is holds


def test_a_space_without_a_name_is_called_after_its_file(registry: Registry) -> None:
    assert parse_space("architecture: staged", "some dir/my space.yaml", registry).name == "my-space"


def test_a_search_ends_after_30_trials_where_nothing_is_said(registry: Registry) -> None:
    assert space_of("architecture: staged", registry).search.trials == 30
    assert space_of("architecture: staged\nsearch: {minutes: 3}", registry).search.trials is None


def test_empty_sections_have_their_defaults(registry: Registry) -> None:
    space = space_of("architecture: staged\ntrain:\nsearch:\nconstraints:\n", registry)
    assert space.key == space_of("architecture: staged", registry).key


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"name: \xe9\n"])
def test_a_file_that_is_not_text_is_told_so(content: bytes, tmp_path: Path, registry: Registry) -> None:
    (tmp_path / "space.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read the space file .*: it is not UTF-8 text"):
        load_space(tmp_path / "space.yaml", registry)


@pytest.mark.parametrize(("name", "reason"), [("gone.yaml", "No such file or directory"), (".", "Is a directory")])
def test_a_file_that_cannot_be_read_is_told_why(name: str, reason: str, tmp_path: Path, registry: Registry) -> None:
    with pytest.raises(UserError, match=f"cannot read the space file .*: {reason}"):
        load_space(tmp_path / name, registry)


@pytest.mark.parametrize(
    "file", sorted(f for f in shipped("search_spaces").rglob("*.yaml") if f.parent.name != "claims"), ids=lambda file: file.stem
)
def test_every_shipped_space_is_a_space(file: Path, registry: Registry) -> None:
    assert load_space(file, registry).architecture


# --- the schema for editors -------------------------------------------------------------------------------------------


def test_the_schema_knows_every_plugin_and_parameter(registry: Registry) -> None:
    kinds = schema_of(registry)["definitions"]
    for info in registry.plugins:
        nodes = [form["properties"][info.name] for form in kinds[info.kind]["anyOf"] if info.name in form.get("properties", {})]
        assert [set(node["properties"]) for node in nodes] == [{p.name for p in info.parameters}]


def test_the_schema_carries_types_and_bounds(registry: Registry) -> None:
    staged_forms = schema_of(registry)["definitions"]["network"]["anyOf"]
    depth = next(f for f in staged_forms if "staged" in f.get("properties", {}))["properties"]["staged"]["properties"]["depth"]
    assert {"type": "integer", "minimum": 1} in depth["anyOf"]
    assert "staged" in [f.get("const") for f in staged_forms]


def test_the_schema_has_no_reference_that_leads_nowhere(registry: Registry) -> None:
    schema = schema_of(registry)

    def references(part: object) -> itertools.chain[str]:
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        own = [part["$ref"]] if isinstance(part, dict) and "$ref" in part else []
        return itertools.chain(own, *map(references, inner))

    assert {r.removeprefix("#/definitions/") for r in references(schema)} <= set(schema["definitions"])
