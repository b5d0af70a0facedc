"""docs/plugins.md: every example in it runs: plugins keep their contract, space files parse, commands exist."""

import re
import shlex
from pathlib import Path

import pytest

from nas.cli.plugins import command as plugins_command
from nas.registry import Registry, discover
from nas.space import parse_space
from nas.testing import check_plugin

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = GUIDE) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def guide(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Registry]:
    """The guide's plugins as files of one folder, and the registry with them."""
    folder = tmp_path_factory.mktemp("guide")
    for i, text in enumerate(block for block in blocks("python") if "@plugin(" in block):
        (folder / f"example{i}.py").write_text(text)
    return folder, discover([folder])


def test_every_plugin_of_the_guide_keeps_its_contract(guide: tuple[Path, Registry]) -> None:
    folder, registry = guide
    own = [info for info in registry.plugins if Path(info.file).parent == folder]
    assert len(own) == GUIDE.count('@plugin("')
    for info in own:
        failed = [f"{result.name}: {result.detail}" for result in check_plugin(registry, info.kind, info.name) if not result.passed]
        assert not failed, info.name


def test_every_space_of_the_guide_parses(guide: tuple[Path, Registry]) -> None:
    spaces = blocks("yaml")
    assert len(spaces) >= 5
    for text in spaces:
        parse_space(text, "docs/plugins.md", guide[1])


def test_every_command_of_the_guide_and_of_the_readme_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line for text in blocks("sh") for line in text.splitlines()] + re.findall(r"`(nas plugins [^`|]+)`", readme + GUIDE)
    named = {words[2] for line in lines if (words := shlex.split(line, comments=True))[:2] == ["nas", "plugins"]}
    assert named >= {"new", "show", "test"}
    assert named <= set(plugins_command.commands)  # type: ignore[attr-defined]


def test_the_block_of_the_readme_is_that_of_the_guide_and_has_fifteen_lines() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = [text for text in blocks("python", readme) if "@plugin(" in text]
    assert block == blocks("python")[0]
    assert sum(bool(line.strip()) and not line.startswith(("from", "import")) for line in block.splitlines()) <= 15


def test_the_test_of_the_guide_names_a_shipped_plugin(guide: tuple[Path, Registry]) -> None:
    (text,) = [block for block in blocks("python") if "@plugin(" not in block]
    scope: dict[str, type] = {}
    exec(text, scope)  # it is the guide's own text
    contract = scope["TestBottleneck"]
    assert contract.name in guide[1].names(contract.kind)  # type: ignore[attr-defined]
