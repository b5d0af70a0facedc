"""Adversarial training: the Fréchet distance against closed forms, and whose gradient reaches whom."""

import torch

from nas.building import build
from nas.plugin import NetworkContext
from nas.registry import Registry
from nas.study.materials import load_task
from nas.testing.subject import completed
from nas.values.architecture import Architecture, PluginNode

SMALL = (
    ("generator", PluginNode("generator", (("size", 2), ("widths", (4, 4))))),
    ("discriminator", PluginNode("discriminator", (("widths", (4, 4)),))),
    ("num_latent", 4),
)


def frechet(registry: Registry, made: torch.Tensor, real: torch.Tensor) -> float:
    task = load_task(PluginNode("generation", (("chance", None), ("failure_score", None))), registry)
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
