"""README.md and docs/: every command that they write is one, every link leads somewhere, every whole space parses."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
import yaml

from nas.cli.main import nas
from nas.errors import UserError
from nas.recipe import LIGHTNING_OPTIONS, Recipe
from nas.registry import Registry, discover
from nas.registry.signature import Parameter, parameters_of
from nas.space import parse_space
from nas.space.domain_parser import DOMAIN_KEYS
from nas.space.schema import schema_of
from nas.space.sections import QUANTITIES, GateOptions, InputOptions, MeasureOptions, SearchOptions
from nas.values.architecture import PluginNode
from nas.values.domains import written
from nas.values.effects import MATCHED

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", *sorted(DOCS.glob("*.md")))
LINKED = (*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *ROOT.glob("examples/*/README.md"))
NAMES = {page: str(page.relative_to(ROOT)) for page in LINKED}
SPACE_PAGE = DOCS / "space.md"
SHELL = ("&&", "||", "|", ";", ">", ">>", "&")
LINK = re.compile(r"(?<!`)\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def registry() -> Registry:
    return discover()


def blocks(page: Path, *languages: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return [text for language, text in found if language in languages]


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def commands(text: str) -> Iterator[list[str]]:
    """The words behind `nas` of each command in the lines of a shell."""
    for line in text.replace("\\\n", " ").splitlines():
        words = [*shlex.split(line.strip().removeprefix("$ "), comments=True), ";"]
        while words:
            end = next(i for i, word in enumerate(words) if word in SHELL)
            part, words = words[:end], words[end + 1 :]
            while part and (part[0] in ("srun", "exec") or re.fullmatch(r"[A-Z_]+=\S*", part[0])):
                part = part[1:]
            if part and part[0] == "nas":
                yield part[1:]


def transcripts(page: Path) -> Iterator[str]:
    """The lines of a page that show a command at a prompt, or stand in a block of code that is made by indenting."""
    for text in blocks(page, "", "text", "console"):
        yield from (line for line in text.splitlines() if line.startswith("$ nas "))
    yield from (line for line in prose(page).splitlines() if line.startswith("    nas "))


def parse(words: list[str], *, whole: bool) -> None:
    """Parse a command line as click would, without running it. A command that is only named may lack its arguments."""
    context, command = click.Context(nas, info_name="nas"), nas
    while isinstance(command, click.Group):
        name = next(iter(words), "")
        if name.startswith("-") or not name:
            break
        found = command.get_command(context, name)
        assert found is not None, f"no command {name}"
        command, words = found, words[1:]  # type: ignore[assignment]
        context = click.Context(command, info_name=name, parent=context)
    try:
        command.make_context(command.name, list(words), parent=context.parent)
    except click.MissingParameter:
        if whole:  # what is only named in a sentence need not be complete
            raise
    except click.exceptions.Exit:
        pass  # --help, --version


@pytest.mark.parametrize("page", PAGES, ids=NAMES.get)
def test_every_command_of_a_page_parses(page: Path) -> None:
    wrong = []
    spoken = [(span, False) for span in re.findall(r"`(nas [^`]*)`", prose(page)) if "|" not in span and "[" not in span]
    for text, whole in [*((text, True) for text in (*blocks(page, "sh", "bash"), *transcripts(page))), *spoken]:
        for words in commands(text):
            try:
                parse(words, whole=whole)
            except (click.ClickException, UserError, AssertionError) as error:
                told = error.format_message() if isinstance(error, click.ClickException) else str(error)
                wrong.append(f"nas {shlex.join(words)}: {told}")
    assert not wrong, "\n".join(wrong)


def test_a_wrong_command_is_found_out() -> None:
    for line in ("nas serch space.yaml", "nas search", "nas search a.yaml --trails 3", "x && nas plugins shwo basic"):
        (words,) = commands(line)
        with pytest.raises((click.ClickException, UserError, AssertionError)):
            parse(words, whole=True)


@cache
def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings, and those that it writes itself."""
    text = page.read_text(encoding="utf-8")
    heads = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), flags=re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", head) for head in heads)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in plain} | set(re.findall(r'<a id="([^"]+)"', text))


@pytest.mark.parametrize("page", LINKED, ids=NAMES.get)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    lost = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            lost.append(target)
    assert not lost


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "plugins.md"], ids=NAMES.get)  # test_docs_plugins.py has its own
def test_every_whole_space_of_a_page_parses(page: Path, registry: Registry) -> None:
    for text in blocks(page, "yaml"):
        if re.search(r"^architecture:", text, flags=re.MULTILINE):
            assert parse_space(text, page.name, registry).file == page.name


