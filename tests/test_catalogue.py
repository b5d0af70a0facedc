"""docs/catalogue.md is what the plugins say of themselves."""

from pathlib import Path

from nas.authoring.catalogue import COMMAND, catalogue
from nas.plugin import BASES
from nas.registry import Registry

FILE = Path(__file__).resolve().parents[1] / "docs" / "catalogue.md"


def test_the_catalogue_is_what_the_shipped_plugins_say_of_themselves(registry: Registry) -> None:
    written = FILE.read_text(encoding="utf-8")
    assert written == catalogue(registry, shipped=True), f"docs/catalogue.md is stale; write it again with: {COMMAND}"


def test_every_kind_and_every_plugin_has_a_heading_of_its_own(registry: Registry) -> None:
    headings = catalogue(registry).splitlines()
    assert [line for line in headings if line.startswith("## ")] == [
        f"## {base.kind}"
        for base in BASES
        if base.kind in registry.kinds()  # type: ignore[attr-defined]
    ]
    assert sum(line.startswith("### ") for line in headings) == len(registry.plugins)


def test_a_range_of_choices_does_not_break_its_table(registry: Registry) -> None:
    rows = [line for line in catalogue(registry).splitlines() if line.startswith("| `")]
    assert "| `gate` | exclusive | exclusive \\| shortcut_only |" in rows
    assert {row.replace("\\|", "").count("|") for row in rows} == {4}
