"""`nas check` and `nas show`: what a person reads, what a script reads, and what a mistake is answered with."""

import json
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nas.cli.main import main
from nas.paths import shipped
from nas.registry import Registry
from nas.space import parse_space
from nas.study.preview import _Look, preview

SPACE = """\
name: small
architecture:
  staged:
    widths: [4, 8]
    depth: {int: [1, 3]}
    block: {choices: [basic, {bottleneck: {expansion: {choices: [2, 4]}}}]}
    shortcut: {choices: [none, {gated: {bias: -6}}, {gated: {bias: 0}}]}
train: {epochs: 2, optimizer: {sgd: {lr: {float: [0.05, 0.2], log: true}}}}
search: {trials: 6, workers: 2}
"""
MEASURE = """\
measure:
  factor: architecture.staged.shortcut
  reference: none
  levels: [gated(bias=-6)]
  by: {architecture.staged.depth: [1, 3]}
  hold: {architecture.staged.block: basic}
  replicates: 3
"""
BROKEN = """\
from nas.plugin import Activation, plugin


@plugin("broken")
class Broken(Activation):
    \"\"\"Cannot be built.\"\"\"

    def __init__(self, *, size: int = 3) -> None:
        raise KeyError("no such thing")
"""


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> object:
        return json.loads(self.out)


Nas = Callable[..., Answer]


