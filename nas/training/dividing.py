"""Layer 3: divides examples in two at random, each class in proportion.

The rows are those that scikit-learn's `train_test_split` gives for the same share and random state. It is written out here since
importing scikit-learn takes most of a second and 80 MB, in every worker.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def divide(count: int, share: float, *, state: int, labels: NDArray[Any] | None = None) -> tuple[Rows, Rows]:
    """Return the places of two parts of `count` examples, the first with `share` of them.

    With `labels` (N,), each part has its share of every class; what does not come out even goes to the classes that
    lack most, drawn where several lack as much.
    """
    random, num_first = np.random.RandomState(state), math.floor(share * count)
    if labels is None:
        order = random.permutation(count)
        return order[count - num_first :], order[: count - num_first]
    _, class_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(class_of, kind="stable"), np.cumsum(counts)[:-1])
    firsts = _shares(counts, num_first, random)
    seconds = _shares(counts - firsts, count - num_first, random)
    orders = [own[random.permutation(len(own))] for own in members]
    first = [own[:some] for own, some in zip(orders, firsts, strict=True)]
    second = [own[some : some + more] for own, some, more in zip(orders, firsts, seconds, strict=True)]
    return random.permutation(np.concatenate(first)), random.permutation(np.concatenate(second))


def _shares(counts: Rows, num: int, random: np.random.RandomState) -> Rows:
    """Return how many of `num` examples to take from each of several classes with these `counts`."""
    exact = counts / counts.sum() * num
    whole = np.floor(exact)
    missing, lacks = int(num - whole.sum()), exact - whole
    for lack in np.unique(lacks)[::-1]:
        if missing <= 0:
            break
        (classes,) = np.where(lacks == lack)
        taken = min(len(classes), missing)
        whole[random.choice(classes, size=taken, replace=False)] += 1
        missing -= taken
    found: Rows = whole.astype(np.int64)
    return found
