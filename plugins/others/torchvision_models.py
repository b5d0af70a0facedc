"""torchvision's classification models by name, where the package is installed."""

from __future__ import annotations

from torch import Tensor

from nas.plugin import Factory, Initialisation, Network, NetworkContext, plugin, use

from ._wrapped import built, known, logits_of, longest_path, needed

WITHOUT_SIDE_OUTPUTS: dict[str, dict[str, bool]] = {
    "googlenet": {"aux_logits": False, "init_weights": False},
    "inception_v3": {"aux_logits": False, "init_weights": False},
}
"""The options under which the two models with classifiers half-way give one answer."""


@plugin("torchvision")
class Torchvision(Network):
    """A classification model of torchvision by its name, untrained; needs the optional package torchvision.

    Its models read three channels: a picture of one channel is given to them three times.
    """

    def __init__(self, context: NetworkContext, *, model: str = "resnet18", init: Factory[Initialisation] = use("as_built")) -> None:
        super().__init__()
        models = needed("torchvision").models
        channels, *size = context.input_shape
        if channels not in (1, 3):
            raise ValueError(f"torchvision's models read pictures of 3 channels (or 1, repeated), got {channels}; take timm's")
        self.model_name = known(model, models.list_models(module=models), "torchvision")
        options = {"weights": None, "num_classes": context.num_outputs, **WITHOUT_SIDE_OUTPUTS.get(model, {})}
        self.model = built(lambda: models.get_model(model, **options))
        self.num_layers = longest_path(self.model, (3, *size))
        self.initialisation = init()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1 or 3, H, W) -> (B, num_outputs)."""
        return logits_of(self.model(x.expand(-1, 3, -1, -1)), self.model_name)
