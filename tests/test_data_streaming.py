"""Pictures that are decoded as a training goes: the same batches, the same training, as from memory."""

import gc
import multiprocessing
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.building import build, build_recipe, cost_of
from nas.errors import UserError
from nas.plugin import Pictures
from nas.registry import Registry
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.study.jobs.materials import context_of, load_data, load_task, ready_data
from nas.training import data as training_data
from nas.training import decoding, fit
from nas.training.course import Goal, OnStep
from nas.training.data import Batches, Split, split_data
from nas.training.fit import train
from nas.training.loading import loader
from nas.values.architecture import PluginNode
from nas.values.outcome import Outcome


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    load_data.cache_clear()
    ready_data.cache_clear()
    generator = np.random.default_rng(0)
    for k, name in enumerate(("dark", "bright")):
        (tmp_path / "p" / name).mkdir(parents=True)
        for i in range(40):
            pixels = generator.integers(0, 110, (9, 11, 3)) + 80 * k
            Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "p" / name / f"{i}.png")
    return tmp_path / "p"


def split(folder: Path, registry: Registry, *, streaming: bool) -> Split:
    node = PluginNode("folder", (("path", str(folder)), ("size", 8), ("streaming", streaming)))
    data = ready_data(node, registry)
    assert isinstance(data.inputs, Pictures) == streaming
    return split_data(data, seed=1)


def test_streamed_batches_are_those_from_memory_bit_for_bit(pictures: Path, registry: Registry) -> None:
    kept, streamed = (split(pictures, registry, streaming=streaming).train for streaming in (False, True))
    first = [kept.take(batch) for batch in loader(kept, Batches(len(kept), 16, seed=5))]
    for processes in (0, 2):
        batches = loader(streamed, Batches(len(streamed), 16, seed=5), processes=processes)
        second = [streamed.take(batch) for batch in batches]
        assert len(first) == len(second) == 3
        for (inputs, targets), (more, others) in zip(first, second, strict=True):
            assert torch.equal(inputs, more)
            assert torch.equal(targets, others)


def test_normalisation_by_a_sample_is_the_same_from_memory_and_from_a_stream(
    pictures: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = split(pictures, registry, streaming=False).train
    monkeypatch.setattr(training_data, "NORMALISED_BY", 20)
    kept, streamed = (split(pictures, registry, streaming=streaming).train for streaming in (False, True))
    assert torch.equal(kept.mean, streamed.mean)
    assert torch.equal(kept.std, streamed.std)
    assert not torch.equal(kept.mean, whole.mean)


def test_training_pictures_come_out_with_mean_zero_and_deviation_one(pictures: Path, registry: Registry) -> None:
    inputs = split(pictures, registry, streaming=False).train.inputs
    assert torch.allclose(inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(inputs.std((0, 2, 3)), torch.ones(3), atol=1e-4)


def trained(folder: Path, registry: Registry, *, streaming: bool, on_step: OnStep = lambda _step: None) -> Outcome:
    data = f"{{folder: {{path: {folder}, size: 8, streaming: {str(streaming).lower()}}}}}"
    text = f"data: {data}\narchitecture: {{staged: {{widths: [4, 8], depth: 1}}}}\ntrain: {{epochs: 2, batch_size: 16, augment: [flip]}}\n"
    space = parse_space(text, "stream.yaml", registry)
    decided = sample(space, first_choice).configuration
    context = context_of(space, decided)
    network = build(decided.architecture, registry, context, seed=2)
    goal = Goal("test_accuracy", load_task(decided.task, registry), on_step=on_step)
    recipe = build_recipe(decided.train, registry)
    parts = split(folder, registry, streaming=streaming)
    return replace(train(network, recipe, parts, cost_of(decided.architecture, registry, context), goal, seed=2), duration_s=0.0)


def test_a_streamed_training_gives_the_numbers_of_one_from_memory(pictures: Path, registry: Registry) -> None:
    kept = trained(pictures, registry, streaming=False)
    assert kept.metrics["test_accuracy"] > 0.5
    assert trained(pictures, registry, streaming=True) == kept


@pytest.mark.parametrize("breaks", [False, True])
def test_the_processes_that_decode_end_with_their_training(
    pictures: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch, breaks: bool
) -> None:
    seen = list[int]()

    def on_step(_step: int) -> None:
        seen.append(len(multiprocessing.active_children()))
        if breaks:
            raise RuntimeError("this step breaks")

    monkeypatch.setattr(fit, "loader", partial(loader, processes=1))
    before = len(multiprocessing.active_children())
    gc.disable()
    try:
        with pytest.raises(RuntimeError, match="breaks") if breaks else nullcontext():
            trained(pictures, registry, streaming=True, on_step=on_step)
        assert len(multiprocessing.active_children()) == before < seen[0]
    finally:
        gc.enable()


def test_what_does_not_fit_into_memory_is_streamed_unasked(pictures: Path, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    node = PluginNode("folder", (("path", str(pictures)), ("size", 8)))
    assert not isinstance(ready_data(node, registry).inputs, Pictures)
    load_data.cache_clear()
    ready_data.cache_clear()
    monkeypatch.setattr(decoding, "free_memory", lambda: 2.0 * 80 * 3 * 8 * 8)
    assert isinstance(ready_data(node, registry).inputs, Pictures)


def test_a_picture_that_vanishes_while_it_is_streamed_is_named(pictures: Path, registry: Registry) -> None:
    streamed = split(pictures, registry, streaming=True).train
    (pictures / "dark" / "7.png").unlink()
    with pytest.raises(UserError, match=r"dark/7\.png: cannot be read"):
        streamed.source[torch.arange(80)]


@pytest.mark.parametrize("processes", [0, 1])
def test_a_picture_that_breaks_while_it_is_streamed_is_named_in_one_line(pictures: Path, registry: Registry, processes: int) -> None:
    part = split(pictures, registry, streaming=True).train
    (pictures / "dark" / "3.png").write_bytes(b"no picture")
    (pictures / "dark" / "4.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"^\S+/dark/[34]\.png: not a picture that can be decoded .*; mend or remove it$"):
        for _ in loader(part, torch.arange(len(part)).split(8), processes=processes):
            pass
