"""Data sets from files: one line of YAML each, bad files refused with the file and the row."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from nas.errors import UserError
from nas.plugin import Data
from nas.registry import Registry, discover
from nas.study.jobs.materials import load_data, ready_data
from nas.training.data import split_data
from nas.values.architecture import PluginNode, Value

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    load_data.cache_clear()
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def load(registry: Registry, name: str, /, **options: Value) -> Data:
    load_data.cache_clear()
    ready_data.cache_clear()
    return ready_data(PluginNode(name, tuple(options.items())), registry)


def picture(shade: int, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> Image.Image:
    """A picture whose left half has the shade; `size` is (width, height)."""
    image = Image.new(mode, size)
    image.paste(shade if mode == "L" else (shade, 0, 255 - shade), (0, 0, size[0] // 2, size[1]))
    return image


def encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def folders(root: Path, *, count: int = 6, classes: Sequence[str] = ("cat", "dog"), size: tuple[int, int] = (6, 4)) -> Path:
    for k, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            picture(100 * k + i, size).save(root / name / f"{i:02}.png")
    return root


def parquet(file: Path, rows: int, *, labels: Sequence[object] | None = None, names: Sequence[str] = ()) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    pictures = [{"bytes": encoded(picture(i)), "path": f"{i}.png"} for i in range(rows)]
    table = pa.table({"img": pictures, "label": pa.array(labels if labels is not None else [i % 2 for i in range(rows)])})
    if names:
        about = {"info": {"features": {"label": {"names": list(names), "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    pq.write_table(table, file)
    return file


def test_a_folder_of_class_folders_gives_its_pictures_as_bytes_and_its_folders_as_classes(registry: Registry, tmp_path: Path) -> None:
    folders(tmp_path / "pictures")
    (tmp_path / "pictures" / "cat" / "notes.txt").write_text("not a picture")
    data = load(registry, "folder", path="pictures/")
    assert data.classes == ("cat", "dog")
    assert (data.inputs.shape, data.inputs.dtype) == ((12, 3, 4, 6), torch.uint8)
    assert data.targets.tolist() == [0] * 6 + [1] * 6
    assert data.inputs[torch.tensor([7])][0, :, 0, 0].tolist() == [101, 0, 154]
    assert data.num_test == 0


def test_the_test_folder_beside_train_is_the_test_split_in_every_split(registry: Registry, tmp_path: Path) -> None:
    folders(tmp_path / "p" / "train", count=10)
    folders(tmp_path / "p" / "val", count=2)
    folders(tmp_path / "p" / "test", count=3)
    data = load(registry, "folder", path="p")
    assert (len(data.targets), data.num_test) == (30, 6)
    first, second = split_data(data, seed=1), split_data(data, seed=2)
    assert torch.equal(first.test.rows, second.test.rows)
    assert first.test.rows.tolist() == list(range(24, 30))
    assert not torch.equal(first.val.rows, second.val.rows)
    assert sorted(torch.cat((first.train.rows, first.val.rows)).tolist()) == list(range(24))
    assert first.val.targets.bincount().tolist() in ([2, 3], [3, 2])


def test_without_a_test_folder_the_validation_folder_is_the_test_part(registry: Registry, tmp_path: Path) -> None:
    folders(tmp_path / "p" / "train", count=5)
    folders(tmp_path / "p" / "val", count=2)
    assert load(registry, "folder", path="p").num_test == 4


def test_size_covers_and_cuts_to_the_middle_and_gray_gives_one_channel(registry: Registry, tmp_path: Path) -> None:
    folders(tmp_path / "p", size=(40, 20))
    picture(9, (30, 33)).save(tmp_path / "p" / "cat" / "other.png")
    assert load(registry, "folder", path="p", size=8).inputs.shape == (13, 3, 8, 8)
    assert load(registry, "folder", path="p", size=(4, 8), gray=True).inputs.shape == (13, 1, 4, 8)
    left_half = load(registry, "folder", path="p", size=10).inputs[torch.tensor([0])][0, 2, 5]
    assert left_half[:4].tolist() == [255] * 4
    assert left_half[6:].tolist() == [0] * 4


def test_a_limit_keeps_each_class_and_each_part_at_its_share_and_is_the_same_every_time(registry: Registry, tmp_path: Path) -> None:
    folders(tmp_path / "p" / "train", count=20)
    folders(tmp_path / "p" / "test", count=10)
    first, again = (load_data.__wrapped__(PluginNode("folder", (("path", "p"), ("limit", 30))), registry) for _ in range(2))
    assert first.num_test == 10
    assert first.targets[:20].bincount().tolist() == [10, 10]
    assert first.targets[20:].bincount().tolist() == [5, 5]
    assert torch.equal(first.inputs.rows, again.inputs.rows)
    assert len(first.inputs.rows.unique()) == 30


def test_parquet_files_in_the_layout_of_the_hub_give_their_test_file_as_test_part(registry: Registry, tmp_path: Path) -> None:
    parquet(tmp_path / "hub" / "plain" / "train-00000-of-00002.parquet", 10, names=("left", "right"))
    parquet(tmp_path / "hub" / "plain" / "train-00001-of-00002.parquet", 8, names=("left", "right"))
    parquet(tmp_path / "hub" / "plain" / "test-00000-of-00001.parquet", 6, names=("left", "right"))
    data = load(registry, "parquet", path="hub")
    assert data.classes == ("left", "right")
    assert (data.inputs.shape, data.num_test) == ((24, 3, 4, 6), 6)
    assert data.inputs[:, 0, 0, 0].tolist() == [*range(10), *range(8), *range(6)]


def test_one_parquet_file_with_words_as_labels_and_plain_bytes(registry: Registry, tmp_path: Path) -> None:
    table = pa.table({"photo": [encoded(picture(i)) for i in range(12)], "kind": ["b", "a"] * 6})
    pq.write_table(table, tmp_path / "one.parquet")
    data = load(registry, "parquet", path="one.parquet", label="kind")
    assert data.classes == ("a", "b")
    assert data.targets.tolist() == [1, 0] * 6


def test_numpy_arrays_from_two_files_or_one_with_a_test_part(registry: Registry, tmp_path: Path) -> None:
    inputs, targets = np.random.default_rng(0).random((20, 5, 4, 2)), np.arange(20) % 2
    np.save(tmp_path / "x.npy", inputs)
    np.save(tmp_path / "y.npy", targets)
    np.savez(tmp_path / "test.npz", inputs=inputs[:4], targets=targets[:4])
    data = load(registry, "numpy", inputs="x.npy", targets="y.npy", test_inputs="test.npz", channels="last")
    assert (data.inputs.shape, data.inputs.dtype, data.num_test) == ((24, 2, 5, 4), torch.float32, 4)
    assert torch.equal(data.inputs[3, 1], torch.tensor(inputs[3, :, :, 1], dtype=torch.float32))


def test_bytes_of_numpy_are_pictures_and_get_a_channel(registry: Registry, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", a=np.zeros((12, 5, 4), dtype=np.uint8), b=np.arange(12) % 3)
    data = load(registry, "numpy", inputs="d.npz", keys=("a", "b"))
    assert (data.inputs.shape, data.inputs.dtype) == ((12, 1, 5, 4), torch.uint8)


@pytest.mark.parametrize(
    ("task", "shape", "kind", "expected"),
    [
        ("segmentation", (20, 4, 4), "int64", (20, 4, 4)),
        ("regression", (20,), "float64", (20, 1)),
        ("regression", (20, 3), "float32", (20, 3)),
    ],
)
def test_numpy_has_targets_for_other_tasks(
    registry: Registry, tmp_path: Path, task: str, shape: tuple[int, ...], kind: str, expected: tuple[int, ...]
) -> None:
    targets = (np.random.default_rng(0).random(shape) * 3).astype(kind)
    np.savez(tmp_path / "d.npz", inputs=np.zeros((20, 2, 4, 4)), targets=targets)
    data = load_data(PluginNode("numpy", (("inputs", "d.npz"),)), registry, PluginNode(task))
    assert tuple(data.targets.shape) == expected
    assert np.allclose(data.targets.numpy().reshape(shape), targets)
    assert len(split_data(data, seed=0).train) == 12


def test_pictures_are_decoded_once_and_again_when_a_file_changed(registry: Registry, tmp_path: Path, cache: Path) -> None:
    root = folders(tmp_path / "p")
    first = load(registry, "folder", path="p")
    (kept,) = cache.glob("*.npy")
    kept_at = kept.stat().st_mtime_ns
    assert load(registry, "folder", path="p").fingerprint() == first.fingerprint()
    assert kept.stat().st_mtime_ns == kept_at
    picture(77).save(root / "cat" / "00.png")
    os.utime(root / "cat" / "00.png", ns=(1, 1))
    changed = load(registry, "folder", path="p")
    assert changed.inputs[0, 0, 0, 0] == 77
    assert changed.fingerprint() != first.fingerprint()


def test_the_fingerprint_knows_what_is_in_the_files_and_not_where_they_lie(registry: Registry, tmp_path: Path) -> None:
    for place in ("one", "two"):
        folders(tmp_path / place)
    same = {load(registry, "folder", path=place).fingerprint() for place in ("one", "two")}
    assert len(same) == 1
    assert load(registry, "folder", path="one", size=4).fingerprint() not in same
    assert load(registry, "folder", path="one", streaming=True).fingerprint() in same


@pytest.mark.parametrize("streaming", [False, True])
def test_a_damaged_picture_is_named(registry: Registry, tmp_path: Path, streaming: bool) -> None:
    root = folders(tmp_path / "p")
    whole = (root / "dog" / "03.png").read_bytes()
    (root / "dog" / "03.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"p/dog/03\.png: not a picture that can be decoded .*; mend or remove it"):
        load(registry, "folder", path="p", streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_cut_off_jpeg_is_named(registry: Registry, tmp_path: Path, streaming: bool) -> None:
    root = folders(tmp_path / "p", size=(64, 64))
    Image.effect_noise((64, 64), 80).convert("RGB").save(root / "cat" / "x.jpg")
    whole = (root / "cat" / "x.jpg").read_bytes()
    (root / "cat" / "x.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(UserError, match=r"p/cat/x\.jpg: not a picture that can be decoded"):
        load(registry, "folder", path="p", streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
def test_pictures_of_unequal_size_ask_for_size(registry: Registry, tmp_path: Path, streaming: bool) -> None:
    root = folders(tmp_path / "p")
    picture(1, (9, 9)).save(root / "dog" / "big.png")
    with pytest.raises(UserError, match=r"dog/big\.png: is 9×9 pixels .*, but .*00\.png is 4×6; set `size`"):
        load(registry, "folder", path="p", streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_jpeg_that_is_damaged_in_the_middle_is_named_before_anything_is_trained(
    registry: Registry, tmp_path: Path, streaming: bool
) -> None:
    root = folders(tmp_path / "p", size=(64, 64))
    Image.effect_noise((64, 64), 80).convert("RGB").save(root / "cat" / "x.jpg")
    whole = bytearray((root / "cat" / "x.jpg").read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 4] = b"\xff\xc0\x00\x11"  # a second header, in the middle of the pixels
    (root / "cat" / "x.jpg").write_bytes(whole)
    with pytest.raises(UserError, match=r"p/cat/x\.jpg: not a picture that can be decoded \(broken data stream"):
        load(registry, "folder", path="p", streaming=streaming)


def test_a_photo_held_upright_is_turned_as_its_camera_says(registry: Registry, tmp_path: Path) -> None:
    root = folders(tmp_path / "p")
    for file in root.glob("*/*.png"):
        exif = Image.Exif()
        exif[0x0112] = 6  # a quarter turn
        picture(50, (4, 6)).save(file, exif=exif)
    assert load(registry, "folder", path="p").inputs.shape == (12, 3, 4, 6)
    assert load(registry, "folder", path="p", streaming=True).inputs.shape == (12, 3, 4, 6)


BAD_FOLDERS = {
    "no such folder": ("pictuers", r"there is no pictuers under .*; did you mean 'pictures'\?"),
    "empty": ("empty", r"empty has no folders; put the pictures of each class into a folder of its own"),
    "one class": ("one", r"1 classes"),
    "a class without pictures": ("bare", r"bare/dog holds no pictures"),
    "too few": ("few", r"2 examples in the smallest \(class 'cat'\).*5 examples each"),
    "an environment variable": ("$NAS_TEST_NOWHERE/x", r"the environment variable NAS_TEST_NOWHERE is not set"),
    "a file": ("pictures/cat/00.png", r"is a file; name the folder"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_a_bad_folder_is_refused(registry: Registry, tmp_path: Path, case: str) -> None:
    folders(tmp_path / "pictures")
    folders(tmp_path / "one", classes=("cat",))
    folders(tmp_path / "few", count=2)
    folders(tmp_path / "bare")
    for file in (tmp_path / "bare" / "dog").iterdir():
        file.unlink()
    (tmp_path / "empty").mkdir()
    path, message = BAD_FOLDERS[case]
    with pytest.raises(UserError, match=message):
        split_data(load(registry, "folder", path=path), seed=0)


BAD_LABELS: dict[str, tuple[list[object], str]] = {
    "negative": ([0, 1, -1, 0], r"bad\.parquet, row 2 .*: a label must be a whole number from 0 on"),
    "not whole": ([0.0, 1.5, 1.0, 0.0], r"row 1 .*got 1\.5"),
    "missing": ([0, None, 1, 0], r"row 1 .*got None"),
    "beyond the names": ([0, 1, 2, 0], r"row 2 .*: the label is 2, but there are 2 classes, 0 to 1"),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_a_bad_label_is_named_by_file_and_row(registry: Registry, tmp_path: Path, case: str) -> None:
    labels, message = BAD_LABELS[case]
    parquet(tmp_path / "bad.parquet", 4, labels=labels, names=("left", "right"))
    with pytest.raises(UserError, match=message):
        load(registry, "parquet", path="bad.parquet")


def test_unclear_columns_are_listed(registry: Registry, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [b"1"], "b": [b"2"], "label": [0]}), tmp_path / "two.parquet")
    with pytest.raises(UserError, match=r"which column holds the pictures .*a, b all could be; set `image`"):
        load(registry, "parquet", path="two.parquet")
    with pytest.raises(UserError, match=r"has no column 'lable'; did you mean 'label'\?"):
        load(registry, "parquet", path="two.parquet", image="a", label="lable")


def test_a_file_that_is_no_parquet_is_refused(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"x\.parquet: cannot be read as Parquet"):
        load(registry, "parquet", path="x.parquet")


def test_numpy_errors_name_the_file(registry: Registry, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((6, 1, 2, 2)))
    np.save(tmp_path / "y.npy", np.zeros(5, dtype=int))
    np.save(tmp_path / "nan.npy", np.array([0.0, np.nan] * 3).reshape(6, 1, 1, 1))
    np.save(tmp_path / "six.npy", np.arange(6) % 2)
    with pytest.raises(UserError, match=r"x\.npy: 6 inputs and 5 targets"):
        load(registry, "numpy", inputs="x.npy", targets="y.npy")
    with pytest.raises(UserError, match=r"inputs must be finite; row 1 .* holds NaN or infinity, 3 of 6 do"):
        load(registry, "numpy", inputs="nan.npy", targets="six.npy")
    with pytest.raises(UserError, match=r"x\.npy holds one array; name that of the targets"):
        load(registry, "numpy", inputs="x.npy")


MINE = """
import torch
from nas.plugin import Data, DataSet, plugin

