"""Layer 1: whole networks and what else they are made of: norms, activations, stems, heads, initialisations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from torch import nn

from nas.plugin.units import Unit


class Norm(nn.Module):
    """A normalisation of (B, C, H, W) or (B, N, C); built as `norm(num_channels)`."""

    kind: ClassVar[str] = "norm"


class Activation(nn.Module):
    """An elementwise nonlinearity; built as `activation()`."""

    kind: ClassVar[str] = "activation"


class Stem(nn.Module):
    """The layers before the first unit: (B, C, H, W) -> (B, out_channels, H', W')."""

    kind: ClassVar[str] = "stem"
    out_channels: int
    num_layers: int = 1


class Head(nn.Module):
    """The layers after the last unit: (B, C, H, W) -> (B, num_outputs)."""

    kind: ClassVar[str] = "head"
    num_layers: int = 1


GeneratorFor = Callable[[str], torch.Generator]
"""Gives the random generator that belongs to one parameter's path."""


class Initialisation:
    """How a network's parameters get their first values: `apply(network, generator_for)` writes them in place.

    Each random tensor must be drawn from `generator_for(its path)`, so that the tensors two networks share start equal.
    """

    kind: ClassVar[str] = "initialisation"

    def prepare(self, network: nn.Module) -> None:
        """Add the parameters that the initialisation needs, before any is counted; most need none.

        The builder calls it on every built network, with or without weights. Raises ValueError for a network that the
        initialisation does not fit.
        """

    def reinitialises(self, network: nn.Module) -> frozenset[str]:
        """Return the paths of the tensors that start otherwise than under `kaiming`: twins may differ there and nowhere else."""
        return frozenset()

    def apply(self, network: nn.Module, generator_for: GeneratorFor) -> None:
        """Write the initial values into `network`'s parameters."""
        raise NotImplementedError(f"initialisation {type(self).__name__} defines no apply(network, generator_for)")


class Network(nn.Module):
    """A whole network, (B, C, H, W) -> (B, num_outputs); built from a `NetworkContext` and its decided parameters."""

    kind: ClassVar[str] = "network"

    initialisation: Initialisation
    num_layers: int
    """Weight layers on the longest path from input to output: 6n+2 for the CIFAR ResNets (He et al. 2015, §4.2)."""

    def units(self) -> Iterator[tuple[str, Unit]]:
        """Yield the units with their module paths, in the order in which they are applied."""
        for path, module in self.named_modules():
            if isinstance(module, Unit):
                yield path, module
