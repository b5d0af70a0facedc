"""Layer 3: how a change per doubling is read off the `by` values: beta's axis and its coefficients.

See docs/method.md, "What is estimated".
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from nas.measuring.statistics import Floats
from nas.measuring.trainings import At

NUM_LAYERS = "num_layers"


def slope_axis(at: Sequence[At], *, by: Sequence[str], num_layers: Sequence[int | None]) -> tuple[str, tuple[float, ...], str]:
    """Return what one doubling means, log2 of it at each cell, and why there is no slope where both are empty.

    `num_layers` where it is constant at each value of a single numeric `by` and tells the values apart, else the value of
    the decision itself.
    """
    if len(by) != 1:
        return "", (), "a slope needs one `by` decision" if by else ""
    values = [cell[0] for cell in at]
    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(values):
        return "", (), f"a slope needs numbers, and {by[0]} has names"
    if len(numbers) < 2:
        return "", (), f"a slope needs two values of {by[0]} or more"
    layers = [float(count) for count in num_layers if count is not None and count > 0]
    if len(set(layers)) == len(values):
        return NUM_LAYERS, tuple(math.log2(count) for count in layers), ""
    if min(numbers) <= 0:
        return "", (), f"a change per doubling needs values of {by[0]} above zero, got {min(numbers):g}"
    return by[0], tuple(math.log2(number) for number in numbers), ""


def slope_weights(log2: Sequence[float]) -> Floats:
    """Return c_d = (x_d - mean x) / sum of (x - mean x)^2, for which the sum of c_d theta_d is the least-squares slope."""
    x = np.asarray(log2, dtype=np.float64)
    centred = x - x.mean()
    return np.asarray(centred / (centred**2).sum())
