"""What data sets of pictures share: paths, parts, labels and the options on how pictures are decoded."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas.errors import UserError, listed, nearest, shown

VALIDATION = ("val", "valid", "validation", "dev")


def existing(path: str) -> Path:
    """Return the path, `~` and `$NAME` replaced. Raises UserError where a name is not set or nothing is there."""
    found = os.path.expandvars(Path(path).expanduser())
    unset = re.search(r"\$\{?(\w+)", found)
    if unset:
        raise UserError(f"{path}: the environment variable {unset[1]} is not set; set it, or give the path itself")
    place = Path(found)
    if not place.exists():
        beside = [p.name for p in place.parent.iterdir()] if place.parent.is_dir() else []
        where = "" if place.is_absolute() else f" under {Path.cwd()}"
        raise UserError(f"there is no {found}{where}{nearest(place.name, beside) if beside else ''}")
    return place


def parts_of(names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Share the names of a data set's parts between training and test: (training, test).

    The test part is `test`; without one, what is called val, valid, validation or dev. With one, that is trained on, since each
    split makes a validation part of its own. Empty where nothing is called `train`.
    """
    kind = {name: re.split(r"[-_.]", Path(name).name.lower())[0] for name in names}
    train = [name for name, what in kind.items() if what in ("train", "training")]
    if not train:
        return (), ()
    validation = [name for name, what in kind.items() if what in VALIDATION]
    test = [name for name, what in kind.items() if what in ("test", "testing")]
    return (tuple(train + validation), tuple(test)) if test else (tuple(train), tuple(validation))


def size_of(size: int | tuple[int, ...] | None) -> tuple[int, int] | None:
    """Read the option `size`: one number for a square, or [height, width]."""
    if size is None or isinstance(size, int):
        return None if size is None else (size, size)
    if len(size) != 2:
        raise UserError(f"size: must be one number, or [height, width], got {list(size)}")
    return size[0], size[1]


def read_labels(values: Sequence[Any], name: Callable[[int], str], classes: Sequence[str] = ()) -> tuple[Tensor, tuple[str, ...]]:
    """Turn labels into class numbers: whole numbers from 0 on, or words; return them and the classes' names.

    Raises UserError, naming the row, for a label that is missing, no whole number, negative, or beyond `classes` where those
    are known.
    """
    words = [isinstance(value, str) for value in values]
    if values and all(words):
        found = tuple(classes) or tuple(sorted(set(values)))
        numbers = {label: number for number, label in enumerate(found)}
        for i, value in enumerate(values):
            if value not in numbers:
                raise UserError(f"{name(i)}: the label '{shown(value)}' is none of the classes {listed(found)}")
        return torch.tensor([numbers[value] for value in values]), found
    for i, value in enumerate(values):
        whole = isinstance(value, int | np.integer) or (isinstance(value, float | np.floating) and float(value).is_integer())
        if not whole or value < 0:
            raise UserError(f"{name(i)}: a label must be a whole number from 0 on, or a word for all, got {shown(repr(value))}")
        if classes and value >= len(classes):
            raise UserError(f"{name(i)}: the label is {value}, but there are {len(classes)} classes, 0 to {len(classes) - 1}")
    labels = torch.tensor([int(value) for value in values], dtype=torch.int64)
    return labels, tuple(classes) or tuple(str(i) for i in range(int(labels.max()) + 1 if len(labels) else 0))
