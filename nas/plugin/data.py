"""Layer 1: data sets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from nas.plugin.pictures import Pictures
from nas.values.seeds import derive


@dataclass(frozen=True)
class Data:
    """A data set: `inputs` (N, C, H, W) or (N, F), `targets`, and the classes' names where there are any.

    Targets are as the task needs them: int64 (N,) for classification, int64 (N, H, W) for segmentation, float32 (N, D) for
    regression.

    Inputs are float32, or uint8 pictures in 0..255, which a training sees as 0..1; or `Pictures` that are still encoded.
    """

    inputs: Tensor | Pictures
    targets: Tensor
    classes: tuple[str, ...] = ()
    num_test: int = 0
    """How many examples at the end are the data set's own test part; 0 where it has none, and a split makes one."""
    inputs_digest: str = ""
    """What identifies the inputs, where that is known already: it was taken before they were decoded."""

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape (C, H, W) or (F,) of one input."""
        return tuple(self.inputs.shape[1:])

    def fingerprint(self) -> str:
        """Hash inputs and targets to 16 hexadecimal digits: equal data, equal fingerprint."""
        digest = hashlib.sha256()
        if self.inputs_digest or isinstance(self.inputs, Pictures):
            digest.update((self.inputs_digest or "encoded").encode())
            tensors = [self.targets]
        else:
            tensors = [self.inputs, self.targets]
        for tensor in tensors:
            digest.update(str((tuple(tensor.shape), tensor.dtype)).encode())
            digest.update(tensor.contiguous().numpy().data)  # as it lies: bytes would be a copy of it all
        if self.num_test:
            digest.update(str(self.num_test).encode())
        return digest.hexdigest()[:16]

    def limited(self, limit: int | None) -> Data:
        """Return at most `limit` examples, drawn by a fixed seed: each class and each part keeps its share of them."""
        count = len(self.targets)
        if limit is None or limit >= count:
            return self
        first_test, num_test = count - self.num_test, round(limit * self.num_test / count)
        rows = torch.cat((
            _stratified(self.targets[:first_test], limit - num_test),
            first_test + _stratified(self.targets[first_test:], num_test),
        ))  # fmt: skip
        inputs = self.inputs.select(rows) if isinstance(self.inputs, Pictures) else self.inputs[rows]
        return replace(self, inputs=inputs, targets=self.targets[rows], num_test=num_test)


class DataSet:
    """A source of data: `load()` returns all of it; splitting and normalising are the framework's work.

    `tasks` names the tasks that it can serve, the usual one first; `task` is the one that a space chose, set before `load()`.
    """

    kind: ClassVar[str] = "data"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    task: str = ""

    def load(self) -> Data:
        """Return the whole data set."""
        raise NotImplementedError(f"data set {type(self).__name__} defines no load()")


def _stratified(targets: Tensor, count: int) -> Tensor:
    """Draw `count` rows, in the order of the rows; each class keeps its share, to within one example."""
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(derive("limit")))
    if targets.dim() > 1 or targets.is_floating_point():
        return order[:count].sort().values
    shuffled = targets[order]
    place = torch.empty(len(targets), dtype=torch.float64)
    for label in shuffled.unique():
        of_class = shuffled == label
        num = int(of_class.sum())
        place[of_class] = (torch.arange(num, dtype=torch.float64) + 0.5) / num
    return order[place.argsort(stable=True)[:count]].sort().values
