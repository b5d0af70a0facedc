"""Arrays that NumPy saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from nas.errors import UserError, nearest
from nas.plugin import Count, Data, DataSet, plugin

from ._common import existing, read_labels


@plugin("numpy")
class NumPy(DataSet):
    """Arrays saved as .npy, one file each, or together as .npz, where `inputs` names the file and `keys` the two arrays in it.

    Inputs are (N, C, H, W), (N, H, W), or, with `channels: last`, (N, H, W, C); or (N, F). Bytes are taken as pictures in
    0..255, other numbers as they are. Targets are (N,) whole numbers from 0 on, or words; for segmentation (N, H, W) whole numbers,
    for regression (N,) or (N, D) numbers. `test_inputs` and `test_targets` are a test part.
    """

    tasks = ("classification", "segmentation", "regression")

    def __init__(
        self, *, inputs: str, targets: str | None = None, test_inputs: str | None = None, test_targets: str | None = None,
        channels: Literal["first", "last"] = "first", keys: tuple[str, ...] = ("inputs", "targets"), limit: Count | None = None,
    ) -> None:  # fmt: skip
        if len(keys) != 2:
            raise UserError(f"keys: must name two arrays, the inputs and the targets, got {list(keys)}")
        self.files, self.test_files = (inputs, targets), (test_inputs, test_targets)
        self.channels, self.keys, self.limit = channels, keys, limit

    def load(self) -> Data:
        """Return inputs (N, C, H, W) or (N, F), and targets (N,)."""
        inputs, targets = self._pair(*self.files)
        num_test = 0
        if self.test_files[0]:
            more = self._pair(*self.test_files)
            if more[0].shape[1:] != inputs.shape[1:]:
                raise UserError(
                    f"{self.test_files[0]}: its inputs have the shape {more[0].shape[1:]}, those to train on {inputs.shape[1:]}"
                )
            num_test, inputs, targets = len(more[0]), np.concatenate((inputs, more[0])), np.concatenate((targets, more[1]))
        labels, classes = self._targets(targets, self.files[1] or self.files[0] or "")
        return Data(self._tensor(inputs), labels, classes, num_test=num_test).limited(self.limit)

    def _targets(self, targets: Any, file: str) -> tuple[torch.Tensor, tuple[str, ...]]:
        """Return the targets as the task needs them, and the classes' names."""
        dims = {"segmentation": (3,), "regression": (1, 2)}.get(self.task, (1,))
        numbers = targets.dtype.kind in ("uif" if self.task == "regression" else "ui" if self.task == "segmentation" else "uifbU")
        if targets.ndim not in dims or not numbers:
            what = {"segmentation": "whole numbers (N, H, W)", "regression": "numbers (N,) or (N, D)"}.get(
                self.task, "one label an input, (N,)"
            )
            raise UserError(f"{file}: targets must be {what}, got {targets.dtype} {targets.shape}")
        if self.task == "regression":
            return torch.from_numpy(targets.astype(np.float32)).reshape(len(targets), -1), ()
        if self.task == "segmentation":
            return torch.from_numpy(targets.astype(np.int64)), tuple(str(i) for i in range(int(targets.max(initial=0)) + 1))
        return read_labels(targets.tolist(), lambda i: f"{file}, row {i} (counted from 0)")

    def _pair(self, inputs: str | None, targets: str | None) -> tuple[Any, Any]:
        first = _read(inputs or "")
        if isinstance(first, np.ndarray):
            if targets is None:
                raise UserError(f"{inputs} holds one array; name that of the targets with `targets`")
            pair = first, _read(targets)
        else:
            for key in self.keys:
                if key not in first:
                    raise UserError(f"{inputs}: has no array '{key}'{nearest(key, first)}; name the two arrays with `keys`")
            pair = first[self.keys[0]], first[self.keys[1]]
        if len(pair[0]) != len(pair[1]):
            raise UserError(f"{inputs}: {len(pair[0])} inputs and {len(pair[1])} targets; there must be one for each")
        return pair

    def _tensor(self, inputs: Any) -> torch.Tensor:
        if inputs.dtype.kind not in "uifb":
            raise UserError(f"{self.files[0]}: inputs must be numbers, got {inputs.dtype}")
        if inputs.ndim == 3:
            inputs = inputs[:, None]
        elif inputs.ndim == 4 and self.channels == "last":
            inputs = inputs.transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(inputs if inputs.dtype == np.uint8 else inputs.astype(np.float32)))


def _read(file: str) -> Any:
    path: Path = existing(file)
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise UserError(f"{path}: cannot be read as a NumPy array: {error}") from error
