"""Layer 3: a trained network as one file: its weights, the architecture in plain JSON, and what its inputs are prepared by."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nas.building import build
from nas.errors import UserError
from nas.plugin import Network, NetworkContext
from nas.registry import Registry
from nas.training.checkpoint import save
from nas.training.data import Split
from nas.values.architecture import Configuration

FORMAT = 1
SUFFIX = ".pt"


@dataclass(frozen=True)
class About:
    """What a kept network's file says of it beside its weights; all of it is plain data.

    `figures` are the training's final metrics, `classes` the names of the outputs where they have any.
    """

    configuration: Configuration
    context: NetworkContext
    seed: int
    split_seed: int
    classes: tuple[str, ...] = ()
    figures: tuple[tuple[str, float], ...] = ()


class KeptNetwork(nn.Module):
    """A trained network that takes what its data set gives, in eval mode.

    Inputs (B, C, H, W) or (B, F) are float32, or uint8 pictures, as the data set's `load()` returns them: they are normalised
    as in the training. The answers of a regression are in the targets' own units. `network` is the network alone.
    """

    mean: Tensor
    std: Tensor
    target_mean: Tensor | None
    target_std: Tensor | None

    def __init__(self, network: Network, about: About, mean: Tensor, std: Tensor, target_scale: tuple[Tensor, Tensor] | None) -> None:
        super().__init__()
        self.network, self.about = network, about
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        for name, value in zip(("target_mean", "target_std"), target_scale or (None, None), strict=True):
            self.register_buffer(name, value)
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, …) -> (B, num_outputs, …)."""
        raw = inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs
        weight = next(self.network.parameters())
        outputs: Tensor = self.network(((raw - self.mean) / self.std).to(weight.dtype)).float()
        if self.target_mean is None or self.target_std is None:
            return outputs
        return outputs * self.target_std + self.target_mean


def keep_network(file: Path, network: nn.Module, about: About, split: Split) -> None:
    """Write a trained network to `file`, whole or not at all; `torch.load(file, weights_only=True)` reads it. Raises OSError."""
    part, context = split.train, about.context
    document: dict[str, Any] = {
        "format": FORMAT,
        "state": {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()},
        "architecture": json.dumps(about.configuration.architecture.to_dict()),
        "configuration": json.dumps(about.configuration.to_dict()),
        "input_shape": list(context.input_shape),
        "num_outputs": context.num_outputs,
        "output_shape": list(context.output_shape),
        "seed": about.seed,
        "split_seed": about.split_seed,
        "classes": list(about.classes),
        "figures": dict(about.figures),
        "mean": part.mean.cpu(),
        "std": part.std.cpu(),
        "target_scale": list(split.target_scale or ()),
    }
    save(document, file)


def read_about(file: Path) -> About:
    """Return what a file says of its network, without building it. Raises UserError where it holds none."""
    return _about(_document(file))


def read_network(file: Path, registry: Registry) -> KeptNetwork:
    """Build the network of a file that `keep_network` wrote, with its weights, on the CPU.

    Raises UserError where the file holds none, or the plugins of this process build another network than was trained.
    """
    document = _document(file)
    about = _about(document)
    network = build(about.configuration.architecture, registry, about.context, seed=about.seed)
    weights = next(iter(document["state"].values()), torch.empty(0))
    try:
        network.to(weights.dtype if weights.is_floating_point() else None).load_state_dict(document["state"])
    except RuntimeError as error:
        raise UserError(f"{file}: its weights do not fit the network that the plugins here build of its architecture: {error}") from None
    scale = document["target_scale"]
    return KeptNetwork(network, about, document["mean"], document["std"], (scale[0], scale[1]) if scale else None)


def _document(file: Path) -> dict[str, Any]:
    try:
        document = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError, KeyError) as error:
        reason = getattr(error, "strerror", None) or "it is no file of torch.save with plain data and tensors alone"
        raise UserError(f"{file}: cannot be read as a kept network: {reason}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise UserError(f"{file}: must be a network that nas kept, of format {FORMAT}, got {found}")
    return document


def _about(document: dict[str, Any]) -> About:
    return About(
        Configuration.from_dict(json.loads(document["configuration"])),
        NetworkContext(tuple(document["input_shape"]), document["num_outputs"], tuple(document["output_shape"])),
        document["seed"],
        document["split_seed"],
        tuple(document["classes"]),
        tuple(document["figures"].items()),
    )
