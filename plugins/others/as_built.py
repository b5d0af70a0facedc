"""The initialisation that leaves everything as it is."""

from __future__ import annotations

from torch import nn

from nas.plugin import GeneratorFor, Initialisation, plugin


@plugin("as_built")
class AsBuilt(Initialisation):
    """The values that the layers' own constructors draw, from random states keyed by the study's seed.

    The default of other packages' networks, which bring their own initialisation.
    """

    def apply(self, network: nn.Module, generator_for: GeneratorFor) -> None:
        """Change nothing."""