@plugin("mine")
class Mine(DataSet):
    def load(self):
        {body}
"""

BAD_PLUGINS = {
    "raise KeyError('column')": r"data 'mine' \(.*mine\.py\) could not be loaded: KeyError: 'column'",
    "return 3": r"load\(\) must return a nas.plugin.Data, got int",
    "return Data(torch.zeros(9, 1, 2, 2).double(), torch.zeros(9).long(), ('a', 'b'))": r"inputs must be float32, or uint8",
    "return Data(torch.zeros(9, 1, 2, 2), torch.zeros(8).long(), ('a', 'b'))": r"8 targets and 9 inputs",
    "return Data(torch.zeros(9, 1, 2, 2), torch.arange(9), ('a', 'b'))": r"the label of row 2 \(counted from 0\) is 2, but there are 2",
    "return Data(torch.zeros(9, 1, 4, 4), torch.zeros(9, 4, 5).long(), ('a', 'b'))": r"the masks are 4×5 pixels and the pictures 4×4",
}


@pytest.mark.parametrize("body", BAD_PLUGINS)
def test_what_a_data_plugin_of_ones_own_does_wrong_is_said(tmp_path: Path, body: str) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "mine.py").write_text(MINE.format(body=body))
    with pytest.raises(UserError, match=BAD_PLUGINS[body]):
        load(discover([tmp_path / "more"]), "mine")


def test_the_command_answers_bad_data_without_a_traceback_and_shows_it_for_debug(nas_command: Run, tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "mine.py").write_text(MINE.format(body="raise RuntimeError('the camera is off')"))
    (tmp_path / "space.yaml").write_text("data: mine\narchitecture: staged\n")
    answer = nas_command("search", "space.yaml")
    assert answer.returncode == 2
    assert "could not be loaded: RuntimeError: the camera is off" in answer.stderr
    assert "Traceback" not in answer.stderr
    told = nas_command("--debug", "check", "space.yaml")
    assert "Traceback" in told.stderr
    assert "mine.py" in told.stderr


def test_a_missing_package_is_named_with_the_way_to_get_it(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs the package torchvision: pip install 'nas-ablation\[torchvision\]'"):
        load(registry, "torchvision", name="CIFAR10", root=".")
    with pytest.raises(UserError, match=r"needs the package datasets: pip install 'nas-ablation\[huggingface\]'"):
        load(registry, "huggingface", name="cifar10")
