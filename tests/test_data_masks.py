"""`folder` with masks: PNGs beside pictures for segmentation, read as class numbers; what does not fit is named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from nas.building import cost_of, make
from nas.errors import UserError
from nas.plugin import Data
from nas.registry import Registry
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.study.jobs.job import Job, run_job
from nas.study.jobs.materials import context_of, load_data, ready_data
from nas.values.architecture import PluginNode

SIZE = (12, 16)


def scene(seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """A bright rectangle on noise, and where it is."""
    generator = np.random.default_rng(seed)
    pixels, mask = generator.integers(0, 90, (*SIZE, 3)), np.zeros(SIZE)
    top, left = generator.integers(0, 6), generator.integers(0, 8)
    pixels[top : top + 6, left : left + 8] += 120
    mask[top : top + 6, left : left + 8] = 1
    return pixels.astype(np.uint8), mask.astype(np.uint8)


@pytest.fixture
def scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """30 pictures in `p`, `p/deep` among them, and their masks in `m`."""
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for cached in (load_data, ready_data):
        cached.cache_clear()
    for place in ("p/deep", "m/deep"):
        (tmp_path / place).mkdir(parents=True)
    for i in range(30):
        name = f"{'deep/' if i % 2 else ''}{i:02}"
        pixels, mask = scene(i)
        Image.fromarray(pixels).save(tmp_path / "p" / f"{name}.jpg", quality=95)
        Image.fromarray(mask).save(tmp_path / "m" / f"{name}.png")
    return tmp_path


def load(registry: Registry, task: str = "segmentation", **options: Any) -> Data:
    source = make("data", PluginNode("folder", tuple({"path": "p", "masks": "m", **options}.items())), registry)
    source.task = task
    data = source.load()
    assert isinstance(data, Data)
    return data


def test_every_picture_has_the_mask_of_its_name(scenes: Path, registry: Registry) -> None:
    data = load(registry)
    assert data.targets.shape == (30, *SIZE)
    assert data.classes == ("0", "1")
    names = [data.inputs.name(row) for row in range(30)]  # type: ignore[union-attr]  # they are encoded still
    for name, mask in zip(names, data.targets, strict=True):
        assert torch.equal(mask, torch.from_numpy(scene(int(Path(name).stem))[1].astype(np.int64)))


def test_masks_are_cut_to_a_size_as_their_pictures_are(scenes: Path, registry: Registry) -> None:
    data = load(registry, size=6, limit=20)
    assert data.targets.shape == (20, 6, 6)
    assert set(data.targets.unique().tolist()) == {0, 1}
    bright = ready_data_of(data).float().mean(1) > 110
    assert float((bright == (data.targets == 1)).float().mean()) > 0.85


def ready_data_of(data: Data) -> torch.Tensor:
    return data.inputs[torch.arange(len(data.targets))]


def test_a_mask_of_black_and_white_has_two_classes_and_names_can_be_given(scenes: Path, registry: Registry) -> None:
    for file in (scenes / "m").rglob("*.png"):
        Image.fromarray(np.array(Image.open(file)) * 255).save(file)
    assert load(registry).targets.unique().tolist() == [0, 1]
    with pytest.raises(UserError, match=r"m/00\.png: a pixel is 255, but there are 2 classes, ground, box, numbered from 0"):
        load(registry, classes=("ground", "box"))


def test_what_does_not_fit_is_named(scenes: Path, registry: Registry) -> None:
    with pytest.raises(UserError, match="`masks` are for segmentation; write `task: segmentation`"):
        load(registry, task="classification")
    with pytest.raises(UserError, match="segmentation needs `masks`"):
        load(registry, masks=None)
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(scenes / "m" / "02.png")
    with pytest.raises(UserError, match=r"m/02\.png: is 5×5 pixels .*, but its picture p/02\.jpg is 12×16"):
        load(registry)
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(scenes / "m" / "02.png")
    with pytest.raises(UserError, match=r"m/02\.png: its pixels are colours \(RGB\)"):
        load(registry)
    (scenes / "m" / "02.png").unlink()
    with pytest.raises(UserError, match=r"p/02\.jpg: there is no mask m/02\.png"):
        load(registry)


def test_a_u_net_learns_from_a_folder_of_pictures_and_masks(scenes: Path, registry: Registry) -> None:
    space = parse_space(
        "data: {folder: {path: p, masks: m}}\ntask: segmentation\n"
        "architecture: {unet: {widths: [8, 16], depth: 1}}\ntrain: {epochs: 12, batch_size: 6, optimizer: {adamw: {lr: 0.01}}}\n",
        "s.yaml", registry,
    )  # fmt: skip
    configuration = sample(space, first_choice).configuration
    context = context_of(space, configuration)
    outcome = run_job(Job(configuration, cost_of(configuration.architecture, registry, context), context, "test_iou", 0, 0), registry)
    assert outcome.status == "complete"
    assert outcome.score > 0.8
