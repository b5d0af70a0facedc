"""Scenes of noisy digits with their masks: a segmentation task that takes seconds and needs no download."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.plugin import Bounds, Count, Data, DataSet, Positive, plugin

INK = 0.4  # what is darker than this belongs to the digit


@plugin("noisy_scenes")
class NoisyScenes(DataSet):
    """Noisy pictures with handwritten digits at random places, and which pixel belongs to which.

    Each has `size`×`size` pixels and `digits` of scikit-learn's digits, scaled to `digit_size`, under Gaussian noise of
    deviation `noise`; where two digits meet, the darker ink counts. A pixel is 0 for background, else 1 (`binary`), or one more
    than its digit. What is lost on the way to a coarse resolution shows at the edges, so the known answer is that long skips
    help (Drozdzal et al. 2016, 1608.04117).
    """

    tasks: ClassVar[tuple[str, ...]] = ("segmentation",)

    def __init__(
        self,
        *,
        count: Count = 800,
        size: Annotated[int, Bounds(8, 512)] = 32,
        digits: Count = 3,
        digit_size: Annotated[int, Bounds(8, 512)] = 20,
        noise: Positive = 0.4,
        classes: Literal["binary", "digits"] = "binary",
        seed: int = 0,
    ) -> None:
        if digit_size > size:
            raise ValueError(f"digits of {digit_size} pixels do not fit into pictures of {size}; make digit_size smaller")
        self.count, self.size, self.digits, self.digit_size = count, size, digits, digit_size
        self.noise, self.by_digit, self.seed = noise, classes == "digits", seed

    def load(self) -> Data:
        """Return inputs (count, 1, size, size) and targets (count, size, size)."""
        from sklearn.datasets import load_digits  # imported late: it takes most of a second

        bunch = load_digits()
        small = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16
        glyphs = F.interpolate(small, (self.digit_size, self.digit_size), mode="bilinear").squeeze(1)
        labels = torch.tensor(bunch.target, dtype=torch.int64) + 1 if self.by_digit else torch.ones(len(glyphs), dtype=torch.int64)
        generator = torch.Generator().manual_seed(self.seed)
        pictures, masks = self._scenes(glyphs, labels, generator)
        pictures += self.noise * torch.randn(pictures.shape, generator=generator)
        names = tuple(str(name) for name in bunch.target_names) if self.by_digit else ("digit",)
        return Data(pictures.unsqueeze(1), masks, ("background", *names))

    def _scenes(self, glyphs: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Put one digit after another into all scenes at once: glyphs (G, S, S), labels (G,)."""
        pictures = torch.zeros(self.count, self.size, self.size)
        masks = torch.zeros(pictures.shape, dtype=torch.int64)
        scene, offsets = torch.arange(self.count)[:, None, None], torch.arange(self.digit_size)
        for _ in range(self.digits):
            chosen = torch.randint(len(glyphs), (self.count,), generator=generator)
            top, left = torch.randint(self.size - self.digit_size + 1, (2, self.count), generator=generator)
            place = (scene, (top[:, None] + offsets)[:, :, None], (left[:, None] + offsets)[:, None, :])
            ink = glyphs[chosen]
            darker = ink > pictures[place]
            masks[place] = torch.where(darker & (ink > INK), labels[chosen][:, None, None], masks[place])
            pictures[place] = torch.maximum(ink, pictures[place])
        return pictures, masks
