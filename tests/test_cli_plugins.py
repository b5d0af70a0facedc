"""`nas plugins`: what is listed, what a plugin's page says, and what a mistake is answered with."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import pytest

from nas.authoring.drawing import drawing
from nas.authoring.example import example_space
from nas.authoring.facts import of_kind, sources_of
from nas.cli.main import main
from nas.paths import shipped
from nas.plugin import Bounds
from nas.registry import PluginInfo, Registry
from nas.space import Space, parse_space

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


Nas = Callable[..., Answer]


@pytest.fixture
def nas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Nas:
    """Run `nas plugins` in this process, in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["nas", "plugins", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return Answer(code, *capsys.readouterr())

    return run


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A plugin in `./plugins` that cannot be built."""
    (tmp_path / "plugins").mkdir()
    file = tmp_path / "plugins" / "a.py"
    file.write_text(BROKEN)
    return file


# --- list -------------------------------------------------------------------------------------------------------------


def test_plugins_are_listed_by_kind_in_eighty_columns(nas: Nas) -> None:
    lines = nas("list").out.splitlines()
    kinds = [line.split()[0] for line in lines if line and not line.startswith(" ")]
    assert {"block", "shortcut", "network", "optimizer"} <= set(kinds)
    assert kinds == sorted(kinds)
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("  gated ") for line in lines)


def test_without_a_command_plugins_are_listed(nas: Nas) -> None:
    assert nas().out == nas("list").out
    assert nas("--kind", "norm").out == nas("list", "--kind", "norm").out


def test_one_kind_is_listed_alone(nas: Nas) -> None:
    lines = nas("list", "--kind", "norm").out.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == ["norm (4 shipped)"]


def test_a_users_plugin_is_listed_with_its_file(nas: Nas, broken: Path) -> None:
    out = nas("list", "--kind", "activation").out
    assert out.splitlines()[0].endswith(" shipped, 1 not)")
    assert "  broken            Cannot be built.\n                    · size\n                    · from plugins/a.py\n" in out


def test_the_list_as_json_has_kind_name_and_origin_of_each(nas: Nas, broken: Path) -> None:
    document = json.loads(nas("list", "--kind", "activation", "--json").out)
    assert {(p["name"], p["origin"]) for p in document} >= {("relu", "shipped"), ("broken", "plugins/a.py")}
    assert {p["kind"] for p in document} == {"activation"}


# --- show -------------------------------------------------------------------------------------------------------------


def test_a_page_has_formula_drawing_parameters_example_source_and_origin(nas: Nas) -> None:
    lines = nas("show", "gated").out.splitlines()
    assert lines[0] == "gated, a shortcut"
    assert "  (1 − g) x + g F(x),  g = σ(W x + b)" in lines
    assert "    ⊕─────────────╯  (1 − g) x + g F(x),  g = σ(W x + b)" in lines
    assert "  gate       exclusive  exclusive | shortcut_only" in lines
    assert "  bias       0          float" in lines
    assert "  path       identity   a shortcut" in lines
    assert "            gate: exclusive" in lines
    assert lines[-2] == "  Source:  Srivastava et al. 2015, 1505.00387"
    assert lines[-1] == f"  From:    {shipped('plugins').resolve() / 'shortcuts' / 'gated.py'} (shipped)"


def test_a_range_is_shown_beside_its_parameter(nas: Nas) -> None:
    lines = nas("show", "linear").out.splitlines()
    assert "  dropout    0        float in 0..1" in lines


def test_a_block_is_drawn_layer_by_layer_beside_its_shortcut(nas: Nas) -> None:
    lines = [line.strip() for line in nas("show", "block/preact_basic").out.splitlines()]
    assert lines[lines.index("x") : lines.index("y") + 1] == [
        "x",
        "├────────────────────╮",
        "batch norm           │",
        "relu                 │",
        "conv 3×3 16→16   identity",
        "batch norm           │",
        "relu                 │",
        "conv 3×3 16→16       │",
        "⊕────────────────────╯  x + F(x)",
        "y",
    ]


def test_the_plain_units_drawing_has_one_path(nas: Nas) -> None:
    lines = [line.strip() for line in nas("show", "shortcut/none").out.splitlines()]
    assert lines[lines.index("x") : lines.index("y") + 1] == ["x", "F(x)", "relu", "y"]


def test_a_network_is_drawn_from_its_input_down(nas: Nas) -> None:
    assert "stage 1 · units 1–3" in nas("show", "staged").out


def test_a_block_that_cannot_be_built_is_shown_with_the_reason_in_place_of_its_drawing(nas: Nas, broken: Path) -> None:
    broken.write_text(BROKEN.replace("Activation", "Block").replace("self, *", "self, context, *"))
    told = nas("show", "broken")
    reason = f"No drawing: block 'broken' ({broken}) cannot be built as broken(size=3): KeyError: 'no such thing'"
    assert told.code == 0
    assert reason in " ".join(told.out.split())


def test_a_name_of_several_kinds_shows_each(nas: Nas) -> None:
    out = nas("show", "none").out
    assert {"none, a norm", "none, a shortcut", "none, an activation"} <= set(out.splitlines())


def test_kind_and_name_show_one_of_several(nas: Nas) -> None:
    lines = nas("show", "norm/none").out.splitlines()
    assert lines[0] == "none, a norm"
    assert "none, a shortcut" not in lines


def test_a_page_as_json_has_the_example_and_the_sources(nas: Nas) -> None:
    (document,) = json.loads(nas("show", "gated", "--json").out)
    assert (document["kind"], document["name"], document["origin"]) == ("shortcut", "gated", "shipped")
    assert document["parameters"][1] == {"name": "bias", "type": "float", "required": False, "default": "0"}
    assert document["sources"] == ["Srivastava et al. 2015, 1505.00387"]
    assert "shortcut:" in document["example"]
    assert len(document["sha256"]) == 64


# --- examples ---------------------------------------------------------------------------------------------------------


def uses(space: Space, name: str) -> bool:
    """Whether the parsed space, its text left out, holds a plugin of a name."""
    return f"name='{name}'" in repr(replace(space, name="", file="", text="", registry=Registry()))


def test_the_example_of_each_shipped_plugin_is_a_space_that_uses_it(registry: Registry) -> None:
    for info in registry.plugins:
        space = parse_space(example_space(info, registry), f"{info.kind}/{info.name}", registry)
        assert uses(space, info.name), info


def test_the_example_of_each_shipped_block_and_shortcut_is_built_and_drawn(registry: Registry) -> None:
    for info in (info for info in registry.plugins if info.kind in ("block", "shortcut", "stem", "head", "long_skip")):
        # token_mixing has to be told how many tokens there are; the blocks of other packages need those
        if info.name not in ("token_mixing", "timm", "timm_preact", "torchvision"):
            assert max(map(len, drawing(info, registry))) <= 76, info.name


def test_an_example_gives_what_has_no_default_a_value_in_its_range(registry: Registry, tmp_path: Path) -> None:
    cls = type("Needy", (registry.find("norm", "group").cls,), {"plugin_name": "needy", "__init__": _needy})
    further = Registry((*registry.plugins, PluginInfo("norm", "needy", cls, __file__, "0")))
    text = example_space(PluginInfo("norm", "needy", cls, __file__, "0"), further)
    assert "size: 4" in text
    assert uses(parse_space(text, "x", further), "needy")


def _needy(self: object, num_channels: int, *, size: Annotated[int, Bounds(4, 8)], way: Literal["up", "down"], name: str) -> None: ...


def test_every_kind_of_plugin_has_a_place_in_a_space_file(registry: Registry) -> None:
    for kind in registry.kinds():
        assert example_space(of_kind(registry, kind)[0], registry)


def test_sources_are_the_papers_a_docstring_names(registry: Registry) -> None:
    assert sources_of(registry.find("shortcut", "projection")) == ("He et al. 2015, §3.3", "He et al. 2016, §4.1")
    assert sources_of(registry.find("schedule", "constant")) == ()


# --- test, schema, mistakes -------------------------------------------------------------------------------------------


def test_a_plugin_that_keeps_the_contract_passes_its_tests(nas: Nas) -> None:
    told = nas("test", "activation/relu6")
    assert told.code == 0
    assert told.out.splitlines()[-1].startswith("All ")


def test_a_plugin_that_breaks_the_contract_fails_its_tests(nas: Nas, broken: Path) -> None:
    told = nas("test", "broken")
    assert told.code == 1
    assert "FAILED  activation broken: " in told.out
    results = json.loads(nas("test", "broken", "--json").out)
    assert not all(result["passed"] for result in results)


def test_a_plugin_is_tested_with_the_parameters_that_are_set(nas: Nas) -> None:
    assert nas("test", "leaky_relu", "--set", "slope=0.3").code == 0
    told = nas("test", "stem/conv3x3", "--set", "stride=2", "--set", "width=5")
    assert told.code == 0, told.out


def test_the_schema_is_printed_for_editors(nas: Nas) -> None:
    document = json.loads(nas("schema").out)
    assert document["properties"]["architecture"] == {"$ref": "#/definitions/network"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "gatd"), "there is no plugin 'gatd'; did you mean 'gated'?"),
        (("show", "shortcut/gatd"), "unknown shortcut 'gatd'; did you mean 'gated'?"),
        (("show", "shortcat/gated"), "there is no kind 'shortcat'; did you mean 'shortcut'?"),
        (("test", "gatd"), "there is no plugin 'gatd'; did you mean 'gated'?"),
        (("test", "leaky_relu", "--set", "slop=1"), "--set slop: unknown parameter of activation 'leaky_relu'; did you mean 'slope'?"),
        (("test", "leaky_relu", "--set", "slope=x"), "--set:1: slope: must be float >= 0, got 'x'"),
        (("list", "--kind", "blok"), "--kind blok: there is no such kind; did you mean 'block'?"),
        (("shwo", "gated"), "'shwo' is no command of nas plugins; did you mean 'show'?"),
        (("gated",), "'gated' is no command of nas plugins; to see a plugin: nas plugins show gated"),
        (("--plugins", "nowhere"), "--plugins nowhere: there is no such folder; give one that holds Python files with plugins"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(arguments: tuple[str, ...], message: str, nas: Nas) -> None:
    told = nas(*arguments)
    assert (told.code, told.out, told.err) == (2, "", f"Error: {message}\n")


@pytest.mark.parametrize("command", ["list", "show", "test", "schema"])
def test_every_command_has_help_with_an_example(command: str, nas: Nas) -> None:
    assert "Example:" in nas(command, "--help").out
