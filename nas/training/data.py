"""Layer 3: splits a data set, prepares its inputs by its training part alone, and gives batches by index."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from nas.errors import UserError
from nas.plugin import Data, Pictures, moved
from nas.training.dividing import Rows, divide
from nas.values.seeds import derive

SHARES = (0.6, 0.2, 0.2)
"""Training, validation and test of a data set that has no test part of its own."""
TRAIN_SHARE = 0.8
"""The training split's share of what is left beside a test part of the data set's own."""
NORMALISED_BY = 10_000
"""Pictures of the training split, at most, whose mean and deviation normalise all."""
DEVICE_SHARE = 0.5
"""A data set that takes more of what a process may have of an accelerator's memory stays with the host, and each batch is moved."""

Batch = Tensor | tuple[Tensor, Tensor]
"""What a loop is given: the indices of a batch; beside them its inputs as they came, where those are not in memory."""


@dataclass(frozen=True)
class Part:
    """One part of a split: `rows` of a data set's inputs as they came, how they are prepared, and their `targets` (N, …).

    Targets that are numbers are standardised already.
    """

    source: Tensor | Pictures
    rows: Tensor
    targets: Tensor
    mean: Tensor
    std: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def inputs(self) -> Tensor:
        """All inputs, prepared: float32 (N, C, H, W). For looking at small data; a loop takes batches."""
        return self.take(torch.arange(len(self)))[0]

    def read(self, index: Tensor) -> Tensor:
        """Return the inputs of a batch as they came, (B, C, H, W) uint8 or float32."""
        return self.source[self.rows[index.to(self.rows.device)]]

    def take(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return a batch on the part's device: normalised inputs, float32 (B, C, H, W), and targets."""
        index, raw = batch if isinstance(batch, tuple) else (batch, self.read(batch))
        raw = moved(raw, self.mean.device)
        inputs = raw.float() / 255 if raw.dtype == torch.uint8 else raw
        return (inputs - self.mean) / self.std, moved(self.targets[index.to(self.targets.device)], self.mean.device)

    def to(self, device: torch.device) -> Part:
        """Return the part for a device. Its inputs lie there too where they fit: once for all parts, splits and trainings.

        Batches are to be named by indices on the device of `rows`: others have to be moved, one by one.
        """
        ready = replace(self, mean=self.mean.to(device), std=self.std.to(device))
        if device.type == "cpu" or isinstance(self.source, Pictures) or not (resident := _resident.of(self.source, device)):
            return ready
        return replace(ready, source=resident[0], rows=self.rows.to(device), targets=self.targets.to(device))


class _Resident:
    """The inputs of one data set on an accelerator, kept there from one training of this process to the next."""

    def __init__(self) -> None:
        self.given: Tensor | None = None
        self.there: tuple[Tensor, ...] = ()

    def of(self, source: Tensor, device: torch.device) -> tuple[Tensor, ...]:
        """Return `source` on a device; () where it has no room there."""
        if self.given is not source or self.there[0].device != device:
            self.given, self.there = None, ()
            if source.numel() * source.element_size() > DEVICE_SHARE * room_on(device):
                return ()
            self.given, self.there = source, (source.to(device),)
        return self.there


_resident = _Resident()


def room_on(device: torch.device) -> float:
    """Return how many bytes this process may still take of an accelerator's memory: all that it likes where nobody can say."""
    if device.type != "cuda":
        return math.inf
    free, total = torch.cuda.mem_get_info(device)
    share = torch.cuda.get_per_process_memory_fraction(device) if hasattr(torch.cuda, "get_per_process_memory_fraction") else 1.0
    return min(free, share * total - torch.cuda.memory_reserved(device))


@dataclass(frozen=True)
class Split:
    """A data set in three parts; `seed` says which split it is, `target_scale` by which mean and deviation numbers were scaled."""

    train: Part
    val: Part
    test: Part
    seed: int
    num_classes: int
    target_scale: tuple[Tensor, Tensor] | None = None


def split_data(data: Data, *, seed: int) -> Split:
    """Split into training, validation and test, normalised by the training part's mean and deviation of each channel.

    The test part is the data set's own where it has one, and then 80/20 of the rest are trained and validated on; else 60/20/20.
    Where each input has one class, every part has its share of each. Targets that are numbers are scaled as inputs are.
    Raises UserError where there are too few examples, of a class or at all, to stand in every part.
    """
    rows = _rows(data, derive(seed, "split") % 2**32)
    mean, std = _mean_and_deviation(data.inputs, rows[0])
    targets, target_scale = data.targets, None
    if targets.is_floating_point():
        target_scale = _mean_and_deviation(targets, rows[0])
        targets = (targets - target_scale[0]) / target_scale[1]
    parts = [Part(data.inputs, i, targets[i], mean, std) for i in rows]
    return Split(parts[0], parts[1], parts[2], seed, data.num_classes, target_scale)


def _rows(data: Data, state: int) -> list[Tensor]:
    """Choose the rows of the three parts."""
    count, num_own = len(data.targets), len(data.targets) - data.num_test
    labels = data.targets.numpy() if data.targets.dim() == 1 and not data.targets.is_floating_point() else None
    if labels is not None:
        _refuse_small(data, num_own)
    elif num_own < 5:
        raise UserError(f"the data has {num_own} examples to train and validate on; it needs at least 5")

    def cut(rows: Rows, share: float) -> tuple[Rows, Rows]:
        first, second = divide(len(rows), share, state=state, labels=None if labels is None else labels[rows])
        return rows[first], rows[second]

    train, rest = cut(np.arange(num_own), TRAIN_SHARE if data.num_test else SHARES[0])
    val, test = (rest, np.arange(num_own, count)) if data.num_test else cut(rest, SHARES[1] / sum(SHARES[1:]))
    return [torch.from_numpy(part) for part in (train, val, test)]


def _refuse_small(data: Data, num_own: int) -> None:
    counts = data.targets[:num_own].bincount(minlength=data.num_classes)
    smallest = int(counts.min())
    if smallest < 5 or data.num_classes < 2:
        name = f" (class '{data.classes[int(counts.argmin())]}')" if data.num_classes > 1 else ""
        shares = "80/20 split beside the data's own test part" if data.num_test else "60/20/20 split"
        raise UserError(
            f"the data has {data.num_classes} classes and {smallest} examples in the smallest{name}; "
            f"a stratified {shares} needs at least 2 classes with 5 examples each"
        )


def _mean_and_deviation(inputs: Tensor | Pictures, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return each channel's mean and standard deviation over some rows, shaped to be used on a batch.

    Of pictures, a sample is enough: the error of a mean over 10,000 of them is a hundredth of their own deviation. Sums of
    bytes are exact, so pictures in memory and pictures from a stream give the same bits.
    """
    if inputs.dtype != torch.uint8:
        assert isinstance(inputs, Tensor)  # encoded pictures are bytes
        channels = [dim for dim in range(inputs.dim()) if dim != 1]
        return inputs[rows].mean(channels, keepdim=True), inputs[rows].std(channels, keepdim=True).clamp_min(1e-6)
    total = torch.zeros(inputs.shape[1], dtype=torch.int64)
    squares, count = torch.zeros_like(total), 0
    for chunk in rows[:NORMALISED_BY].split(256):
        values = inputs[chunk].transpose(0, 1).flatten(1).long()
        total, squares, count = total + values.sum(1), squares + values.square().sum(1), count + values.shape[1]
    mean = total.double() / count
    variance = (squares.double() - count * mean.square()) / max(1, count - 1)
    shape = (1, -1, *[1] * (len(inputs.shape) - 2))
    return (mean / 255).float().view(shape), (variance.clamp_min(0).sqrt() / 255).float().view(shape).clamp_min(1e-6)


class Batches:
    """The training order: each epoch a fresh permutation from a stream of its own, cut into batches of indices.

    A last batch of one example is joined to the one before, since batch normalisation cannot use it. Of several processes
    that train one network, each gets its own share of every batch. An epoch's indices are moved to `device` at once.
    """

    def __init__(
        self, num_examples: int, batch_size: int, *, seed: int, rank: int = 0, num_ranks: int = 1, device: torch.device | None = None
    ) -> None:
        self.rank, self.num_ranks, self.device = rank, num_ranks, device
        self.num_examples, self.batch_size = num_examples, min(batch_size, num_examples)
        self.generator = torch.Generator().manual_seed(derive(seed, "order"))

    def skip(self, epochs: int) -> None:
        """Go on behind so many epochs."""
        for _ in range(epochs):
            torch.randperm(self.num_examples, generator=self.generator)

    def __len__(self) -> int:
        full, left = divmod(self.num_examples, self.batch_size)
        return full + (left > 1)

    def __iter__(self) -> Iterator[Tensor]:
        order = torch.randperm(self.num_examples, generator=self.generator).to(self.device)
        starts = [i * self.batch_size for i in range(len(self))]
        for start, end in zip(starts, [*starts[1:], self.num_examples], strict=True):
            yield order[start:end][self.rank :: self.num_ranks]