def test_the_index_and_the_site_have_every_page_in_one_order() -> None:
    rows = re.findall(r"^\| \[[^\]]*\]\(([^)]*)\)", (DOCS / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(rows) == sorted({page.name for page in DOCS.glob("*.md")} - {"README.md"})
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert [file for entry in site["nav"] for file in entry.values()] == ["README.md", *rows]


def test_every_chapter_that_a_docstring_names_is_there() -> None:
    cited = {
        (page, re.sub(r"\s+", " ", chapter))
        for file in ROOT.glob("nas/**/*.py")
        for page, chapter in re.findall(r'(docs/\w+\.md), "([^"]+)"', file.read_text())
    }
    assert len(cited) > 10
    for page, chapter in cited:
        assert re.search(rf"^##+ {re.escape(chapter)}$", (ROOT / page).read_text(), re.MULTILINE), f"{page}: {chapter}"


def test_no_page_of_the_site_links_outside_it() -> None:
    assert not [target for page in DOCS.glob("*.md") for target in LINK.findall(prose(page)) if target.startswith("..")]


def chapter(name: str) -> str:
    """What space.md says under the heading of one section."""
    _, found, text = SPACE_PAGE.read_text(encoding="utf-8").partition(f"\n## `{name}:`")
    assert found, f"space.md has no chapter on {name}"
    return text.partition("\n## ")[0]


def test_every_section_of_a_space_file_has_a_chapter(registry: Registry) -> None:
    for name in schema_of(registry)["properties"]:
        assert chapter(name)


def row(parameter: Parameter) -> str:
    """How the reference begins the row of a parameter: its name, what it may be, its default."""
    default = "must be given" if parameter.required else f"`{default_text(parameter.default)}`"
    return f"| `{parameter.name}` | {str(parameter.type).replace('|', ', ').replace(' ,', ',').replace('  ', ' ')} | {default} | "


def default_text(default: object) -> str:
    if isinstance(default, PluginNode):
        return default.name
    return "[]" if default == () else written(default)  # type: ignore[arg-type]


@pytest.mark.parametrize(("section", "options"), [("train", Recipe), ("search", SearchOptions), ("input", InputOptions)])
def test_the_reference_has_each_parameter_with_its_type_and_default(section: str, options: type) -> None:
    text, missing = chapter(section), []
    for parameter in parameters_of(options, section):
        if row(parameter) not in text:
            missing.append(row(parameter))
    assert not missing, "\n".join(missing)


def test_the_reference_has_each_parameter_of_a_gate() -> None:
    rows = [row(parameter).replace("| `", "| `gate.", 1) for parameter in parameters_of(GateOptions, "gate")]
    assert not [text for text in rows if text not in chapter("search")]


def test_the_reference_has_no_parameter_that_is_not_declared(registry: Registry) -> None:
    for name, section in schema_of(registry)["properties"].items():
        rows = set(re.findall(r"^\| `([\w.]+)` \|", chapter(name), flags=re.MULTILINE))
        declared = set(section.get("properties", rows))
        declared |= {f"tune.{key}" for key in section["properties"]["tune"]["properties"]} if name == "measure" else set()
        declared |= {f"gate.{parameter.name}" for parameter in parameters_of(GateOptions, "gate")} if name == "search" else set()
        assert rows <= declared, name


def test_the_reference_has_every_key_of_measure_with_its_default(registry: Registry) -> None:
    text, measure = chapter("measure"), schema_of(registry)["properties"]["measure"]["properties"]
    for key in (*measure, *(f"tune.{key}" for key in measure["tune"]["properties"])):
        assert f"\n| `{key}` | " in text, key
    for key in ("replicates", "smallest_effect"):
        assert f"| `{key}` | {written(getattr(MeasureOptions, key))} | " in text
    assert all(f"`{quantity}`" in text for quantity in MATCHED)


def test_the_reference_has_every_domain_and_every_quantity_of_a_constraint() -> None:
    text = SPACE_PAGE.read_text(encoding="utf-8")
    for key, keys in DOMAIN_KEYS.items():
        assert f"| `{{{key}: " in text
        assert all(f"`{inner}:`" in text for inner in keys - {key})
    assert all(f"`{quantity}`" in chapter("constraints") for quantity in QUANTITIES)
    assert all(f"`{option}`" in chapter("train") for option in LIGHTNING_OPTIONS)
