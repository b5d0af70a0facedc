"""timm's models by name, where the package is installed."""

from __future__ import annotations

from torch import Tensor

from nas.plugin import Factory, Initialisation, Network, NetworkContext, plugin, use

from ._wrapped import built, known, logits_of, longest_path, needed


@plugin("timm")
class Timm(Network):
    """A model of timm by its name, untrained, for any number of input channels; needs the optional package timm.

    Models that are built for one size of picture have to be given that size.
    """

    def __init__(self, context: NetworkContext, *, model: str = "resnet18", init: Factory[Initialisation] = use("as_built")) -> None:
        super().__init__()
        timm = needed("timm")
        self.model_name = known(model, timm.list_models(), "timm")
        options = {"pretrained": False, "num_classes": context.num_outputs, "in_chans": context.input_shape[0]}
        self.model = built(lambda: timm.create_model(model, **options))
        self.num_layers = longest_path(self.model, context.input_shape)
        self.initialisation = init()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, num_outputs)."""
        return logits_of(self.model(x), self.model_name)
