"""The Python interface: load, decide, build, search, from a plain script."""

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
