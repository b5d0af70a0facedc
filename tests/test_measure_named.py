"""A measurement that is asked for beside the space file: its factor, its cells, and the architecture it is held at."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from in_process import nas_here

from nas.errors import SpaceError, UserError
from nas.measuring.design import Twins, options_from, plan_replicate
from nas.registry import Registry
from nas.sampling import first_choice, fixing, keyed_draw, recognise, sample
from nas.space import Asked, MeasureOptions, Space, asked_measure, parse_space
from nas.study.aiming import base_from_file, options_in_space

STAGED, LR = "architecture.staged", "train.optimizer.sgd.lr"
DEPTH, SHORTCUT, WIDTHS, BLOCK = f"{STAGED}.depth", f"{STAGED}.shortcut", f"{STAGED}.widths", f"{STAGED}.block"
BIAS, LAYERS = f"{SHORTCUT}.gated.bias", f"{BLOCK}.basic.layers"
TEXT = """\
name: tiny
architecture:
  staged:
    widths: {choices: [[4, 8], [8, 16]]}
    depth: {int: [1, 5]}
    block: {choices: [{basic: {layers: {choices: [1, 2]}}}, bottleneck]}
    shortcut: {choices: [none, identity, projection, {gated: {bias: {choices: [-1, -3]}}}]}
train:
  epochs: 2
  batch_size: 32
  optimizer: {sgd: {lr: {float: [0.05, 0.2], log: true}}}
search: {trials: 2, workers: 2}
measure:
  factor: architecture.staged.shortcut
  reference: none
  levels: [identity]
  by: {architecture.staged.depth: [1, 3]}
  hold: {architecture.staged.block: basic}
  replicates: 2
