"""`nas init`: from a folder of pictures to a space that is checked and searched."""

import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.authoring.starting import Budget

Run = Callable[..., subprocess.CompletedProcess[str]]


def pictures(folder: Path, sizes: list[tuple[int, int]]) -> None:
    noise = np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 200)):
        (folder / name).mkdir(parents=True)
        for i, (width, height) in enumerate(sizes):
            drawn = np.clip(noise.normal(level, 20, (height, width, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(drawn).save(folder / name / f"{i}.png")


def test_a_space_is_written_for_a_folder_and_can_be_checked_as_it_stands(nas_command: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "My pictures", [(120, 90), (80, 100), (90, 90)] * 4)
    done = nas_command("init", "My pictures")
    assert done.returncode == 0, done.stderr
    assert 'Wrote my-pictures.yaml with `data: {folder: {path: "My pictures", size: 32}}`' in done.stdout
    assert "24 examples of 3×32×32 in 2 classes" in done.stdout
    assert "14 examples: 2 steps an epoch, 300 in all" in (tmp_path / "my-pictures.yaml").read_text()
    assert (tmp_path / "space.schema.json").is_file()
    checked = nas_command("check", "my-pictures.yaml", "--samples", "2")
    assert checked.returncode == 0, checked.stderr
    assert "measured: identity against none" in " ".join(checked.stdout.replace("│", " ").split())


def test_vectors_get_a_space_of_fully_connected_networks(nas_command: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "table.npz", inputs=np.random.default_rng(0).normal(size=(40, 6)), targets=np.arange(40) % 2)
    done = nas_command("init", "table.npz")
    assert done.returncode == 0, done.stderr
    checked = nas_command("check", "table.yaml", "--samples", "2")
    assert checked.returncode == 0, checked.stderr
    assert "measured: identity against none" in checked.stdout
    assert "4 to 12 layers" in (tmp_path / "table.yaml").read_text()


@pytest.mark.parametrize("num_train", [2, 14, 64, 65, 180, 500, 1077, 2000, 20_000, 50_000, 1_300_000])
def test_whatever_the_number_of_examples_a_training_has_steps_enough(num_train: int) -> None:
    budget = Budget.of(num_train)
    steps = math.ceil(num_train / budget.batch_size)
    assert steps * budget.epochs >= 300
    assert budget.epochs >= 10
    assert steps * (budget.epochs - 1) < 300 or budget.epochs == 10, "and no epoch more than that takes"


def test_fewer_examples_have_smaller_batches_and_smaller_learning_rates() -> None:
    few, many = Budget.of(180), Budget.of(50_000)
    assert (few.batch_size, few.epochs, few.lr) == (16, 25, [0.007, 0.05])
    assert (many.batch_size, many.epochs, many.lr) == (128, 10, [0.06, 0.4])


def test_nothing_is_written_over(nas_command: Run, tmp_path: Path) -> None:
    assert nas_command("init").returncode == 0
    again = nas_command("init")
    assert again.returncode == 2
    assert "digits.yaml is there already" in again.stderr


@pytest.mark.parametrize(
    ("source", "message"),
    [("nowhere", "there is no nowhere"), ("empty", "holds no pictures"), ("a.txt", "is no data"), ("a.npy", "numpy.savez")],
)
def test_what_is_no_data_is_said_and_leaves_no_file(nas_command: Run, tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").touch()
    (tmp_path / "a.npy").touch()
    done = nas_command("init", source)
    assert done.returncode == 2
    assert message in done.stderr
    assert not list(tmp_path.glob("*.yaml"))


def test_a_damaged_picture_is_named_before_anything_is_written(nas_command: Run, tmp_path: Path) -> None:
    pictures(tmp_path / "p", [(16, 16)] * 6)
    (tmp_path / "p" / "dark" / "3.png").write_bytes(b"no picture")
    done = nas_command("init", "p")
    assert done.returncode == 2
    assert str(Path("dark") / "3.png") in done.stderr
    assert not list(tmp_path.glob("*.yaml"))
