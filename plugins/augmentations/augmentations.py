"""The usual augmentations of small pictures, as operations on a whole batch where it lies."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.plugin import Augmentation, Count, Fraction, moved, plugin


@plugin("flip")
class Flip(Augmentation):
    """Each picture is mirrored left to right with probability `p`. Not for pictures that a mirror changes, such as digits."""

    moves_pixels = True

    def __init__(self, *, p: Fraction = 0.5) -> None:
        self.p = p

    def apply(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        mirrored = moved(torch.rand(len(inputs), generator=generator) < self.p, inputs.device)
        return torch.where(mirrored.view(-1, 1, 1, 1), inputs.flip(-1), inputs)


@plugin("pad_crop")
class PadCrop(Augmentation):
    """Each picture gets `padding` pixels of the mean colour on every side and is cut back to its size at a random place.

    With 4 pixels this is He et al. 2015, §4.2.
    """

    moves_pixels = True

    def __init__(self, *, padding: Count = 4) -> None:
        self.padding = padding

    def apply(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        batch, channels, height, width = inputs.shape
        corner = moved(torch.randint(2 * self.padding + 1, (2, batch, 1), generator=generator), inputs.device)
        padded = F.pad(inputs, (self.padding,) * 4)
        rows = (corner[0] + torch.arange(height, device=inputs.device)).view(batch, 1, height, 1)
        columns = (corner[1] + torch.arange(width, device=inputs.device)).view(batch, 1, 1, width)
        pictures = torch.arange(batch, device=inputs.device).view(-1, 1, 1, 1)
        return padded[pictures, torch.arange(channels, device=inputs.device).view(1, -1, 1, 1), rows, columns]


@plugin("cutout")
class Cutout(Augmentation):
    """A square of `size` pixels around a random place of each picture becomes the mean colour (DeVries and Taylor 2017)."""

    def __init__(self, *, size: Count = 8) -> None:
        self.size = size

    def apply(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W); a square at the border is cut off there, as in the paper."""
        inside = []
        for length in inputs.shape[2:]:
            start = torch.randint(length, (len(inputs), 1), generator=generator) - self.size // 2
            places = torch.arange(length)
            inside.append(moved((places >= start) & (places < start + self.size), inputs.device))
        hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        return inputs.masked_fill(hole, 0.0)
