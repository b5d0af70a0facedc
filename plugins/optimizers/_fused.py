"""When torch can take an optimizer's step in one kernel over all parameters."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

DEVICES = ("cpu", "cuda")


def fits_fused(parameters: Sequence[nn.Parameter]) -> bool:
    """Say whether the fused step exists for these parameters: floating ones, on the CPU or a CUDA device."""
    return all(p.is_floating_point() and p.device.type in DEVICES for p in parameters)
