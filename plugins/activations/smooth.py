"""Smooth nonlinearities."""

from __future__ import annotations

from torch import nn

from nas.plugin import Activation, plugin


@plugin("gelu")
class GELU(nn.GELU, Activation):
    """x Φ(x), Φ the normal distribution function (Hendrycks and Gimpel 2016, 1606.08415)."""

    def __init__(self) -> None:
        super().__init__()


@plugin("silu")
class SiLU(nn.SiLU, Activation):
    """x σ(x), also called swish (Elfwing et al. 2018, 1702.03118; Ramachandran et al. 2017, 1710.05941)."""

    def __init__(self) -> None:
        super().__init__()


@plugin("tanh")
class Tanh(nn.Tanh, Activation):
    """tanh x, bounded by -1 and 1."""

    def __init__(self) -> None:
        super().__init__()


@plugin("none")
class NoActivation(nn.Identity, Activation):
    """x as it is: a linear network, the setting of most proofs."""

    def __init__(self) -> None:
        super().__init__()
