"""Layer 3: splits a data set, normalises it by its training part alone, and gives batches by index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from nas.errors import UserError
from nas.plugin import Data
from nas.values.seeds import derive

SHARES = (0.6, 0.2, 0.2)


@dataclass(frozen=True)
class Part:
    """One part of a split: `inputs` (N, C, H, W) normalised, `targets` (N,)."""

    inputs: Tensor
    targets: Tensor

    @property
    def majority_share(self) -> float:
        """The share of the most frequent class: what a network gets that ignores its input."""
        return float(self.targets.bincount().max()) / len(self.targets)

    def to(self, device: torch.device) -> Part:
        """Return the part on a device."""
        return Part(self.inputs.to(device), self.targets.to(device))


@dataclass(frozen=True)
class Split:
    """A data set in three stratified parts; `seed` says which split it is."""

    train: Part
    val: Part
    test: Part
    seed: int
    num_classes: int


def split_data(data: Data, *, seed: int) -> Split:
    """Split 60/20/20, stratified by class, and normalise each channel by the training part's mean and deviation.

    Raises UserError where a class has too few examples to stand in every part.
    """
    smallest = int(data.targets.bincount(minlength=data.num_classes).min())
    if smallest < 5 or data.num_classes < 2:
        raise UserError(
            f"the data has {data.num_classes} classes and {smallest} examples in the smallest; "
            "a stratified 60/20/20 split needs at least 2 classes with 5 examples each"
        )
    from sklearn.model_selection import train_test_split  # imported late: it takes most of a second

    labels, everything = data.targets.numpy(), range(len(data.targets))
    state = derive(seed, "split") % 2**32
    train, rest = train_test_split(list(everything), train_size=SHARES[0], stratify=labels, random_state=state)
    val, test = train_test_split(rest, train_size=SHARES[1] / sum(SHARES[1:]), stratify=labels[rest], random_state=state)
    channels = [dim for dim in range(data.inputs.dim()) if dim != 1]
    mean, std = data.inputs[train].mean(channels, keepdim=True), data.inputs[train].std(channels, keepdim=True)
    inputs = (data.inputs - mean) / std.clamp_min(1e-6)
    parts = [Part(inputs[i], data.targets[i]) for i in (train, val, test)]
    return Split(parts[0], parts[1], parts[2], seed, data.num_classes)


class Batches:
    """The training order: each epoch a fresh permutation from a stream of its own, cut into batches of indices.

    A last batch of one example is joined to the one before, since batch normalisation cannot use it.
    """

    def __init__(self, num_examples: int, batch_size: int, *, seed: int) -> None:
        self.num_examples, self.batch_size = num_examples, min(batch_size, num_examples)
        self.generator = torch.Generator().manual_seed(derive(seed, "order"))

    def __len__(self) -> int:
        full, left = divmod(self.num_examples, self.batch_size)
        return full + (left > 1)

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.randperm(self.num_examples, generator=self.generator)
        starts = [i * self.batch_size for i in range(len(self))]
        for start, end in zip(starts, [*starts[1:], self.num_examples], strict=True):
            yield order[start:end]
