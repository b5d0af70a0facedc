"""The Python interface: load, decide, build, search, from a plain script."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import clean_environment

import nas


@pytest.fixture
def space_file(tmp_path: Path, small_text: str) -> Path:
    file = tmp_path / "small.yaml"
    file.write_text(small_text)
    return file


def test_a_network_is_built_from_a_space_and_settings(space_file: Path) -> None:
    network = nas.build(space_file, {"architecture.staged.depth": 3, "architecture.staged.shortcut": "identity"}, seed=1)
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
    assert network.num_layers == 2 + 2 * 3 * 2


def test_two_arms_start_with_bit_equal_shared_tensors(space_file: Path) -> None:
    arms = [nas.build(space_file, {"architecture.staged.shortcut": level}, seed=4).state_dict() for level in ("none", "identity")]
    assert arms[0].keys() == arms[1].keys()
    assert all(torch.equal(arms[0][name], arms[1][name]) for name in arms[0])


def test_a_wrong_setting_names_the_nearest(space_file: Path) -> None:
    with pytest.raises(nas.SpaceError, match=r"did you mean 'architecture\.staged\.depth'"):
        nas.build(space_file, {"architecture.staged.dept": 3})


def test_settings_are_values_as_python_has_them(tmp_path: Path) -> None:
    file = tmp_path / "lists.yaml"
    file.write_text("architecture: {staged: {widths: {choices: [[4, 8], [8, 16]]}, depth: {int: [1, 3]}, shortcut: none}}\n")
    space = nas.load_space(file)
    settings = {"architecture.staged.widths": [8, 16], "architecture.staged.depth": 2}
    assert nas.build(space, settings).num_layers == 2 + 2 * 2 * 2
    assert space.with_settings(settings) == {"architecture.staged.widths": "8-16", "architecture.staged.depth": 2}


def test_a_store_may_be_named_by_a_text(tmp_path: Path) -> None:
    with pytest.raises(nas.UserError, match="no study"):
        nas.best(store=str(tmp_path))
    with pytest.raises(nas.UserError, match="no study"):
        nas.load_network("nothing", store=str(tmp_path))


def test_every_public_name_stands_in_the_page_with_its_parameters() -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
    page = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    said = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`]+`", page))))
    functions = [name for name in nas.__all__ if inspect.isfunction(getattr(nas, name))]
    expected = {given for name in functions for given in inspect.signature(getattr(nas, name)).parameters} | set(nas.__all__)
    assert expected - said == set()


def test_a_space_without_measure_section_is_not_measured(tmp_path: Path) -> None:
    file = tmp_path / "plain.yaml"
    file.write_text("architecture: {staged: {depth: 1}}\n")
    with pytest.raises(nas.UserError, match="has no `measure:` section"):
        nas.measure(file)


def test_a_plain_script_without_a_main_guard_can_search(tmp_path: Path, space_file: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import nas\n"
        f"result = nas.search({str(space_file)!r})\n"
        "print(len(result.record.search), len(result.record.measured), result.effects.levels)\n"
    )
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=180, env=clean_environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "6 12 ('identity',)"
