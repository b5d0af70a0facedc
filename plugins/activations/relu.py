"""The rectified linear unit and its relatives."""

from __future__ import annotations

from torch import nn

from nas.plugin import Activation, Positive, plugin


@plugin("relu")
class ReLU(nn.ReLU, Activation):
    """max(0, x) (Nair and Hinton 2010)."""

    def __init__(self) -> None:
        super().__init__()


@plugin("relu6")
class ReLU6(nn.ReLU6, Activation):
    """min(max(0, x), 6), for low precision (Howard et al. 2017, 1704.04861; Sandler et al. 2018, 1801.04381)."""

    def __init__(self) -> None:
        super().__init__()


@plugin("leaky_relu")
class LeakyReLU(nn.LeakyReLU, Activation):
    """x where it is positive, `slope` times x elsewhere (Maas et al. 2013)."""

    def __init__(self, *, slope: Positive = 0.01) -> None:
        super().__init__(slope)