@pytest.fixture
def nas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nas:
    """Run the command in this process, in an empty directory with `space.yaml`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "space.yaml").write_text(SPACE)

    def run(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["nas", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Answer(code, *capsys.readouterr())

    return run


def write(tmp_path: Path, text: str) -> None:
    (tmp_path / "space.yaml").write_text(text)


# --- through the installed command ------------------------------------------------------------------------------------


def test_help_answers_within_half_a_second(nas_command) -> None:
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        told = nas_command("--help")
        seconds.append(time.perf_counter() - started)
    assert told.returncode == 0
    assert min(seconds) < 0.5


def test_a_wrong_file_is_answered_with_exit_code_2_and_no_traceback(nas_command, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("name: x\n\n\n\narchitecture:\n  staged:\n    dept: 3\n")
    told = nas_command("check", "space.yaml")
    assert told.returncode == 2
    assert told.stdout == ""
    assert told.stderr.strip().removeprefix("Error: ") == (
        "space.yaml:7: architecture.staged.dept: unknown parameter of network 'staged'; did you mean 'depth'?"
    )


def test_debug_shows_the_traceback_of_a_mistake(nas_command, tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("architecture: stagd\n")
    told = nas_command("--debug", "check", "space.yaml")
    assert told.returncode == 2
    assert "Traceback (most recent call last)" in told.stderr


def test_a_file_that_is_not_there_is_answered_with_exit_code_2(nas_command) -> None:
    told = nas_command("show", "gone.yaml")
    assert (told.returncode, told.stdout) == (2, "")
    assert "cannot read the space file gone.yaml: No such file or directory" in told.stderr


# --- check ------------------------------------------------------------------------------------------------------------


def test_check_draws_the_decisions_as_a_tree(nas: Nas) -> None:
    lines = nas("check", "space.yaml", "--samples", "2").out.splitlines()
    assert lines[1:8] == [
        "├── architecture: staged",
        "│   ├── depth: 1..3",
        "│   ├── block: {basic, bottleneck}",
        "│   │   └── bottleneck.expansion: {2, 4}",
        "│   └── shortcut: {none, gated(bias=-6), gated(bias=0)}",
        "└── train.optimizer.sgd.lr: 0.05..0.2 (log)",
        "",
    ]
    assert lines[8].startswith("- The data, digits: 1,797 examples of 1×8×8 in 10 classes;")
    assert "- The space holds 27 architectures and infinitely many configurations." in lines


def test_check_marks_what_is_measured_held_and_compared(nas: Nas, tmp_path: Path) -> None:
    write(tmp_path, SPACE + MEASURE)
    out = nas("check", "space.yaml", "--samples", "2").out
    assert "depth: 1..3  ← at each of 1, 3\n" in out
    assert "block: {basic, bottleneck}  ← held at basic\n" in out
    assert "measured: gated(bias=-6) against none" in " ".join(out.split()).replace("│ ", "")
    assert "The measurement trains 12: 3 replicates × 2 arms × 2 cells of `by`.\n" in out
    assert "With fewer than 6 replicates there is no verdict.\n" in out


def test_check_fits_eighty_columns(nas: Nas, tmp_path: Path) -> None:
    write(tmp_path, SPACE + MEASURE + "constraints: [parameters <= 4K, macs <= 100M, num_layers <= 100]\n")
    assert max(map(len, nas("check", "space.yaml", "--samples", "4").out.splitlines())) <= 80


def test_check_json_is_one_document_with_all_that_the_text_says(nas: Nas, tmp_path: Path) -> None:
    write(tmp_path, SPACE + MEASURE)
    document = nas("check", "space.yaml", "--samples", "4", "--json").document
    assert isinstance(document, dict)
    assert document["decisions"][2] == {
        "path": "architecture.staged.block.bottleneck.expansion",
        "choices": [2, 4],
        "under": [{"architecture.staged.block": "bottleneck"}],
    }
    assert (document["architectures"], document["size"]) == (27, None)
    assert (document["planned_search"], document["planned_measure"], document["replicates"]) == (6, 12, 3)
    assert document["num_layers"][0] >= 6
    assert 0 < document["minutes"] < 60


def test_every_choice_is_built_however_few_samples_are_drawn(nas: Nas, tmp_path: Path, registry: Registry) -> None:
    space = parse_space(SPACE, "space.yaml", registry)
    seen = preview(space, samples=1)
    assert seen.samples > 1
    built = {decision for decided in _Look(space, 1).drawn for decision in decided.decisions}
    for decision in space.decisions.values():
        assert {(decision.path, label) for label in getattr(decision.domain, "labels", ())} <= built


def test_check_says_the_share_that_breaks_the_constraints(nas: Nas, tmp_path: Path) -> None:
    write(tmp_path, SPACE + "constraints: [num_layers <= 6]\n")
    document = nas("check", "space.yaml", "--samples", "60", "--json").document
    assert isinstance(document, dict)
    # One unit a stage of the two-layer block keeps it: a third of the depths, half of the blocks.
    assert 0.7 < document["violating"] < 0.95


def test_check_says_where_nothing_keeps_the_constraints(nas: Nas, tmp_path: Path) -> None:
    write(tmp_path, SPACE + "constraints: [parameters <= 1]\n")
    told = nas("check", "space.yaml", "--samples", "3")
    assert "Every random sample breaks the constraints: parameters <= 1." in told.out
    assert told.code == 0


def test_check_refuses_a_measurement_that_the_constraints_leave_nothing_of(nas: Nas, tmp_path: Path) -> None:
    write(tmp_path, SPACE + MEASURE + "constraints: [parameters <= 1]\n")
    told = nas("check", "space.yaml", "--samples", "3")
    assert told.code == 2
    assert "loosen `constraints:`" in told.err


def test_check_times_nothing_where_input_stands_in_for_data(nas: Nas, tmp_path: Path) -> None:
    write(tmp_path, SPACE + "input: {shape: [3, 16, 16], classes: 7}\n")
    told = nas("check", "space.yaml", "--samples", "2")
    assert "Nothing can be trained: `input:` stands in for the data." in told.out
    assert "minute" not in told.out
    document = nas("check", "space.yaml", "--samples", "2", "--json").document
    assert isinstance(document, dict)
    assert (document["minutes"], document["planned_search"]) == (None, None)


def test_check_of_a_space_without_decisions_builds_it_once(nas: Nas, tmp_path: Path) -> None:
    write(tmp_path, "name: one\narchitecture: {staged: {widths: [4], depth: 1}}\n")
    out = nas("check", "space.yaml").out
    assert "nothing varies: one configuration" in out
    assert "The space holds 1 architecture and 1 configuration.\n- 1 sample built: " in out


def test_an_architecture_that_cannot_be_built_is_told_with_its_decisions(nas: Nas, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "a.py").write_text(BROKEN)
    block = "block: {basic: {activation: {choices: [relu, broken]}}}"
    write(tmp_path, f"architecture: {{staged: {{widths: [4], depth: 1, {block}}}}}\n")
    told = nas("check", "space.yaml", "--samples", "1")
    assert told.code == 2
    assert told.err.startswith("Error: space.yaml: an architecture of it cannot be built; leave out one of its choices: ")
    assert "architecture.staged.block.basic.activation=broken\n" in told.err
    assert f"activation 'broken' ({tmp_path / 'plugins' / 'a.py'}) cannot be built as broken(size=3): KeyError" in told.err


@pytest.mark.parametrize("command", ["check", "show"])
def test_a_space_whose_parts_do_not_fit_is_named(command: str, nas: Nas, tmp_path: Path) -> None:
    write(tmp_path, "architecture: {staged: {widths: [4, 8, 8], depth: [1, 2]}}\n")
    told = nas(command, "space.yaml")
    assert told.code == 2
    assert told.err.startswith("Error: space.yaml: its architecture cannot be built\nnetwork 'staged' (")
    assert "ValueError: depth lists 2 values for 3 stages" in told.err


def test_the_estimated_time_grows_with_epochs_trials_and_replicates(small_text: str, registry: Registry) -> None:
    space = parse_space(small_text, "space.yaml", registry)
    look = _Look(space, 4)
    longer = _Look(parse_space(small_text.replace("epochs: 2", "epochs: 4"), "space.yaml", registry), 4)
    longer.pace.seconds_per_layer = look.pace.seconds_per_layer
    assert longer.minutes((), 0) == pytest.approx(2 * look.minutes((), 0))


# --- show -------------------------------------------------------------------------------------------------------------


def test_show_json_has_the_exact_counts_of_a_published_network(nas: Nas) -> None:
    document = nas("show", str(shipped("search_spaces") / "reference" / "resnet20.yaml"), "--json").document
    assert isinstance(document, dict)
    assert (document["parameters"], document["macs"], document["num_layers"]) == (269_722, 40_551_040, 20)
    assert list(document["architecture"]) == ["staged"]
    assert len(document["key"]) == 12


def test_show_draws_branch_and_shortcut_side_by_side(nas: Nas) -> None:
    lines = nas(
        "show", "space.yaml", "--set", "architecture.staged.shortcut=gated(bias=-6)", "--set", "architecture.staged.depth=2"
    ).out.splitlines()
    at = next(i for i, line in enumerate(lines) if "stage 2 · unit 2" in line)
    assert lines[at] == "   ├───────╮     stage 2 · unit 2"
    assert lines[at + 1].split() == ["basic", "gated", "8×4×4", "1,256", "19,456"]
    assert lines[at + 2] == "   ⊕───────╯"


def test_show_draws_a_plain_network_without_a_second_path(nas: Nas) -> None:
    out = nas("show", "space.yaml").out
    assert "╮" not in out
    assert "y = relu(F(x)),  F(x) = BN conv3×3 relu BN conv3×3 (x)" in out


def test_show_draws_equal_units_once_with_their_sums(nas: Nas) -> None:
    document = nas("show", "space.yaml", "--set", "architecture.staged.depth=3", "--json").document
    lines = nas("show", "space.yaml", "--set", "architecture.staged.depth=3").out.splitlines()
    assert any("stage 1 · units 1–3" in line for line in lines)
    assert isinstance(document, dict)
    ends = [re.search(r" ([\d,]+) +[\d,]+$", line) for line in lines if line[:1].isalpha()]
    assert sum(int(end[1].replace(",", "")) for end in ends if end) == document["parameters"]


@pytest.mark.parametrize("name", ["resnet110_b", "preact_resnet164", "mobilenet_v2", "resnet50d", "densenet_bc_100_12", "convnext_tiny"])
def test_show_fits_eighty_columns(name: str, nas: Nas) -> None:
    out = nas("show", str(shipped("search_spaces") / "reference" / f"{name}.yaml")).out
    assert max(map(len, out.splitlines())) <= 80


def test_show_lists_what_was_decided(nas: Nas) -> None:
    out = nas("show", "space.yaml", "--set", "architecture.staged.block=bottleneck").out
    assert "  architecture.staged.block = bottleneck\n  architecture.staged.block.bottleneck.expansion = 2\n" in out


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("depth=3", "depth: is no decision of this space; did you mean 'architecture.staged.depth'?"),
        ("architecture.staged.depth=10", "architecture.staged.depth: must be in 1..3, got '10'"),
        (
            "architecture.staged.widths=8",
            "architecture.staged.widths: is no decision: the space fixes it; give it `{choices: [...]}` or a range there",
        ),
        (
            "architecture.staged.block.bottleneck.expansion=2",
            "architecture.staged.block.bottleneck.expansion: does not exist under the choices made; "
            "it needs architecture.staged.block=bottleneck",
        ),
    ],
)
def test_a_wrong_setting_is_answered_with_exit_code_2(setting: str, message: str, nas: Nas) -> None:
    told = nas("show", "space.yaml", "--set", setting)
    assert (told.code, told.out, told.err) == (2, "", f"Error: {message}\n")


def test_a_setting_without_an_equals_sign_is_a_mistake(nas: Nas) -> None:
    told = nas("show", "space.yaml", "--set", "architecture.staged.depth")
    assert told.code == 2
    assert "'architecture.staged.depth' is not PATH=VALUE" in told.err


@pytest.mark.parametrize("command", ["check", "show"])
def test_every_command_has_help_with_an_example(command: str, nas: Nas) -> None:
    told = nas(command, "--help")
    assert told.code == 0
    assert "Example:" in told.out
    assert "--json" in told.out
