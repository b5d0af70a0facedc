"""The command on pictures that the project has never seen: a space changed in one line, or not at all."""

import json
import re
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from nas.errors import UserError
from nas.paths import shipped
from nas.registry import Registry
from nas.space import load_space_with
from nas.space.replacing import _replaced
from nas.values.architecture import PluginNode

Run = Callable[..., subprocess.CompletedProcess[str]]

SHORTER = {
    r"epochs: \d+": "epochs: 3",
    r"batch_size: \d+": "batch_size: 16",
    r"trials: \d+": "trials: 2",
    r"\[\[6, 12, 24\], \[8, 16, 32\]\]": "[[4, 8], [6, 8]]",
    r"depth: \[1, 3, 9\]": "depth: [1]",
    r"replicates: \d+": "replicates: 2",
}
"""The default space's budget, made small."""


def draw_shapes(root: Path, *, count: int = 24) -> None:
    """Draw discs, squares and triangles of random place, size and colours into a folder each."""
    generator = np.random.default_rng(1)
    for name in ("disc", "square", "triangle"):
        (root / name).mkdir(parents=True)
        for i in range(count):
            dark, light = (tuple(generator.integers(low, low + 90, 3).tolist()) for low in (0, 150))
            image = Image.new("RGB", (18, 16), dark)
            x, y, size = generator.integers(1, 6).item(), generator.integers(1, 5).item(), generator.integers(8, 11).item()
            box = [x, y, x + size, y + size]
            if name == "triangle":
                ImageDraw.Draw(image).polygon([(x, y + size), (x + size, y + size), (x + size // 2, y)], fill=light)
            else:
                getattr(ImageDraw.Draw(image), "ellipse" if name == "disc" else "rectangle")(box, fill=light)
            image.save(root / name / f"{i}.png")


def default_space() -> str:
    text = (shipped("search_spaces") / "residual.yaml").read_text()
    for old, new in SHORTER.items():
        text, found = re.subn(old, new, text)
        assert found == 1, old
    return text


def test_a_folder_never_seen_is_searched_and_measured_by_changing_one_line_of_the_default_space(nas_command: Run, tmp_path: Path) -> None:
    draw_shapes(tmp_path / "shapes")
    text = default_space()
    assert text.count("\ndata: digits\n") == 1
    (tmp_path / "space.yaml").write_text(text.replace("\ndata: digits\n", "\ndata: {folder: {path: shapes}}\n"))
    done = nas_command("search", "space.yaml", "--workers", "2", "--json", timeout=400)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["told_trials"], told["measured_trainings"]) == (2, 4)
    assert told["effects"]
    assert Path(told["report"]).is_file()
    tags = sqlite3.connect(tmp_path / "mlflow" / "mlflow.db").execute("select key, value from tags").fetchall()
    fingerprints = [value for key, value in tags if key == "nas.data_fingerprint"]
    assert (len(fingerprints), len(set(fingerprints))) == (6, 1)
    assert len(list((tmp_path / "mlflow" / "cache").glob("*.npy"))) == 1
    splits = [value for key, value in tags if key == "nas.split_seed"]
    assert len(set(splits)) == 3  # the search's, and one for each replicate


def test_show_and_check_take_another_data_set_than_the_files(nas_command: Run, tmp_path: Path) -> None:
    draw_shapes(tmp_path / "shapes", count=8)
    space = str(shipped("search_spaces") / "reference" / "resnet20.yaml")
    shown = json.loads(nas_command("show", space, "--data", "digits", "--json").stdout)
    assert shown["parameters"] < 269_722  # one channel instead of three
    checked = nas_command("check", space, "--data", "{folder: {path: shapes}}", "--data-option", "size=8", "--samples", "1")
    assert checked.returncode == 0, checked.stderr
    assert "1 sample built" in checked.stdout


def data_of(registry: Registry, text: str, file: Path, **given: object) -> PluginNode:
    from nas.sampling import first_choice, sample

    file.write_text(text)
    return sample(load_space_with(file, registry, **given), first_choice).configuration.data  # type: ignore[arg-type]


INPUT = "input: {shape: [3, 8, 8], classes: 4}\narchitecture: staged\n"
BLOCK = "name: x\ndata:\n  folder:\n    path: here\n    size: 8\n# a remark\narchitecture: staged\n"


def test_options_change_the_files_own_data_set_and_keep_what_is_not_named(registry: Registry, tmp_path: Path) -> None:
    node = data_of(registry, BLOCK, tmp_path / "s.yaml", options={"path": "/some where/else", "limit": "30"})
    assert (node["path"], node["size"], node["limit"]) == ("/some where/else", 8, 30)


@pytest.mark.parametrize(
    "text",
    [
        BLOCK,
        "architecture: staged\ndata: digits\n",
        "architecture: staged\n",
        "{architecture: staged}",
        "input: {shape: [3, 8, 8], classes: 4}\narchitecture: staged\n",
    ],
)
def test_another_data_set_takes_the_place_of_the_files(registry: Registry, tmp_path: Path, text: str) -> None:
    given = {"data": "{numpy: {inputs: x.npz}}", "options": {"keys": "[a, b]", "channels": "last"}}
    node = data_of(registry, text, tmp_path / "s.yaml", **given)
    assert (node.name, node["inputs"], node["keys"], node["channels"]) == ("numpy", "x.npz", ("a", "b"), "last")


def test_later_lines_keep_their_numbers() -> None:
    replaced = _replaced(BLOCK, "data: digits")
    assert [replaced[: replaced.index(word)].count("\n") for word in ("data", "architecture")] == [1, 6]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": "folders"}, r"--data:1: data: unknown data 'folders'; did you mean 'folder'\?"),
        ({"data": "folder"}, r"--data:1: data.folder.path: must be given"),
        ({"options": {"sise": "8"}}, r"data.folder.sise: unknown parameter of data 'folder'; did you mean 'size'\?"),
        ({"options": {"size": "big"}}, r"data.folder.size: must be"),
        ({"data": "{choices: [digits]}", "options": {"size": "8"}}, r"options can be set for one data set"),
    ],
)
def test_a_mistake_in_the_replacement_is_said_at_its_flag(
    registry: Registry, tmp_path: Path, given: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        data_of(registry, BLOCK, tmp_path / "s.yaml", **given)


def test_a_study_that_is_there_keeps_its_own_data(nas_command: Run) -> None:
    answer = nas_command("ablate", "residual-digits-00000000", "--data", "digits")
    assert answer.returncode == 2
    assert "a study has its own already" in answer.stderr
