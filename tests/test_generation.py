"""Adversarial training: the Fréchet distance against closed forms, and whose gradient reaches whom."""

import pytest
import torch

from nas.building import build
from nas.plugin import Data, NetworkContext
from nas.registry import Registry
from nas.study.jobs.materials import load_data, load_task
from nas.testing.subject import completed
from nas.values.architecture import Architecture, PluginNode

SMALL = (
    ("generator", PluginNode("generator", (("size", 2), ("widths", (4, 4))))),
    ("discriminator", PluginNode("discriminator", (("widths", (4, 4)),))),
    ("num_latent", 4),
)


def frechet(registry: Registry, made: torch.Tensor, real: torch.Tensor, features: str = "pixels") -> float:
    task = load_task(PluginNode("generation", (("features", features), ("chance", None), ("failure_score", None))), registry)
    outputs = torch.cat((made, torch.zeros(len(made), 3, *made.shape[2:])), dim=1)
    return task.figures(task.tally(outputs, real))["frechet"]


def test_the_distance_of_equal_pictures_is_zero_and_a_shift_counts_squared(registry: Registry) -> None:
    real = torch.randn(400, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    assert abs(frechet(registry, real, real)) < 1e-4
    assert abs(frechet(registry, real + 0.5, real) - 4 * 0.25) < 1e-3


def test_the_distance_of_scaled_pictures_is_that_of_their_deviations(registry: Registry) -> None:
    real = torch.randn(4000, 1, 1, 2, generator=torch.Generator().manual_seed(0))
    real = (real - real.mean(0)) / real.std(0, correction=0)
    # Each of two uncorrelated pixels, but for the sample's own small correlation: (2 - 1)².
    assert abs(frechet(registry, 2 * real, real) - 2) < 0.01


def test_the_features_of_digits_tell_digits_from_noise_of_the_same_pixel_moments(registry: Registry) -> None:
    pictures = load_data(PluginNode("digits"), registry).inputs
    assert isinstance(pictures, torch.Tensor)
    real = (pictures - pictures.mean()) / pictures.std()
    flat = real.flatten(1)
    spread = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
    noise = torch.randn(len(flat), 64, generator=torch.Generator().manual_seed(0)) @ (spread.S[:, None] * spread.Vh) / len(flat) ** 0.5
    made = (noise + flat.mean(0)).view_as(real)
    near = frechet(registry, made, real)
    assert near < 2
    half = torch.randperm(len(real), generator=torch.Generator().manual_seed(1))
    same = frechet(registry, real[half[:898]], real[half[898:1796]], "digits")
    assert frechet(registry, made, real, "digits") > 3 * same
    assert frechet(registry, real, real, "digits") < 1e-3


def test_the_features_of_digits_need_pictures_of_their_size(registry: Registry) -> None:
    task = load_task(PluginNode("generation", (("features", "digits"), ("chance", None), ("failure_score", None))), registry)
    pictures = torch.zeros(4, 1, 16, 16)
    with pytest.raises(ValueError, match=r"features of digits, which are \(1, 8, 8\), got \(1, 16, 16\); set `features: pixels`"):
        task.check(Data(pictures, pictures))


def test_each_network_is_reached_by_its_own_loss_alone(registry: Registry) -> None:
    node = completed(registry, "network", PluginNode("adversarial_pair", SMALL))
    network = build(Architecture(node), registry, NetworkContext((1, 8, 8), 4), seed=0).train()
    outputs = network(torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    real, made, fooling = outputs[:, 1:].mean((2, 3)).unbind(1)

    def reached(loss: torch.Tensor) -> set[str]:
        network.zero_grad()
        loss.sum().backward(retain_graph=True)
        return {name.partition(".")[0] for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}

    assert torch.allclose(made, fooling)
    assert reached(real) == reached(made) == {"discriminator"}
    assert reached(fooling) == {"generator"}