"""
BASE: dict[str, Any] = {WIDTHS: "8-16", DEPTH: 2, BLOCK: "basic", LAYERS: 2, SHORTCUT: "gated", BIAS: -3.0, LR: 0.1}


@pytest.fixture
def tiny(registry: Registry) -> Space:
    return parse_space(TEXT, "tiny.yaml", registry)


def held(options: MeasureOptions) -> dict[str, Any]:
    return dict(options.hold)


@pytest.mark.parametrize("draw", range(12))
def test_the_decisions_of_an_architecture_are_found_again(draw: int, tiny: Space) -> None:
    found = sample(tiny, keyed_draw("again", draw))
    made = {path: value for path, value in found.decisions if path.startswith("architecture")}
    assert recognise(tiny.architecture, found.configuration.architecture.network, "architecture") == made
    assert recognise(tiny.train, found.configuration.train, "train") == {LR: dict(found.decisions)[LR]}


@pytest.mark.parametrize(
    ("other", "place"),
    [
        (TEXT.replace("[[4, 8], [8, 16]]", "[[4, 9], [8, 16]]"), "is none of the space's choices"),
        (TEXT.replace("[-1, -3]", "[-2, -3]"), f"{BIAS}: is none of the space's choices, {{-1, -3}}: -2"),
        (TEXT.replace("int: [1, 5]", "int: [7, 9]").replace("[1, 3]}", "[7, 9]}"), f"{DEPTH}: is 1..5 in the space, and 7 here"),
        (TEXT.replace("staged:\n", "staged:\n    stem: {conv3x3: {width: 12}}\n"), "stem.conv3x3.width: is null in the space, and 12 here"),
    ],
)
def test_an_architecture_that_is_not_in_the_space_is_refused_with_the_place(
    other: str, place: str, tiny: Space, registry: Registry
) -> None:
    space = parse_space(other, "other.yaml", registry)
    strange = sample(space, fixing({SHORTCUT: "gated"}, first_choice)).configuration.architecture.network
    with pytest.raises(SpaceError) as caught:
        recognise(tiny.architecture, strange, "architecture")
    assert place in str(caught.value)


def test_another_factor_takes_neither_reference_nor_levels_from_the_file(tiny: Space) -> None:
    with pytest.raises(SpaceError, match="reference: must be given"):
        asked_measure(tiny, Asked(factor=LR), {})
    with pytest.raises(SpaceError, match=r"levels: must be given, since train\.optimizer\.sgd\.lr is a range"):
        asked_measure(tiny, Asked(factor=LR, reference="0.1"), {})
    found = asked_measure(tiny, Asked(factor=LR, reference="0.1", levels=("0.05, 0.2",)), {})
    assert (found.factor, found.reference, found.levels) == (LR, 0.1, (0.05, 0.2))
    assert found.by == ((DEPTH, (1, 3)),)


def test_a_factor_that_the_file_measures_by_leaves_by(tiny: Space) -> None:
    found = asked_measure(tiny, Asked(factor=DEPTH, reference="1", levels=("3", "5")), {})
    assert (found.levels, found.by) == ((3, 5), ())


def test_several_by_decisions_replace_the_files(tiny: Space) -> None:
    found = asked_measure(tiny, Asked(by={DEPTH: "1,2", WIDTHS: "4-8,8-16"}), {})
    assert found.by == ((DEPTH, (1, 2)), (WIDTHS, ("4-8", "8-16")))
    cells = {planned.cell.by for planned in plan_replicate(tiny, found, 0, lambda _: True)}
    assert len(cells) == 4


def test_what_is_set_is_held_in_place_of_the_files_hold(tiny: Space) -> None:
    found = asked_measure(tiny, Asked(hold={BLOCK: "bottleneck", DEPTH: "4"}), {})
    assert (held(found), found.by) == ({BLOCK: "bottleneck", DEPTH: 4}, ())


def test_a_named_architecture_holds_all_but_the_roles_and_what_exists_in_no_arm(tiny: Space) -> None:
    found = asked_measure(tiny, Asked(), BASE)
    assert held(found) == {WIDTHS: "8-16", BLOCK: "basic", LAYERS: 2, LR: 0.1}
    gated = asked_measure(tiny, Asked(levels=("gated",)), BASE)
    assert held(gated)[BIAS] == -3
    planned = {p.cell.level: dict(p.sample.decisions) for p in plan_replicate(tiny, gated, 0, lambda _: True)}
    assert planned["gated"] == {**planned["none"], SHORTCUT: "gated", BIAS: -3}


def test_a_factor_may_exist_by_what_the_architecture_holds_alone(tiny: Space) -> None:
    asked = Asked(factor=BIAS, reference="-1", levels=("-3",))
    with pytest.raises(SpaceError, match="does not exist in every arm"):
        asked_measure(tiny, asked, {})
    assert held(asked_measure(tiny, asked, BASE))[SHORTCUT] == "gated"


def test_holding_what_exists_in_no_arm_is_refused_where_it_was_set(tiny: Space) -> None:
    with pytest.raises(SpaceError, match="holds what exists in no arm"):
        asked_measure(tiny, Asked(hold={BIAS: "-1"}), {})


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Asked(factor="architecture.staged.dept"), "did you mean 'architecture.staged.depth'"),
        (Asked(levels=("identiti",)), "did you mean 'identity'"),
        (Asked(by={DEPTH: "1,9"}), "must be in 1..5, got '9'"),
        (Asked(by={DEPTH: "1,2"}, hold={DEPTH: "1"}), "a decision has one role"),
        (Asked(smallest_effect=2.0), "must be a fraction below 1"),
    ],
)
def test_what_is_asked_for_is_checked_like_a_section(asked: Asked, message: str, tiny: Space) -> None:
    with pytest.raises(UserError) as caught:
        asked_measure(tiny, asked, {})
    assert message in str(caught.value)


def test_the_order_of_what_is_held_makes_no_other_design(tiny: Space) -> None:
    turned = dict(reversed(BASE.items()))
    assert Twins(asked_measure(tiny, Asked(), BASE)).name == Twins(asked_measure(tiny, Asked(), turned)).name


def test_nothing_asked_for_leaves_the_section_as_it_stands(tiny: Space) -> None:
    assert options_in_space(tiny, Asked(), None) == tiny.measure
    assert tiny.measure is not None
    assert Twins(options_in_space(tiny, Asked(replicates=7), None)).name == Twins(tiny.measure).name


def test_a_design_comes_back_from_what_the_ledger_keeps(tiny: Space) -> None:
    options = asked_measure(tiny, Asked(by={DEPTH: "1,2", WIDTHS: "4-8"}), BASE)
    assert options_from(json.loads(json.dumps(Twins(options).to_dict()))) == options


def test_a_space_without_a_section_says_what_to_give(registry: Registry) -> None:
    space = parse_space(TEXT[: TEXT.index("measure:")], "tiny.yaml", registry)
    with pytest.raises(UserError, match="give --factor and --reference"):
        options_in_space(space, Asked(), None)
    assert options_in_space(space, Asked(factor=SHORTCUT, reference="none"), None).levels == ("identity", "projection", "gated")


def test_a_file_that_holds_no_architecture_is_named(tiny: Space, tmp_path: Path) -> None:
    file = tmp_path / "net.json"
    for text, message in (("{", "is not JSON"), ("[]", "must hold an architecture"), ('{"architecture": 3}', "must be one plugin")):
        file.write_text(text)
        with pytest.raises(UserError, match=message):
            base_from_file(tiny, file)
    with pytest.raises(UserError, match="cannot read"):
        base_from_file(tiny, tmp_path / "none.json")


def measured(folder: Path, *arguments: str) -> dict[str, Any]:
    done = nas_here(folder, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_a_study_is_measured_at_its_best_architecture_and_the_same_from_its_space(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TEXT[: TEXT.index("measure:")].replace("int: [1, 5]", "int: [1, 2]"))
    searched = measured(tmp_path, "search", "tiny.yaml")
    best = searched["best"][0]["decisions"]
    asked = ("--factor", LR, "--reference", "0.05", "--levels", "0.1,0.2", "--replicates", "1")
    found = measured(tmp_path, "measure", searched["study"], *asked)
    assert found["study"].startswith(f"{searched['study']}/measure-")
    assert found["measured_trainings"] == 3
    assert {row["level"] for row in found["replicates"]} == {0.05, 0.1, 0.2}
    note = next(line for line in found["effects"]["notes"] if line.startswith("Every replicate has"))
    assert f"depth {best[DEPTH]}" in note
    assert "drawn anew" not in note
    assert "with one configuration" in found["verdict"]
    page = Path(found["report"]).read_text()
    assert f"--factor {LR} --reference 0.05 --levels 0.1 --levels 0.2" in page
    rows = list(csv.DictReader((Path(found["report"]).parent / "replicates.csv").open()))
    assert len(rows) == 3

    again = measured(tmp_path, "measure", "tiny.yaml", "--of", searched["study"], *asked)
    assert (again["study"], again["replicates"]) == (found["study"], found["replicates"])
    on = measured(tmp_path, "measure", found["study"])
    assert on["replicates"] == found["replicates"]
    first = measured(tmp_path, "report", searched["study"])
    assert (first["told_trials"], first["measured_trainings"]) == (2, 0)
    refused = nas_here(tmp_path, "measure", found["study"], "--factor", DEPTH)
    assert (refused.returncode, "is decided already" in refused.stderr) == (2, True)


def test_an_architecture_file_holds_the_architecture_and_leaves_the_recipe_to_be_drawn(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TEXT)
    shown = nas_here(tmp_path, "show", "tiny.yaml", "--set", f"{DEPTH}=2", "--set", f"{WIDTHS}=8-16", "--json")
    (tmp_path / "net.json").write_text(shown.stdout)
    asked = ("--architecture", "net.json", "--set", f"{DEPTH}=1", "--replicates", "1")
    found = measured(tmp_path, "measure", "tiny.yaml", *asked)
    note = next(line for line in found["effects"]["notes"] if line.startswith("Every replicate has"))
    assert note == "Every replicate has widths 8-16, depth 1, block basic and layers 1; lr is drawn anew for each."
    assert found["measured_trainings"] == 2
