"""Networks of one architecture trained as one program: each comes to what it comes to alone, whatever becomes of the others."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas.building import build, build_recipe, cost_of
from nas.plugin import NetworkContext
from nas.recipe import Recipe
from nas.registry import Registry
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.study.jobs.materials import load_split, load_task
from nas.training.checkpoint import Checkpoint
from nas.training.course import Goal
from nas.training.fit import train
from nas.training.stacked import Member, train_together
from nas.training.stacked_tensor import Stacked
from nas.training.stacking import why_not_stacked
from nas.values.architecture import Configuration
from nas.values.outcome import Outcome

DIGITS = NetworkContext((1, 8, 8), 10, (10,))
STACKED = [
    *(f"staged: {{widths: [4, 8], depth: 1, block: {block}}}" for block in
      ("basic", "bottleneck", "preact_basic", "resnext", "se_basic", "convnext", "inverted_residual", "repvgg", "relu_only_preact")),
    *(f"staged: {{widths: [4, 8], depth: 2, shortcut: {shortcut}}}" for shortcut in
      ("none", "projection", "pool_projection", "gated", "dense", "scaled", "layer_scale", "rezero")),
    *(f"staged: {{widths: [4, 8], depth: 1, block: {{basic: {{norm: {norm}}}}}}}" for norm in ("{group: {groups: 4}}", "layer", "none")),
    "isotropic: {width: 8, depth: 2, stem: {patchify: {width: 8}}}",
    "isotropic: {width: 8, depth: 1, stem: {patchify: {size: 2}}, mixing: token_mixing, positions: none}",
    "mlp: {}",
]  # fmt: skip


def configuration_of(architecture: str, registry: Registry, **train_options: object) -> Configuration:
    train_section = ", ".join(f"{name}: {value}" for name, value in {"epochs": 2, "batch_size": 256, **train_options}.items())
    text = f"name: x\ndata: digits\narchitecture:\n  {architecture}\ntrain: {{{train_section}}}\n"
    return sample(parse_space(text, "x.yaml", registry), first_choice).configuration


def reason(architecture: str, registry: Registry) -> str:
    inputs = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    described = configuration_of(architecture, registry).architecture
    return why_not_stacked(lambda seed: build(described, registry, DIGITS, seed=seed), inputs, torch.arange(6), F.cross_entropy)


@pytest.mark.parametrize("architecture", STACKED)
def test_a_stack_has_the_outputs_gradients_and_buffers_of_each_network_alone(architecture: str, registry: Registry) -> None:
    assert reason(architecture, registry) == ""


MOVES = {
    "transpose": lambda x: x.transpose(1, -1),
    "transpose by name": lambda x: torch.transpose(x, dim0=0, dim1=2),
    "movedim": lambda x: x.movedim(1, -1),
    "movedim of several": lambda x: torch.movedim(x, (1, 2), (-1, 1)),
    "movedim of nothing": lambda x: x.mean().movedim(0, 0),
    "transpose of nothing": lambda x: x.mean().transpose(0, -1),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "permute by name": lambda x: torch.permute(x, dims=(3, 0, -2, 1)),
    "reshape": lambda x: x.reshape(x.shape[0], 2, -1),
    "reshape to an array's size": lambda x: x.reshape(np.int64(2), -1),
    "reshape of a list": lambda x: torch.reshape(x, [-1]),
    "view": lambda x: x.view(x.shape[0], -1),
    "flatten": lambda x: x.flatten(),
    "flatten pixels": lambda x: x.flatten(2, -1),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[2:]),
}


@pytest.mark.parametrize("channels", [True, False])
@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_what_moves_dimensions_of_a_stack_moves_those_of_each_network(move: Callable[[torch.Tensor], torch.Tensor], channels: bool) -> None:
    apart = torch.randn(3, 5, 4, 2, 6).unbind()
    stacked = Stacked(torch.cat(apart, 1), 3, channels=True) if channels else Stacked(torch.stack(apart), 3)
    for own, expected in zip(move(stacked).replicas(), map(move, apart), strict=True):
        torch.testing.assert_close(own, expected)


@pytest.mark.parametrize("given", ["", "weight", "bias", "weight bias"])
def test_a_stacks_layer_norm_is_each_networks_own(given: str) -> None:
    inputs, own = torch.randn(3, 5, 2, 4), {name: torch.randn(3, 4) for name in given.split()}
    found = F.layer_norm(Stacked(inputs, 3), (4,), **{name: Stacked(values, 3) for name, values in own.items()})
    for k, one in enumerate(found.replicas()):
        torch.testing.assert_close(one, F.layer_norm(inputs[k], (4,), **{name: values[k] for name, values in own.items()}))


@pytest.mark.parametrize(
    ("kernel", "padding", "is_last", "given_stride"), [(3, 1, True, 2), (1, 0, True, 1), (1, 1, False, 2)], ids=["3x3", "1x1", "padded 1x1"]
)
def test_a_groups_convolutions_have_their_channels_last_but_no_strided_pointwise_one(
    kernel: int, padding: int, is_last: bool, given_stride: int
) -> None:
    generator, given = torch.Generator().manual_seed(0), list[tuple[bool, int]]()
    features = torch.randn(5, 2, 4, 8, 8, generator=generator)
    weight = torch.randn(2, 3, 4, kernel, kernel, generator=generator).requires_grad_()

    def convolution(x: torch.Tensor, w: torch.Tensor, bias: None, stride: int, *rest: int) -> torch.Tensor:
        given.append((x.is_contiguous(memory_format=torch.channels_last), stride))
        return F.conv2d(x, w, bias, stride, *rest)

    found = Stacked.rules[torch.conv2d](convolution, Stacked.features(features), Stacked(weight, 2), None, 2, padding).replicas()
    assert given == [(is_last, given_stride)]
    for k in (0, 1):
        alone = F.conv2d(features[:, k], weight[k], None, 2, padding)
        assert torch.allclose(found[k], alone, atol=1e-5)
        gradients = [torch.autograd.grad(y.square().sum(), weight, retain_graph=True)[0][k] for y in (found[k], alone)]
        assert torch.allclose(*gradients, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shortcut", ["dropout", "stochastic_depth"])
def test_a_network_that_draws_random_numbers_is_not_stacked(shortcut: str, registry: Registry) -> None:
    assert "random numbers" in reason(f"staged: {{widths: [4, 8], depth: 1, shortcut: {shortcut}}}", registry)


class Reshaping(nn.Module):
    """Treats every channel of every example alike, as one batch: a stack has those of other networks between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3), nn.Linear(36, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.first(x)
        rows = found.view(found.shape[0] * found.shape[1], -1)
        return self.last(rows).view(found.shape[0], found.shape[1], -1).mean(1)


def test_a_network_that_merges_its_examples_with_its_channels_is_stacked_all_the_same() -> None:
    def make(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return Reshaping()

    assert why_not_stacked(make, torch.randn(6, 1, 8, 8), torch.arange(6), F.cross_entropy) == ""


class Choosing(nn.Linear):
    """Goes by what it computes, which differs from network to network."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = super().forward(x)
        return found if found.sum() > 0 else -found


class Hiding(nn.Linear):
    """Has values that torch does not know of, which a stack would share."""

    def __init__(self) -> None:
        super().__init__(4, 3)
        self.hidden = [self.weight.detach().clone()]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + F.linear(x, self.hidden[0].to(x.dtype))


class Single(nn.Linear):
    """Runs in one precision alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).mm(torch.eye(3))


@pytest.mark.parametrize(
    ("kind", "told"), [(lambda: Choosing(4, 3), "vmap"), (Hiding, "do not come to the same"), (lambda: Single(4, 3), "RuntimeError")]
)
def test_a_network_that_a_stack_would_get_wrong_is_found_out(kind: type[nn.Module], told: str) -> None:
    def make(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return kind()

    assert told in why_not_stacked(make, torch.randn(6, 4), torch.arange(6) % 3, F.cross_entropy)


def trained(
    configuration: Configuration, registry: Registry, seeds: Sequence[int], *, together: bool, recipes: Sequence[Recipe] = (),
    alike: bool = False, checkpoint: Checkpoint | None = None, on_epoch: Callable[[int], None] = lambda _epoch: None,
) -> tuple[list[Outcome], list[nn.Module]]:  # fmt: skip
    goal = Goal("test_accuracy", load_task(configuration.task, registry))
    networks: list[nn.Module] = [build(configuration.architecture, registry, DIGITS, seed=seed) for seed in seeds]
    cost = cost_of(configuration.architecture, registry, DIGITS)
    recipes = recipes or [build_recipe(configuration.train, registry)] * len(seeds)
    members = [
        Member(network, recipe, load_split(configuration.data, registry, seed, configuration.task), seed)
        for network, recipe, seed in zip(networks, recipes, seeds, strict=True)
    ]
    if together:
        return list(train_together(members, cost, goal, alike=alike, checkpoint=checkpoint, on_epoch=on_epoch)), networks
    return [train(m.network, m.recipe, m.split, cost, goal, seed=m.seed) for m in members], networks


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("optimizer", ["{sgd: {lr: 0.05}}", "{adamw: {lr: 0.01}}"])
def test_the_first_steps_are_those_of_each_training_alone(optimizer: str, alike: bool, registry: Registry) -> None:
    configuration = configuration_of(
        "staged: {widths: [4, 8], depth: 1}",
        registry,
        optimizer=optimizer,
        epochs=1,
        precision="64-true",
        gradient_clip_val=0.5,
        augment="[pad_crop]",
    )
    alone, apart = trained(configuration, registry, (1, 2, 3), together=False)
    grouped, stacked = trained(configuration, registry, (1, 2, 3), together=True, alike=alike)
    for one, other, own, shared in zip(alone, grouped, apart, stacked, strict=True):
        assert other.curves.keys() == one.curves.keys()
        for name, values in one.curves.items():
            assert other.curves[name] == pytest.approx(values, rel=1e-6), name  # the figures themselves are kept in float32
        for value, found in zip(own.state_dict().values(), shared.state_dict().values(), strict=True):
            torch.testing.assert_close(found, value, rtol=1e-10, atol=1e-12)


def test_each_network_is_left_with_the_values_it_was_scored_with(registry: Registry) -> None:
    configuration = configuration_of("staged: {widths: [4, 8], depth: 1}", registry, batch_size=64)
    outcomes, networks = trained(configuration, registry, (1, 2, 3), together=True)
    assert len({outcome.score for outcome in outcomes}) > 1
    for seed, outcome, network in zip((1, 2, 3), outcomes, networks, strict=True):
        test = load_split(configuration.data, registry, seed, configuration.task).test
        with torch.no_grad():
            answers = network.eval()(test.inputs).argmax(1)
        assert outcome.score == pytest.approx(float((answers == test.targets).float().mean()))


def test_one_that_diverges_leaves_the_others_as_they_were_bit_for_bit(registry: Registry) -> None:
    configuration = configuration_of("staged: {widths: [4, 8], depth: 1}", registry)
    recipe, lost = (
        build_recipe(configuration.train, registry),
        configuration_of("staged: {widths: [4, 8], depth: 1}", registry, optimizer="{sgd: {lr: 1.0e+30}}"),
    )
    wild = build_recipe(lost.train, registry)
    calm, networks = trained(configuration, registry, (1, 2, 3), together=True, recipes=(recipe, recipe, recipe))
    mixed, others = trained(configuration, registry, (1, 2, 3), together=True, recipes=(recipe, wild, recipe))
    assert mixed[1].failure.startswith("diverged")
    assert mixed[1].num_epochs == 1
    for k in (0, 2):
        assert replace(mixed[k], duration_s=0.0) == replace(calm[k], duration_s=0.0)
        assert all(torch.equal(a, b) for a, b in zip(networks[k].state_dict().values(), others[k].state_dict().values(), strict=True))


@pytest.mark.parametrize("alike", [False, True])
def test_a_stack_that_was_killed_goes_on_in_the_middle_to_the_same_bits(alike: bool, registry: Registry, tmp_path: Path) -> None:
    text, adam = "staged: {widths: [4], depth: 1}", "{adamw: {lr: 0.01}}"
    configuration = configuration_of(text, registry, optimizer=adam, epochs=3, schedule="cosine", augment="[pad_crop]")
    recipe = build_recipe(configuration.train, registry)
    wild = build_recipe(configuration_of(text, registry, optimizer="{sgd: {lr: 1.0e+30}}").train, registry)
    recipes = [recipe] * 3 if alike else [recipe, replace(recipe, optimizer=wild.optimizer), recipe]
    undisturbed, networks = trained(configuration, registry, (1, 2, 3), together=True, recipes=recipes, alike=alike)
    checkpoint, epochs = Checkpoint(tmp_path / "s0.checkpoint"), list[int]()

    def killed(epoch: int) -> None:
        epochs.append(epoch)
        if epoch == 2:
            raise ProcessLookupError

    with pytest.raises(ProcessLookupError):
        trained(configuration, registry, (1, 2, 3), together=True, recipes=recipes, alike=alike, checkpoint=checkpoint, on_epoch=killed)
    resumed, others = trained(
        configuration, registry, (1, 2, 3), together=True, recipes=recipes, alike=alike, checkpoint=checkpoint, on_epoch=epochs.append
    )
    assert epochs == [1, 2, 3]
    assert undisturbed[1].failure.startswith("diverged") is not alike
    for one, other, own, again in zip(undisturbed, resumed, networks, others, strict=True):
        assert repr(replace(other, duration_s=0.0)) == repr(replace(one, duration_s=0.0))
        pairs = zip(own.state_dict().values(), again.state_dict().values(), strict=True)
        assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)


def test_accuracies_are_distributed_as_those_of_trainings_alone(registry: Registry) -> None:
    from scipy import stats

    configuration = configuration_of("staged: {widths: [4], depth: 1}", registry, epochs=2, batch_size=64)
    seeds = range(8)
    alone = [outcome.score for outcome in trained(configuration, registry, seeds, together=False)[0]]
    grouped = [outcome.score for outcome in trained(configuration, registry, seeds, together=True)[0]]
    assert max(alone) - min(alone) > 0.05  # seeds matter here
    assert stats.ks_2samp(alone, grouped).pvalue > 0.2
    assert abs(sum(alone) - sum(grouped)) / len(alone) < 0.01
