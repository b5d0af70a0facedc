"""Data sets through torchvision and the hub's `datasets`, where those packages are installed."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from optional_packages import package

from nas.errors import UserError
from nas.plugin import Data
from nas.registry import Registry
from nas.study.jobs.materials import load_data, ready_data
from nas.values.architecture import PluginNode, Value

Load = Callable[..., Data]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Registry) -> Load:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    load_data.cache_clear()
    ready_data.cache_clear()

    def loaded(kind: str, /, **options: Value) -> Data:
        return ready_data(PluginNode(kind, tuple(options.items())), registry)

    return loaded


def write_mnist(folder: Path) -> None:
    """Write files in the format of MNIST's: 30 pictures to train on and 12 to test on, each filled with its number."""
    folder.mkdir(parents=True)
    for part, count in (("train", 30), ("t10k", 12)):
        pixels = np.repeat(np.arange(count, dtype=np.uint8), 28 * 28)
        for name, header, content in (
            ("images-idx3", struct.pack(">IIII", 2051, count, 28, 28), pixels.tobytes()),
            ("labels-idx1", struct.pack(">II", 2049, count), bytes(i % 10 for i in range(count))),
        ):
            (folder / f"{part}-{name}-ubyte").write_bytes(header + content)
            with gzip.open(folder / f"{part}-{name}-ubyte.gz", "wb") as file:
                file.write(header + content)


def test_a_torchvision_set_in_one_array_keeps_its_test_part_and_its_class_names(load: Load, tmp_path: Path) -> None:
    package("torchvision")
    write_mnist(tmp_path / "MNIST" / "raw")
    data = load("torchvision", name="MNIST", root=str(tmp_path))
    assert (data.inputs.shape, data.inputs.dtype, data.num_test) == ((42, 1, 28, 28), torch.uint8, 12)
    assert data.classes[3] == "3 - three"
    assert data.inputs[:, 0, 0, 0].tolist() == [*range(30), *range(12)]
    assert data.targets.tolist() == [*[i % 10 for i in range(30)], *[i % 10 for i in range(12)]]
    assert load("torchvision", name="MNIST", root=str(tmp_path), size=14).inputs.shape == (42, 1, 14, 14)


def test_a_torchvision_set_of_single_pictures_is_decoded(load: Load) -> None:
    datasets = package("torchvision").datasets
    shape = datasets.FakeData().image_size
    data = load("torchvision", name="FakeData", size=16, limit=50)
    assert shape == (3, 224, 224)
    assert (data.inputs.shape, data.num_test) == ((50, 3, 16, 16), 0)


def test_an_unknown_torchvision_set_and_a_missing_file_are_said(load: Load, tmp_path: Path) -> None:
    package("torchvision")
    with pytest.raises(UserError, match=r"torchvision has no data set 'CIFAR1'; did you mean 'CIFAR10'\?"):
        load("torchvision", name="CIFAR1", root=str(tmp_path))
    with pytest.raises(UserError, match=r"torchvision's CIFAR10 cannot be opened in .*`download: true` fetches it"):
        load("torchvision", name="CIFAR10", root=str(tmp_path))


def test_a_data_set_saved_from_the_hub_is_read_without_the_hub(load: Load, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is an extra")
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["left", "right"])})
    parts = {}
    for name, count in (("train", 20), ("test", 6)):
        pictures = [np.full((5, 4, 3), i, dtype=np.uint8) for i in range(count)]
        parts[name] = datasets.Dataset.from_dict({"img": pictures, "label": [i % 2 for i in range(count)]}, features=features)
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "saved"))
    data = load("huggingface", name=str(tmp_path / "saved"))
    assert data.classes == ("left", "right")
    assert (data.inputs.shape, data.num_test) == ((26, 3, 5, 4), 6)
    assert data.inputs[:, 0, 0, 0].tolist() == [*range(20), *range(6)]
    assert torch.equal(data.targets, torch.tensor([i % 2 for i in range(20)] + [i % 2 for i in range(6)]))
