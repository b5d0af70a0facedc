"""Augmentation: what each does to a batch, and that twins see the same changes."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from nas.building import build, build_recipe, cost_of, make
from nas.errors import UserError
from nas.plugin import Augmentation
from nas.registry import Registry
from nas.sampling import first_choice, fixing, sample
from nas.space import Space, parse_space
from nas.study.jobs.materials import context_of, load_data, load_task
from nas.training.augmenting import Augmenter
from nas.training.course import Goal
from nas.training.data import split_data
from nas.training.fit import train
from nas.values.architecture import PluginNode


def made(registry: Registry, name: str, **parameters: float) -> Augmentation:
    augmentation: Augmentation = make("augmentation", PluginNode(name, tuple(parameters.items())), registry)
    return augmentation


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_flip_mirrors_about_half_of_the_pictures_and_leaves_the_others(registry: Registry) -> None:
    pictures = torch.rand(400, 3, 5, 4)
    flipped = made(registry, "flip", p=0.5).apply(pictures, drawn())
    mirrored = [torch.equal(b, a.flip(-1)) for a, b in zip(pictures, flipped, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(pictures, flipped, strict=True)]
    assert [a != b for a, b in zip(mirrored, kept, strict=True)] == [True] * 400
    assert 150 < sum(mirrored) < 250


def test_pad_crop_moves_each_picture_by_at_most_its_padding_and_fills_with_the_mean(registry: Registry) -> None:
    pictures = torch.rand(60, 2, 6, 7) + 1
    moved = made(registry, "pad_crop", padding=2).apply(pictures, drawn())
    found = set()
    for before, after in zip(pictures, moved, strict=True):
        padded = torch.nn.functional.pad(before, (2, 2, 2, 2))
        places = [(y, x) for y in range(5) for x in range(5) if torch.equal(after, padded[:, y : y + 6, x : x + 7])]
        assert len(places) == 1
        found |= set(places)
    assert len(found) > 15


def test_cutout_blanks_one_square_that_the_border_may_cut_off(registry: Registry) -> None:
    holes = made(registry, "cutout", size=4).apply(torch.ones(300, 3, 9, 9), drawn()) == 0
    assert torch.equal(holes[:, 0], holes[:, 2])
    assert set(holes[:, 0].any(2).sum(1).tolist()) == {2, 3, 4}
    assert all(int(hole.sum()) == int(hole.any(0).sum() * hole.any(1).sum()) for hole in holes[:, 0])


def test_masks_move_with_their_pictures(registry: Registry) -> None:
    masks = torch.randint(0, 5, (50, 8, 8))
    augmented = Augmenter([made(registry, "pad_crop", padding=3), made(registry, "flip", p=0.5), made(registry, "cutout", size=2)], seed=1)
    pictures, moved = augmented(masks.unsqueeze(1).float() + 1, masks)
    shown = pictures.squeeze(1)
    assert not torch.equal(moved, masks)
    # Where a picture was neither padded nor cut out, it shows its mask.
    assert torch.equal((shown - 1)[shown > 0], moved.float()[shown > 0])


SEEN: list[Tensor] = []


class Watching(Augmentation):
    def apply(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        SEEN.append(inputs.clone())
        return inputs


def seen_by(space: Space, level: str, registry: Registry, *, seed: int = 3) -> list[Tensor]:
    decided = sample(space, fixing({"architecture.staged.shortcut": level}, first_choice)).configuration
    context = context_of(space, decided)
    recipe = build_recipe(decided.train, registry)
    recipe = replace(recipe, augment=(*recipe.augment, Watching))
    SEEN.clear()
    network = build(decided.architecture, registry, context, seed=seed)
    goal = Goal("val_accuracy", load_task(decided.task, registry))
    split = split_data(load_data(decided.data, registry), seed=1)
    train(network, recipe, split, cost_of(decided.architecture, registry, context), goal, seed=seed)
    return list(SEEN)


def test_twins_see_equal_augmented_batches_although_one_of_them_draws_dropout(registry: Registry, small_text: str) -> None:
    text = small_text.replace("choices: [none, identity]", "choices: [none, {dropout: {rate: 0.5}}]").replace(
        "epochs: 2", "epochs: 1\n  augment: [{pad_crop: {padding: 1}}, flip, {cutout: {size: 2}}]"
    )
    space = parse_space(text.partition("measure:")[0], "augmented.yaml", registry)
    levels = space.decisions["architecture.staged.shortcut"].domain.labels  # type: ignore[union-attr]
    first, second = (seen_by(space, str(level), registry) for level in levels)
    assert len(first) == 9
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], seen_by(space, str(levels[0]), registry, seed=4)[0])


def test_augmentation_moves_neither_the_order_nor_the_noise(registry: Registry, small: Space) -> None:
    plain, again = seen_by(small, "identity", registry), seen_by(small, "identity", registry)
    text = small.text.replace("epochs: 2", "epochs: 2\n  augment: [{flip: {p: 0.0}}]")
    unchanged = seen_by(parse_space(text, "flip.yaml", registry), "identity", registry)
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(plain, again, unchanged, strict=True))


def test_augmenting_what_is_no_picture_is_refused(registry: Registry) -> None:
    with pytest.raises(UserError, match=r"train.augment: changes pictures"):
        Augmenter([made(registry, "flip", p=0.5)], seed=0)(torch.zeros(4, 7), torch.zeros(4))
