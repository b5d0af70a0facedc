"""Layer 3: refuses data that could not be trained on, before anything is, naming what is wrong and where."""

from __future__ import annotations

import torch

from nas.errors import UserError, listed
from nas.plugin import Data, Pictures


def refuse_bad(data: object, told: str) -> Data:
    """Return `data` if it can be split and trained on. Raises UserError, beginning with `told`, where it cannot."""
    if not isinstance(data, Data):
        raise UserError(f"{told}: load() must return a nas.plugin.Data, got {type(data).__name__}")
    inputs, targets = data.inputs, data.targets
    if not isinstance(inputs, torch.Tensor | Pictures) or not isinstance(targets, torch.Tensor):
        names = f"{type(inputs).__name__} and {type(targets).__name__}"
        raise UserError(f"{told}: inputs and targets must be tensors (or inputs encoded Pictures), got {names}")
    if inputs.dtype not in (torch.float32, torch.uint8):
        raise UserError(f"{told}: inputs must be float32, or uint8 for pictures in 0..255, got {inputs.dtype}")
    if len(inputs.shape) < 2 or 0 in inputs.shape:
        raise UserError(f"{told}: inputs must be (N, C, H, W) or (N, F) with at least one of each, got {tuple(inputs.shape)}")
    if len(targets) != len(inputs):
        raise UserError(f"{told}: there must be one target for each input, got {len(targets)} targets and {len(inputs)} inputs")
    if not 0 <= data.num_test < len(targets):
        raise UserError(f"{told}: its test part must leave something to train on, got {data.num_test} of {len(targets)} examples")
    if isinstance(inputs, torch.Tensor):
        _refuse_not_finite(inputs, f"{told}: inputs")
    _refuse_targets(data, told)
    return data


def _refuse_not_finite(values: torch.Tensor, told: str) -> None:
    if not values.is_floating_point():
        return
    bad = (~values.isfinite()).flatten(1).any(1).nonzero() if values.dim() > 1 else (~values.isfinite()).nonzero()
    if len(bad):
        raise UserError(f"{told} must be finite; row {int(bad[0])} (counted from 0) holds NaN or infinity, {len(bad)} of {len(values)} do")


def _refuse_targets(data: Data, told: str) -> None:
    targets = data.targets
    if targets.is_floating_point():
        _refuse_not_finite(targets, f"{told}: targets")
        return
    if targets.dim() == 3 and tuple(targets.shape[1:]) != tuple(data.inputs.shape[2:]):
        mask, picture = ("×".join(map(str, shape)) for shape in (targets.shape[1:], data.inputs.shape[2:]))
        raise UserError(f"{told}: the masks are {mask} pixels and the pictures {picture}; a mask gives each pixel of its picture a class")
    rows = targets.flatten(1) if targets.dim() > 1 else targets.unsqueeze(1)
    outside = ((rows < 0) | (rows >= data.num_classes)).any(1).nonzero()
    if len(outside):
        row = int(outside[0])
        value = next(int(v) for v in rows[row] if not 0 <= int(v) < data.num_classes)
        classes = f"{data.num_classes} classes, 0 to {data.num_classes - 1}" if data.num_classes else "no class names"
        raise UserError(f"{told}: the label of row {row} (counted from 0) is {value}, but there are {classes} ({listed(data.classes)})")
