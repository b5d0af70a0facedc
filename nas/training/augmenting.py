"""Layer 3: changes training batches at random, from a stream of its own, masks along with their pictures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nas.errors import UserError
from nas.plugin import Augmentation
from nas.values.seeds import derive


class Augmenter:
    """Applies augmentations in their order; `seed` keys their stream, so twins see the same changes of the same batches.

    `rank` keys it too: the processes of one training each change their own share of a batch.
    """

    def __init__(self, augmentations: Sequence[Augmentation], *, seed: int, rank: int = 0) -> None:
        self.augmentations = tuple(augmentations)
        self.generator = torch.Generator().manual_seed(derive(seed, "augment", *([rank] if rank else [])))

    def __call__(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return changed inputs, (B, C, H, W), and their targets; those of the shape (B, H, W) move with the pixels."""
        if self.augmentations and inputs.dim() != 4:
            raise UserError(f"train.augment: changes pictures (channels, height, width), but an input has the shape {(*inputs.shape[1:],)}")
        for augmentation in self.augmentations:
            before = self.generator.get_state()
            inputs = augmentation.apply(inputs, self.generator)
            if augmentation.moves_pixels and targets.shape[1:] == inputs.shape[2:]:
                # The same draws again, from where they began, move the masks as they moved the pictures.
                self.generator.set_state(before)
                targets = augmentation.apply(targets.unsqueeze(1), self.generator).squeeze(1)
        return inputs, targets
