"""Layer 1: what a network is trained with: optimizers, schedules and augmentations."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device, without waiting for what that device still has to do, as `tensor.to(device)` would on a GPU."""
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class Optimizer:
    """A recipe for a `torch.optim.Optimizer`: `build(parameters)`."""

    kind: ClassVar[str] = "optimizer"

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimizer over `parameters`."""
        raise NotImplementedError(f"optimizer {type(self).__name__} defines no build(parameters)")


class Schedule:
    """How the learning rate moves over a training: `factor(step, num_steps)` multiplies it."""

    kind: ClassVar[str] = "schedule"

    def factor(self, step: int, num_steps: int) -> float:
        """Return the factor at optimizer step `step` of `num_steps`, counted from 0."""
        raise NotImplementedError(f"schedule {type(self).__name__} defines no factor(step, num_steps)")


class Augmentation:
    """A random change of training inputs, made on whole batches on the device: `apply(inputs, generator)`.

    What is random must be drawn from `generator`, which lies on the CPU, in an amount that depends on the shape of a batch alone:
    so twins see equal changes, whatever their networks draw; `nas.plugin.moved` takes it to where the inputs lie. Inputs come
    normalised: 0 is the mean colour.
    """

    kind: ClassVar[str] = "augmentation"
    moves_pixels: ClassVar[bool] = False
    """Whether pixels change their place, so that targets that are pictures themselves (masks) have to move along."""

    def apply(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), the given inputs left as they were."""
        raise NotImplementedError(f"augmentation {type(self).__name__} defines no apply(inputs, generator)")
