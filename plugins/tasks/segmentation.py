"""One class for each pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.plugin import IOU, Data, Fraction, Metric, Task, plugin

_SAMPLE = 64  # examples on which the loss of a uniform guess is taken: it hardly depends on them


@plugin("segmentation")
class Segmentation(Task):
    """One class for each pixel; the score is the mean IoU.

    The IoU of a class is the number of pixels that are in it and were put in it, over those for which either holds, counted
    over all pictures of a part; its mean is taken over the classes for which there are such pixels (Everingham et al. 2015,
    The Pascal Visual Object Classes Challenge, §3.2). A training has failed where that is not above the mean IoU of the best
    answer that puts every pixel in one class.

    `loss` is cross-entropy over pixels, or one minus the mean soft Dice overlap of the classes (Milletari et al. 2016,
    1606.04797, §3, without squares, plus one pixel so that a class without any counts as met).
    """

    metrics: ClassVar[tuple[Metric, ...]] = (IOU,)

    def __init__(
        self,
        *,
        loss: Literal["cross_entropy", "dice"] = "cross_entropy",
        chance: Fraction | None = None,
        failure_score: Fraction | None = None,
    ) -> None:
        super().__init__(chance=chance, failure_score=failure_score)
        self.loss_name = loss

    def check(self, data: Data) -> None:
        """Targets are int64 (N, H, W), as large as the inputs."""
        targets, size = data.targets, data.input_shape[1:]
        if targets.dim() != 3 or targets.is_floating_point() or tuple(targets.shape[1:]) != size:
            told = f"{targets.dtype} {tuple(targets.shape)}"
            raise ValueError(f"needs one class index for each pixel, int64 {('N', *size)}, got {told}".replace("'", ""))

    def output_shape(self, data: Data) -> tuple[int, ...]:
        """One score a class and pixel."""
        return (data.num_classes, *data.input_shape[1:])

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """(B, C, H, W), (B, H, W) -> ()."""
        if self.loss_name == "cross_entropy":
            return F.cross_entropy(outputs, targets)
        wanted = F.one_hot(targets, outputs.shape[1]).movedim(-1, 1)
        given = outputs.softmax(1)
        pixels = (0, 2, 3)
        overlap = (2 * (given * wanted).sum(pixels) + 1) / (given.sum(pixels) + wanted.sum(pixels) + 1)
        return 1 - overlap.mean()

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Pixels of each class that are rightly in it, were put in it, belong in it: (B, C, H, W), (B, H, W) -> (3C,)."""
        size = outputs.shape[1]
        places = (outputs.argmax(1) * size + targets).flatten()
        # Not by bincount, whose size hangs on the values: the program would wait for them at every step on a GPU.
        counts = places.new_zeros(size * size).scatter_add_(0, places, torch.ones_like(places)).view(size, size)
        return torch.cat((counts.diagonal(), counts.sum(1), counts.sum(0)))

    def figures(self, tally: Tensor) -> Mapping[str, float]:
        """The mean IoU over the classes that occur."""
        right, given, wanted = tally.double().view(3, -1)
        either = given + wanted - right
        return {"iou": float((right / either)[either > 0].mean())}

    def constant(self, targets: Tensor, output_shape: tuple[int, ...]) -> Mapping[str, float]:
        """One class everywhere: its share of the pixels, over the number of classes that occur."""
        counts = targets.flatten().bincount().double()
        some = targets[:_SAMPLE]
        uniform = self.loss(torch.zeros(len(some), *output_shape, device=some.device), some)
        return {"iou": float(counts.max() / counts.sum() / (counts > 0).sum()), "loss": float(uniform)}
