"""Fixup: deep residual networks without normalisation (Zhang et al. 2019, 1901.09321)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nas.plugin import Factory, GeneratorFor, Head, Initialisation, plugin, use

from ._branches import branch_convs, paths_of, plugin_name, units_of, units_to_silence
from .kaiming import NORMS

SETTINGS = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")


class FixupConv(nn.Conv2d):
    """A convolution with Fixup's scalars around it: s · W(x + a) + b, with a = b = 0 and s = 1 at the start (§3, rule 3).

    It is a convolution still, under the same path, so that its weights are those of the network without Fixup. b is the
    bias before the activation that follows, or behind the branch.
    """

    shift_before: nn.Parameter
    shift_after: nn.Parameter
    scale: nn.Parameter | None

    @classmethod
    def around(cls, conv: nn.Conv2d, *, last: bool) -> FixupConv:
        """Return `conv` with its scalars; only the last one of a branch has the scale."""
        settings: dict[str, Any] = {name: getattr(conv, name) for name in SETTINGS}
        wrapped = cls(**settings, bias=conv.bias is not None, device="meta")  # its weights are replaced at once
        wrapped.weight, wrapped.bias = conv.weight, conv.bias
        like = conv.weight
        wrapped.shift_before, wrapped.shift_after = nn.Parameter(like.new_zeros(())), nn.Parameter(like.new_zeros(()))
        wrapped.scale = nn.Parameter(like.new_ones(())) if last else None
        return wrapped

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H/s, W/s)."""
        y = super().forward(x + self.shift_before)
        return (y if self.scale is None else self.scale * y) + self.shift_after


@plugin("fixup")
class Fixup(Initialisation):
    """Branches that start at zero and together change the output by a step's worth, however many there are (§3).

    1. The last layer of each branch and the head start at zero. 2. Of m layers in a branch the others start at `base`'s
    values times L^(−1/(2m−2)), L the number of units: L^(−1/2) for two. 3. A scalar bias before and after each convolution
    of a branch, and a scale behind its last one. For blocks with `norm: none`: it stands in for the norm.

    The paper trains the scalars at a tenth of the rate of the weights; here one rate serves all, and has to be lower.
    """

    def __init__(self, *, base: Factory[Initialisation] = use("kaiming")) -> None:
        self.base = base()

    def prepare(self, network: nn.Module) -> None:
        """Put the scalars around the branches' convolutions, once. Raises ValueError for a network with norms."""
        self.base.prepare(network)
        for path, module in network.named_modules():
            if isinstance(module, NORMS):
                raise ValueError(
                    f"init 'fixup' stands in for normalisation, but there is a {type(module).__name__} at {path}; give block, "
                    "shortcut and stem `norm: none`, or take init: kaiming"
                )
        units_to_silence(network, "fixup")
        for _, unit in units_of(network):
            last = unit.block.last_layers()
            if not all(isinstance(layer, nn.Conv2d) for layer in last):
                raise ValueError(f"init 'fixup' needs a branch that ends in a convolution; that of '{plugin_name(unit.block)}' does not")
            for path, conv in branch_convs(unit):
                if not isinstance(conv, FixupConv):
                    parent, _, name = path.rpartition(".")
                    setattr(unit.block.branch.get_submodule(parent), name, FixupConv.around(conv, last=conv in last))

    def reinitialises(self, network: nn.Module) -> frozenset[str]:
        """The weights of branches and head, and what `base` names."""
        parts: list[nn.Module] = [unit.block.branch for _, unit in units_of(network)]
        parts += [module for module in network.modules() if isinstance(module, Head)]
        return self.base.reinitialises(network) | paths_of(network, parts)

    @torch.no_grad()
    def apply(self, network: nn.Module, generator_for: GeneratorFor) -> None:
        """Write `base`'s values, then scale the branches and zero their ends."""
        self.prepare(network)
        self.base.apply(network, generator_for)
        units = tuple(unit for _, unit in units_of(network))
        for unit in units:
            last = unit.block.last_layers()
            inner = [conv for _, conv in branch_convs(unit) if conv not in last]
            for conv in inner:
                conv.weight.mul_(len(units) ** (-1 / (2 * len(inner))))  # m − 1 = len(inner)
            for layer in last if unit.shortcut.connects else ():
                layer.get_parameter("weight").zero_()
        for head in (module for module in network.modules() if isinstance(module, Head)):
            for parameter in head.parameters():
                parameter.zero_()
