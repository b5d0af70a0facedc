"""Trainings, groups and probes on a pretended GPU: nothing mixes devices, no step waits for it, and the figures are those of a CPU."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from pretended_gpu import GPU, PretendedGPU, pretended_gpu
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.strategies import SingleDeviceStrategy

from nas.building import build, build_recipe, make
from nas.plugin import Augmentation, NetworkContext, moved
from nas.registry import discover
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.study.jobs.job import Job
from nas.study.jobs.materials import context_of, load_task, ready_data
from nas.study.jobs.subjects import subject_of
from nas.testing.subject import completed
from nas.training import data, fit, loading
from nas.training.checkpoint import Checkpoint
from nas.training.course import Goal
from nas.training.data import split_data
from nas.training.stacked import Member, train_together
from nas.values.architecture import Configuration, PluginNode
from nas.values.outcome import Cost, Outcome

REGISTRY = discover()
PROBES = REGISTRY.names("probe")
SHORT = "staged: {widths: [4, 8], depth: 1, shortcut: identity}"
CHANGED = "augment: [flip, {pad_crop: {padding: 1}}, {cutout: {size: 2}}]"
SCENES = "data: {noisy_scenes: {count: 60, size: 16, digits: 1, digit_size: 8}}\narchitecture: {unet: {widths: [4, 8]}}"
SPACES = {
    "classes": f"architecture: {{{SHORT}}}\ntrain: {{label_smoothing: 0.1, gradient_clip_val: 1.0, {CHANGED}}}",
    "channels last": f"architecture: {{{SHORT}}}\ntrain: {{memory_format: channels_last}}",
    "what is drawn": "architecture: {staged: {widths: [4, 8], depth: 1, shortcut: {stochastic_depth: {path: dropout}}}}",
    "attention": "architecture: {isotropic: {width: 8, depth: 1, stem: {patchify: {width: 8}}}}\ntrain: {optimizer: adamw}",
    "numbers": "task: regression\ndata: {numpy: {inputs: INPUTS, targets: NUMBERS}}\narchitecture: {mlp: {}}",
    "masks": f"task: segmentation\n{SCENES}\ntrain: {{{CHANGED}}}",
    "masks by dice": f"task: {{segmentation: {{loss: dice}}}}\n{SCENES}",
    "pictures": "task: generation\ndata: digit_pictures\narchitecture: adversarial_pair\ntrain: {optimizer: adamw}",
}
STACKED = ("classes", "attention", "numbers", "masks")


class _OnGPU(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None:
        pass

    def setup(self, trainer: pl.Trainer) -> None:
        pass


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendedGPU]:
    """Lightning trains on the pretended GPU, and torch.cuda answers what the framework asks it."""
    trainer = pl.Trainer
    monkeypatch.setattr(
        fit.pl, "Trainer", lambda **options: trainer(**{**options, "strategy": SingleDeviceStrategy(GPU, accelerator=_OnGPU())})
    )
    monkeypatch.setattr(data, "_resident", data._Resident())
    answers: dict[str, Any] = {
        "mem_get_info": (2**34, 2**34), "memory_reserved": 0, "get_per_process_memory_fraction": 1.0,
        "get_rng_state": torch.zeros(1), "set_rng_state": None,
    }  # fmt: skip
    for name, answer in answers.items():
        monkeypatch.setattr(torch.cuda, name, lambda *_args, answer=answer: answer, raising=False)
    with pretended_gpu() as pretended:
        yield pretended


def member(text: str, folder: Path, *, seed: int = 1, **options: object) -> tuple[Member, Goal, Configuration]:
    """Return a network of a space with its split and its recipe of two epochs, and what it is trained for."""
    drawn = np.random.default_rng(0)
    for name, width in (("INPUTS", 6), ("NUMBERS", 1)):
        np.save(folder / f"{name}.npy", drawn.normal(size=(60, width)).astype(np.float32))
        text = text.replace(name, str(folder / f"{name}.npy"))
    space = parse_space(f"name: x\n{text}\n", "x.yaml", REGISTRY)
    configuration = sample(space, first_choice).configuration
    recipe = replace(build_recipe(configuration.train, REGISTRY), **{"epochs": 2, **options})  # type: ignore[arg-type]
    task = load_task(configuration.task, REGISTRY)
    network = build(configuration.architecture, REGISTRY, context_of(space, configuration), seed=seed)
    split = split_data(ready_data(configuration.data, REGISTRY, configuration.task).limited(150), seed=seed)
    return Member(network, recipe, split, seed), Goal(f"test_{task.metrics[0].name}", task), configuration


def trained(text: str, folder: Path, *, checkpoint: Checkpoint | None = None, **options: object) -> Outcome:
    one, goal, _ = member(text, folder, **options)
    return fit.train(one.network, one.recipe, one.split, Cost(1, 1, 1), goal, seed=one.seed, checkpoint=checkpoint)


def trained_together(text: str, folder: Path, **options: object) -> tuple[Outcome, ...]:
    found = [member(text, folder, seed=seed, **options) for seed in (1, 2, 3)]
    return train_together([one for one, _, _ in found], Cost(1, 1, 1), found[0][1], alike=True)


def waits_a_step(train: Callable[[int], object], gpu: PretendedGPU, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Return what a training with many short batches waits for more often than one with few."""
    found = []
    for batch in (40, 10):
        monkeypatch.setattr(fit, "EVALUATION_BATCH", batch)
        gpu.waits.clear()
        train(batch)
        found.append(Counter(gpu.waits))
    return found[1] - found[0]


