"""Pictures like those of the data, from noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.plugin import Data, Metric, Task, plugin

from ._judge import SHAPE, digits_judge

SCORES = 3  # of real pictures, of made ones for the discriminator, of the same for the generator


@plugin("generation")
class Generation(Task):
    """New pictures like those of the data, by adversarial training with the hinge loss (Miyato et al. 2018, 1802.05957, §2).

    A network answers with C + 3 maps: a picture that it made, and, the same in every pixel, the discriminator's score of the
    real picture, of the made one, and of the made one again for the generator to raise.

    The figure is the Fréchet distance between real and made pictures, both read as normal distributions: of `pixels` in
    standardised units, or of the features of a classifier that was trained on scikit-learn's `digits`. Heusel et al. 2017,
    1706.08500, take it between features of a network that is trained on photographs, which digits are not.
    """

    metrics: ClassVar[tuple[Metric, ...]] = (Metric("frechet", "minimize"),)

    def __init__(
        self, *, features: Literal["pixels", "digits"] = "pixels", chance: float | None = None, failure_score: float | None = None
    ) -> None:
        super().__init__(chance=chance, failure_score=failure_score)
        self.features = features

    def check(self, data: Data) -> None:
        """Targets are the pictures themselves, float32 (N, C, H, W); the features of digits need pictures of their size."""
        if self.features == "digits" and data.input_shape != SHAPE:
            raise ValueError(f"compares features of digits, which are {SHAPE}, got {data.input_shape}; set `features: pixels`")
        if data.targets.dim() != 4 or tuple(data.targets.shape[1:]) != data.input_shape:
            raise ValueError(
                f"needs the inputs' own shape (N, {', '.join(map(str, data.input_shape))}) as targets, got {tuple(data.targets.shape)}"
            )

    def output_shape(self, data: Data) -> tuple[int, ...]:
        """A picture's channels, and three maps of scores."""
        channels, *size = data.input_shape
        return (channels + SCORES, *size)

    def loss(self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
        """The hinge losses of both networks, each through its own scores: (B, C + 3, H, W) -> ()."""
        real, made, fooling = outputs[:, -SCORES:].mean((2, 3)).unbind(1)
        return F.relu(1 - real).mean() + F.relu(1 + made).mean() - fooling.mean()

    def tally(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """How many, sums and sums of products of D features, made and real: (B, C + 3, H, W), (B, C, H, W) -> (1 + 2(D + D²),)."""
        parts = [torch.full((1,), float(len(targets)), device=targets.device)]
        for pictures in (outputs[:, :-SCORES], targets):
            flat = self._read(pictures)
            parts += [flat.sum(0), (flat.T @ flat).flatten()]
        return torch.cat(parts)

    def _read(self, pictures: Tensor) -> Tensor:
        """Return what is compared of pictures, (B, C, H, W) -> (B, D)."""
        if self.features == "pixels":
            return pictures.flatten(1).float()
        found: Tensor = digits_judge(str(pictures.device))(pictures.float())
        return found

    def figures(self, tally: Tensor) -> Mapping[str, float]:
        """The squared Fréchet distance of two normal distributions, |m − m'|² + tr(S + S' − 2(SS')^½)."""
        count, made, real = float(tally[0]), *tally[1:].double().chunk(2)
        (mean, cov), (other_mean, other_cov) = (_moments(half, count) for half in (made, real))
        # tr (SS')^½ is the sum of the roots of the eigenvalues of S^½ S' S^½, which is symmetric.
        root = _root(cov)
        shared = torch.linalg.eigvalsh(root @ other_cov @ root).clamp_min(0).sqrt().sum()
        return {"frechet": float((mean - other_mean).square().sum() + cov.trace() + other_cov.trace() - 2 * shared)}

    def constant(self, targets: Tensor, output_shape: tuple[int, ...]) -> Mapping[str, float]:
        """The mean picture, always; and the loss where every score is 0."""
        read, always = self._read(targets), self._read(targets.mean(0, keepdim=True))
        return {"frechet": float(read.var(0, correction=0).sum() + (read.mean(0) - always[0]).square().sum()), "loss": 2.0}


def _moments(sums: Tensor, count: float) -> tuple[Tensor, Tensor]:
    """Return mean and covariance of D features from their sums and sums of products, (D + D²,)."""
    size = round((-1 + (1 + 4 * len(sums)) ** 0.5) / 2)
    mean = sums[:size] / count
    return mean, sums[size:].view(size, size) / count - mean.outer(mean)


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root
