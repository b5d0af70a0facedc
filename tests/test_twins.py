"""Twins on equal footing: what the networks of one replicate share is equal bit for bit, whatever shortcut they have."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from nas.building import build, build_recipe, cost_of
from nas.plugin import Block, Data, NetworkContext
from nas.registry import discover
from nas.sampling import first_choice, sample
from nas.space import Space, parse_space
from nas.study.jobs.materials import load_task
from nas.training.augmenting import Augmenter
from nas.training.course import Goal
from nas.training.data import Batches, split_data
from nas.training.fit import train
from nas.values.seeds import derive

REGISTRY = discover()
CONTEXT = NetworkContext((3, 8, 8), 4)
SPACE = """\
architecture: {staged: {widths: [4, 8], depth: 1, block: %s, shortcut: %s}}
train: {epochs: 2, batch_size: 16, augment: [flip, {pad_crop: {padding: 1}}, {cutout: {size: 3}}]}
"""
BLOCKS = ("basic", "preact_basic", "repvgg")


def accepted(block: str) -> tuple[str, ...]:
    """The shortcuts that a block declares it runs with, without those that cannot be named alone since a parameter has no default."""
    declared = cast(type[Block], REGISTRY.find("block", block).cls).shortcuts or REGISTRY.names("shortcut")
    return tuple(name for name in declared if not any(p.required for p in REGISTRY.find("shortcut", name).parameters))


def space_of(block: str, shortcut: str) -> Space:
    return parse_space(SPACE % (block, shortcut), "twins.yaml", REGISTRY)


@cache
def start(block: str, shortcut: str) -> dict[str, Tensor]:
    architecture = sample(space_of(block, shortcut), first_choice).configuration.architecture
    return dict(build(architecture, REGISTRY, CONTEXT, seed=5).named_parameters())


def test_the_default_block_is_tried_with_every_shipped_shortcut() -> None:
    assert accepted("basic") == tuple(REGISTRY.names("shortcut"))
    assert len(accepted("basic")) >= 11
    assert accepted("repvgg") == ("none", "identity", "projection", "same_shape")


@pytest.mark.parametrize("block", BLOCKS)
def test_every_pair_of_shortcuts_starts_from_equal_shared_tensors(block: str) -> None:
    for one, other in itertools.combinations(accepted(block), 2):
        first, second = start(block, one), start(block, other)
        # A layer is shared where all its tensors have equal shapes: a bias scales with its weight's inputs.
        common = first.keys() & second.keys()
        unlike = {path.rpartition(".")[0] for path in common if first[path].shape != second[path].shape}
        shared = [path for path in common if path.rpartition(".")[0] not in unlike]
        assert len(shared) >= 6, (one, other)
        for path in shared:
            assert torch.equal(first[path], second[path]), (one, other, path)


def pictures() -> Data:
    made = torch.Generator().manual_seed(3)
    return Data(torch.rand(100, 3, 8, 8, generator=made), torch.arange(100) % 4, ("a", "b", "c", "d"))


def seen(shortcut: str, *, seed: int = 1, block: str = "basic", watch: Callable[[nn.Module], Any] = lambda _: None) -> Tensor:
    """Train, and return every input that the network was given to learn from, in order, as it was augmented."""
    decided = sample(space_of(block, shortcut), first_choice).configuration
    network = build(decided.architecture, REGISTRY, CONTEXT, seed=seed)
    inputs: list[Tensor] = []
    network.register_forward_pre_hook(lambda module, given: inputs.append(given[0].clone()) if module.training else None)
    watch(network)
    goal = Goal("val_accuracy", load_task(decided.task, REGISTRY))
    cost = cost_of(decided.architecture, REGISTRY, CONTEXT)
    train(network, build_recipe(decided.train, REGISTRY), split_data(pictures(), seed=1), cost, goal, seed=seed)
    return torch.cat(inputs)


@cache
def plain(seed: int = 1) -> Tensor:
    return seen("none", seed=seed)


@pytest.mark.parametrize("shortcut", [name for name in accepted("basic") if name != "none"])
def test_every_arm_learns_from_the_same_pictures_in_the_same_order_changed_in_the_same_way(shortcut: str) -> None:
    assert len(plain()) == 2 * 60
    assert torch.equal(seen(shortcut), plain())


def test_draws_of_dropout_move_neither_order_nor_augmentation() -> None:
    drawn: list[Tensor] = []

    def more(network: nn.Module) -> None:
        network.register_forward_hook(lambda *_: drawn.append(torch.rand(7)))

    assert torch.equal(seen("dropout", watch=more), plain())
    assert len({tuple(draw.tolist()) for draw in drawn}) == len(drawn) > 0
    assert not torch.equal(plain(seed=2), plain())


def test_dropout_draws_its_own_stream_which_the_seed_of_the_replicate_keys() -> None:
    def noise(seed: int) -> list[Tensor]:
        found: list[Tensor] = []
        seen("dropout", seed=seed, watch=lambda network: network.register_forward_hook(lambda *_: found.append(torch.get_rng_state())))
        return found

    first, again, other = noise(1), noise(1), noise(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    keys = {derive(1, name) for name in ("order", "augment", "noise", "split")}
    assert len(keys) == 4


def test_augmentation_and_order_have_a_generator_each() -> None:
    recipe = build_recipe(sample(space_of("basic", "none"), first_choice).configuration.train, REGISTRY)
    inputs, targets = pictures().inputs[:16], pictures().targets[:16]
    assert isinstance(inputs, Tensor)

    def changed(orders: int, *, seed: int = 1) -> Tensor:
        augmented, batches = Augmenter([make() for make in recipe.augment], seed=seed), Batches(100, 16, seed=1)
        for _ in range(orders):
            list(batches)
        return augmented(inputs, targets)[0]

    assert torch.equal(changed(0), changed(3))
    assert not torch.equal(changed(0), changed(0, seed=2))


def test_the_order_of_the_batches_moves_with_nothing_but_its_seed() -> None:
    torch.manual_seed(0)
    first = [batch.tolist() for batch in Batches(103, 16, seed=3)]
    torch.manual_seed(1)
    torch.rand(1000)
    assert [batch.tolist() for batch in Batches(103, 16, seed=3)] == first
    assert [batch.tolist() for batch in Batches(103, 16, seed=4)] != first
