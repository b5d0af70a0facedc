"""Layer 1: data sets."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor


@dataclass(frozen=True)
class Data:
    """A data set in memory: `inputs` (N, C, H, W) float32, `targets` (N,) int64, and the classes' names."""

    inputs: Tensor
    targets: Tensor
    classes: tuple[str, ...]

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape (C, H, W) of one input."""
        return tuple(self.inputs.shape[1:])

    def fingerprint(self) -> str:
        """Hash inputs and targets to 16 hexadecimal digits: equal data, equal fingerprint."""
        digest = hashlib.sha256()
        for tensor in (self.inputs, self.targets):
            digest.update(str((tuple(tensor.shape), tensor.dtype)).encode())
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


class DataSet:
    """A source of data: `load()` returns all of it; splitting and normalising are the framework's work."""

    kind: ClassVar[str] = "data"

    def load(self) -> Data:
        """Return the whole data set."""
        raise NotImplementedError(f"data set {type(self).__name__} defines no load()")
