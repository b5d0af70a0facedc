"""Group normalisation."""

from __future__ import annotations

from torch import nn

from nas.plugin import Count, Norm, Positive, plugin


@plugin("group")
class Group(nn.GroupNorm, Norm):
    """Normalisation of each sample over `groups` groups of channels (Wu and He 2018, 1803.08494).

    The paper's 32 groups suit 64 channels and more; `groups` has to divide every width it meets.
    """

    def __init__(self, num_channels: int, *, groups: Count = 8, eps: Positive = 1e-5) -> None:
        if num_channels % groups:
            raise ValueError(f"groups: {groups} does not divide {num_channels} channels; take a divisor of every width")
        super().__init__(groups, num_channels, eps=eps)
