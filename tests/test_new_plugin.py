"""`nas plugins new`: what is written works, is found, and passes its own test; nothing is written over."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nas.authoring.facts import KINDS
from nas.authoring.scaffold import new_plugin
from nas.cli.main import main
from nas.errors import UserError
from nas.registry import Registry, discover
from nas.testing.contracts import CHECKS

New = Callable[..., tuple[int, str, str]]


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> New:
    """Run `nas plugins new` in this process, in an empty directory; return its exit code and what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nas", "plugins", "new", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return run


def test_a_plugin_of_every_kind_is_written_found_and_passes_its_own_test(tmp_path: Path, registry: Registry) -> None:
    files = [new_plugin(kind, f"my-{kind}", tmp_path, registry) for kind in KINDS]
    found = {(info.kind, info.name) for info in discover([tmp_path]).plugins}
    assert found >= {(kind, f"my-{kind}") for kind in KINDS}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert told.returncode == 0, told.stdout[-3000:]
    assert {file.name for _, file in files} == {file.name for file in (tmp_path / "tests").glob("test_*.py")}


def test_every_kind_has_checks_of_its_own() -> None:
    assert set(KINDS) == set(CHECKS)


def test_what_was_written_is_said_with_what_to_do_next(new: New) -> None:
    code, out, _ = new("block", "mine")
    assert code == 0
    assert out.splitlines() == [
        "Wrote plugins/mine.py, a working block to change, and plugins/tests/test_mine.py.",
        "  look at it:       nas plugins show block/mine",
        "  test it:          nas plugins test block/mine, or pytest plugins/tests/test_mine.py",
        "  in a space file:  block: mine",
    ]
    assert "mine" in discover().names("block")


def test_another_folder_is_named_in_what_to_do_next(new: New) -> None:
    code, out, _ = new("probe", "mine", "--plugins", "elsewhere")
    assert code == 0
    assert "nas plugins test probe/mine --plugins elsewhere" in out
    assert out.splitlines()[-1] == "  in a space file:  probes: [mine]"
    assert "mine" in discover(["elsewhere"]).names("probe")


@pytest.mark.parametrize("taken", ["mine.py", "tests/test_mine.py"])
def test_nothing_is_written_over(taken: str, new: New, tmp_path: Path) -> None:
    file = tmp_path / "plugins" / taken
    file.parent.mkdir(parents=True)
    file.write_text("x = 1\n")
    code, _, err = new("block", "mine")
    assert (code, err) == (
        2,
        f"Error: plugins/{taken} is there already, and nothing is written over it; take another name, or move it away\n",
    )
    assert [path for path in (tmp_path / "plugins").rglob("*.py") if path != file] == []
    assert file.read_text() == "x = 1\n"


@pytest.mark.parametrize("name", ["3x", "my block", "a/b", "../up", "class", "choices", "_hidden", "test_mine", "", "a.b"])
def test_a_name_that_no_plugin_can_have_is_refused(name: str, registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^'.*' is no name for a plugin: "):
        new_plugin("block", name, tmp_path, registry)
    assert list(tmp_path.rglob("*")) == []


def test_a_name_that_is_taken_is_refused_with_the_file_that_has_it(new: New, registry: Registry) -> None:
    code, _, err = new("block", "basic")
    file = registry.find("block", "basic").file
    assert (code, err) == (2, f"Error: there is a block 'basic' already, in {file}; take another name\n")


def test_a_name_of_another_kind_is_free(new: New) -> None:
    assert new("head", "basic")[0] == 0


def test_an_unknown_kind_names_the_nearest(new: New) -> None:
    assert new("blok", "mine")[::2] == (2, "Error: there is no kind 'blok'; did you mean 'block'?\n")
