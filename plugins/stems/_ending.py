"""What the stems share: the norm and activation that end them, where the first block does not bring its own."""

from __future__ import annotations

from torch import nn

from nas.plugin import Activation, Factory, Norm


def norm_and_activation(channels: int, norm: Factory[Norm], activation: Factory[Activation], *, present: bool) -> nn.Sequential:
    """Return norm and activation for `channels` channels, or nothing where they are not `present`."""
    return nn.Sequential(norm(channels), activation()) if present else nn.Sequential()
