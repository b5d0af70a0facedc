"""The generator and the discriminator: what resampling does on both paths, and that one trains the other."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from nas.building import build
from nas.errors import PluginError
from nas.plugin import Network, NetworkContext, Unit, UnitContext
from nas.registry import discover
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.testing.subject import Subject

REGISTRY = discover()


def network(text: str, context: NetworkContext, seed: int = 0) -> Network:
    space = parse_space(f"name: t\narchitecture: {text}\n", "t.yaml", REGISTRY)
    return build(sample(space, first_choice).configuration.architecture, REGISTRY, context, seed=seed)


def unit(block: str, shortcut: str, place: UnitContext) -> Unit:
    return Subject(REGISTRY, "block", block).unit_with(shortcut, place)


@pytest.mark.parametrize("shortcut", ["identity", "projection", "pool_projection", "gated", "rezero", "dense"])
def test_a_raised_resolution_repeats_what_the_shortcut_carries_at_every_pixel(shortcut: str) -> None:
    place = UnitContext(8, 8 if shortcut == "rezero" else 12, upsample=2, index=1, num_units=4)
    built = unit("generator", shortcut, place)
    x = torch.randn(2, 8, 5, 5)
    carried = built.shortcut(x, x)
    corners = [carried[:, :, i::2, j::2] for i in range(2) for j in range(2)]
    assert carried.shape[-2:] == (10, 10)
    assert all(torch.equal(corner, corners[0]) for corner in corners)


def test_identity_on_both_sides_of_a_raising_unit_is_the_enlarged_picture_and_zeros() -> None:
    built = unit("generator", "identity", UnitContext(4, 6, upsample=3, index=1, num_units=4))
    x = torch.randn(2, 4, 3, 3)
    assert torch.equal(built.shortcut(x, x)[:, 1:5], F.interpolate(x, scale_factor=3, mode="nearest"))
    assert not built.shortcut(x, x)[:, (0, 5)].any()


def test_a_generator_without_shortcuts_has_no_way_round_its_branches() -> None:
    z = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    varies = {}
    for shortcut in ("none", "identity", "{projection: {norm: none}}"):
        built = network(f"{{generator: {{widths: [8, 8], size: 2, shortcut: {shortcut}}}}}", NetworkContext((6,), 1)).eval()
        for _, each in built.units():
            for layer in each.block.last_layers():
                for parameter in layer.parameters():
                    torch.nn.init.zeros_(parameter)
        varies[shortcut] = bool(built(z).std(dim=0).max() > 1e-6)
    assert varies == {"none": False, "identity": True, "{projection: {norm: none}}": True}


def test_the_first_unit_of_a_discriminator_reads_the_picture_as_it_is() -> None:
    built = network("{discriminator: {widths: [8, 8]}}", NetworkContext((1, 8, 8), 1))
    first, second = (each.block for _, each in built.units())
    picture = -torch.rand(1, 1, 8, 8)
    assert first.branch(picture).std() > 0
    assert torch.equal(second.branch(-torch.rand(1, 8, 4, 4)), second.branch(torch.zeros(1, 8, 4, 4)))


@pytest.mark.parametrize("upsample", [[2, 2], [4, 1], [1, 3]])
def test_upsample_says_how_large_the_picture_is(upsample: list[int]) -> None:
    text = f"{{generator: {{size: 3, widths: [4, 4], depth: 2, upsample: {upsample}}}}}"
    side = 3 * upsample[0] * upsample[1]
    assert network(text, NetworkContext((5, 2, 1), 2))(torch.randn(2, 5, 2, 1)).shape == (2, 2, side, side)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{generator: {widths: [4, 4], upsample: [2]}}", "upsample lists 1 value for 2 stages"),
        ("{discriminator: {widths: [4, 4], strides: [2, 2, 2]}}", "strides lists 3 values for 2 stages"),
        ("{generator: {block: bottleneck}}", "block 'bottleneck' cannot raise the resolution"),
    ],
)
def test_what_does_not_fit_is_refused(text: str, reason: str) -> None:
    with pytest.raises(PluginError, match=reason):
        network(text, NetworkContext((8, 8, 8), 1))


def test_a_few_adversarial_steps_teach_the_generator_the_mean_of_the_pictures() -> None:
    """The shortest such training there is: pictures of one grey level, ten dozen steps, the hinge loss of both papers."""
    torch.manual_seed(0)
    generator = network("{generator: {size: 2, widths: [8, 8]}}", NetworkContext((4,), 1)).train()
    discriminator = network("{discriminator: {widths: [8, 8]}}", NetworkContext((1, 8, 8), 1)).train()
    steps: tuple[Any, Any] = tuple(torch.optim.Adam(n.parameters(), 2e-3, betas=(0.0, 0.9)) for n in (generator, discriminator))
    real = torch.full((32, 1, 8, 8), 0.5)
    before = (generator(torch.randn(64, 4)).mean() - 0.5).abs().item()
    for _ in range(120):
        fake = generator(torch.randn(32, 4))
        steps[1].zero_grad()
        (F.relu(1 - discriminator(real)).mean() + F.relu(1 + discriminator(fake.detach())).mean()).backward()
        steps[1].step()
        steps[0].zero_grad()
        (-discriminator(fake).mean()).backward()
        steps[0].step()
    assert before > 0.3
    assert (generator(torch.randn(64, 4)).mean() - 0.5).abs().item() < before / 2
