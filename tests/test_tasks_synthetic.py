"""Synthetic data sets with a known answer, and the steps of optimizers."""

import pytest
import torch

from nas.building import make
from nas.plugin import Data
from nas.registry import Registry
from nas.sampling import first_choice, sample
from nas.space import load_space, parse_space
from nas.study.jobs.job import Job, run_job
from nas.study.jobs.materials import context_of
from nas.training.data import split_data
from nas.values.architecture import PluginNode, Value
from nas.values.outcome import Cost, Outcome


def load(registry: Registry, name: str, **parameters: Value) -> Data:
    data: Data = make("data", PluginNode(name, tuple(parameters.items())), registry).load()
    return data


def trained(registry: Registry, train: str, data: str = "{mixture: {dimension: 4, count: 200}}") -> Outcome:
    text = f"data: {data}\narchitecture: {{mlp: {{widths: [16], depth: 1}}}}\ntrain: {{epochs: 5, batch_size: 32, {train}}}\n"
    space = parse_space(text, "s.yaml", registry)
    configuration = sample(space, first_choice).configuration
    return run_job(Job(configuration, Cost(1, 1, 1), context_of(space, configuration), "val_r2", 1, 1), registry)


def test_a_scene_without_noise_shows_its_mask(registry: Registry) -> None:
    data = load(registry, "noisy_scenes", count=20, noise=0.0)
    assert torch.equal(data.targets.bool(), data.inputs[:, 0] > 0.4)
    assert data.classes == ("background", "digit")


def test_scenes_by_digit_have_a_class_for_each(registry: Registry) -> None:
    data = load(registry, "noisy_scenes", count=100, classes="digits")
    assert data.num_classes == 11
    assert set(data.targets.unique().tolist()) == set(range(11))


def test_noise_moves_no_digit(registry: Registry) -> None:
    still, noisy = (load(registry, "noisy_scenes", count=10, noise=noise) for noise in (0.0, 1.0))
    assert torch.equal(still.targets, noisy.targets)
    assert float((noisy.inputs - still.inputs).std()) == pytest.approx(1.0, abs=0.05)


def test_a_mixture_runs_from_a_function_of_variance_one_to_the_identity(registry: Registry) -> None:
    identity, half, other = (load(registry, "mixture", alpha=alpha, count=2000) for alpha in (1.0, 0.5, 0.0))
    assert torch.equal(identity.targets, identity.inputs)
    assert torch.allclose(half.targets, (identity.targets + other.targets) / 2, atol=1e-6)
    assert float(other.targets.var()) == pytest.approx(1.0, abs=0.1)


def test_the_other_function_of_a_mixture_does_not_depend_on_the_inputs_drawn(registry: Registry) -> None:
    first = load(registry, "mixture", alpha=0.0, count=500, seed=1)
    again = make("data", PluginNode("mixture", (("alpha", 0.0), ("seed", 2))), registry)
    assert torch.allclose(again._other(first.inputs), first.targets)


def test_standardised_the_identity_stays_the_identity(registry: Registry) -> None:
    split = split_data(load(registry, "identity_map"), seed=3)
    for part in (split.train, split.val, split.test):
        assert torch.equal(part.inputs, part.targets)


def test_the_shipped_spaces_of_the_tasks_can_be_read(registry: Registry) -> None:
    from nas.paths import shipped

    for name, task in (("segmentation", "segmentation"), ("regression", "regression")):
        space = load_space(shipped("search_spaces") / f"{name}.yaml", registry)
        assert space.task.name == task
        assert space.measure is not None


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_the_fused_step_is_taken_where_it_exists(registry: Registry, name: str) -> None:
    optimizer = make("optimizer", PluginNode(name), registry)
    floating = torch.nn.Linear(2, 2)
    assert optimizer.build(floating.parameters()).param_groups[0]["fused"]
    meta = torch.nn.Linear(2, 2, device="meta")
    assert not optimizer.build(meta.parameters()).param_groups[0]["fused"]


def test_gradients_are_clipped_under_mixed_precision_too(registry: Registry) -> None:
    """Lightning itself refuses to clip the gradients of a fused optimizer there."""
    free = trained(registry, "precision: bf16-mixed")
    clipped = trained(registry, "precision: bf16-mixed, gradient_clip_val: 0.001")
    assert clipped.curves["train_loss"][-1] > free.curves["train_loss"][-1]