@pytest.mark.parametrize("space", SPACES)
def test_no_step_of_a_training_waits_for_the_gpu(space: str, gpu: PretendedGPU, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not waits_a_step(lambda batch: trained(SPACES[space], tmp_path, batch_size=batch), gpu, monkeypatch)


@pytest.mark.parametrize("space", STACKED)
def test_no_step_of_a_group_waits_for_the_gpu(space: str, gpu: PretendedGPU, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not waits_a_step(lambda batch: trained_together(SPACES[space], tmp_path, batch_size=batch), gpu, monkeypatch)


def test_no_step_waits_where_the_examples_have_no_room_on_the_gpu(
    gpu: PretendedGPU, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (1000, 2**34))
    assert not waits_a_step(lambda batch: trained(SPACES["classes"], tmp_path, batch_size=batch), gpu, monkeypatch)


class Slow(Augmentation):
    """Brings what it drew to the device the ordinary way."""

    def apply(self, inputs: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return inputs + torch.rand(len(inputs), 1, 1, 1, generator=generator).to(inputs.device)


def test_a_step_that_waits_for_the_gpu_would_be_seen(gpu: PretendedGPU, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = waits_a_step(lambda batch: trained(SPACES["classes"], tmp_path, batch_size=batch, augment=(Slow,)), gpu, monkeypatch)
    assert found.startswith("aten._to_copy.default at ")


def test_what_a_gpu_refuses_or_waits_for_the_pretended_one_does_too(gpu: PretendedGPU) -> None:
    there, here = torch.arange(3.0, device="cuda"), torch.ones(3)
    assert there.is_cuda
    with pytest.raises(RuntimeError, match="mixes devices"):
        there + here
    assert not gpu.waits
    asked = [there.sum().item, there.tolist, there.nonzero, there.cpu, lambda: there[there > 1], lambda: there.new_tensor(1)]
    for ask in (*asked, lambda: here.to("cuda")):
        gpu.waits.clear()
        ask()
        assert gpu.waits
    gpu.waits.clear()
    assert moved(here, there.device).is_cuda
    assert not gpu.waits


@pytest.mark.parametrize("space", ["classes", "masks"])
def test_a_gpu_comes_to_what_a_cpu_comes_to(space: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    alone, together = trained(SPACES[space], tmp_path), trained_together(SPACES[space], tmp_path)
    request.getfixturevalue("gpu")
    there = (trained(SPACES[space], tmp_path), *trained_together(SPACES[space], tmp_path))
    for own, other in zip((alone, *together), there, strict=True):
        assert (own.device, other.device) == ("cpu", "cuda:0")
        assert other.curves["train_loss"] == pytest.approx(own.curves["train_loss"], rel=1e-4)
        assert other.metrics.keys() == own.metrics.keys()


class Killed(Exception):
    """What ends a training in its midst."""


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("space", [SPACES["classes"], SPACES["attention"]], ids=["sgd", "adamw"])
def test_a_training_on_a_gpu_goes_on_from_its_checkpoint(space: str, tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "kept")

    def killed(epoch: int, _value: float) -> bool:
        if epoch == 2:
            raise Killed
        return False

    whole = trained(space, tmp_path, epochs=3)
    one, goal, _ = member(space, tmp_path, epochs=3)
    with pytest.raises(Killed):
        fit.train(one.network, one.recipe, one.split, Cost(1, 1, 1), replace(goal, should_stop=killed), seed=1, checkpoint=kept)
    went_on = trained(space, tmp_path, checkpoint=kept, epochs=3)
    assert replace(went_on, duration_s=0.0) == replace(whole, duration_s=0.0)


def test_examples_lie_on_the_gpu_once_for_all_trainings_and_not_where_they_have_no_room(
    gpu: PretendedGPU, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one, _, _), (other, _, _) = (member(SPACES["classes"], tmp_path, seed=seed) for seed in (1, 2))
    split = replace(other.split, train=replace(other.split.train, source=one.split.train.source))
    first, second = one.split.train.to(GPU), split.train.to(GPU)
    assert first.source is second.source is one.split.val.to(GPU).source
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda _device: 1e-6)
    assert other.split.train.to(GPU).source.device.type == "cpu"
    inputs, targets = other.split.train.to(GPU).take(torch.arange(4))
    assert inputs.is_cuda
    assert targets.is_cuda


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_mixes_no_devices(probe: str, tmp_path: Path) -> None:
    one, _, configuration = member(SPACES["classes"].replace("depth: 1", "depth: 2"), tmp_path)
    context = NetworkContext((1, 8, 8), 10, (10,))
    built = make("probe", completed(REGISTRY, "probe", PluginNode(probe)), REGISTRY)
    trained_one = Job(configuration, Cost(1, 1, 1), context, "test_accuracy", 1, 1)
    subject = subject_of(trained_one, REGISTRY, one.network, one.split, {}, device="cuda:0")
    reading = built.measure(subject)
    assert reading.figures
    assert not any(isinstance(figure, torch.Tensor) for figure in reading.figures.values())


@pytest.mark.parametrize("train", [trained, trained_together])
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_an_epochs_steps_in_one_call_come_to_what_they_come_to_call_by_call(
    train: Callable[..., Any], precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = train(SPACES["attention"], tmp_path, precision=precision, batch_size=30)
    monkeypatch.setattr(loading, "SingleDeviceStrategy", ())
    apart = train(SPACES["attention"], tmp_path, precision=precision, batch_size=30)
    for one, other in zip(*(found if isinstance(found, tuple) else (found,) for found in (at_once, apart)), strict=True):
        assert one.curves == other.curves


def test_probes_of_an_apple_gpu_measure_on_the_cpu(tmp_path: Path) -> None:
    one, _, configuration = member(SPACES["classes"], tmp_path)
    trained_one = Job(configuration, Cost(1, 1, 1), NetworkContext((1, 8, 8), 10, (10,)), "test_accuracy", 1, 1)
    subject = subject_of(trained_one, REGISTRY, one.network, one.split, {}, device="mps:0")
    assert subject.parts["val"].inputs.double().device == next(subject.network().parameters()).device == torch.device("cpu")
