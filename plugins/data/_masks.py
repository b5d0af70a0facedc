"""Masks as PNG files beside pictures: each pixel's value is the number of its class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nas.errors import UserError, listed

TWO_VALUED = 255
"""What drawing programs write for "inside" where a mask has two classes."""


def read_masks(
    pictures: Sequence[Path], root: Path, masks: Path, *, size: tuple[int, int], resized: bool, classes: Sequence[str]
) -> tuple[Tensor, tuple[str, ...]]:
    """Return the masks of pictures under `root`, int64 (N, H, W), and the names of their classes.

    The mask of `root/a/1.jpg` is `masks/a/1.png`. Where pictures are brought to a `size` (height, width), masks are cut as they
    are, by the nearest pixel. Raises UserError, naming the file, for a mask that is missing, no PNG of numbers, of another size
    than its picture, or with a value that is no class.
    """
    files = {picture: masks / picture.relative_to(root).with_suffix(".png") for picture in pictures}
    for picture, mask in files.items():
        if not mask.is_file():
            raise UserError(f"{picture}: there is no mask {mask}; a mask is called as its picture, and ends in .png")
    targets = torch.stack([_read(mask, picture, size, resized=resized) for picture, mask in files.items()])
    values = targets.unique().tolist()
    if not classes and set(values) == {0, TWO_VALUED}:
        targets, values = targets // TWO_VALUED, [0, 1]
    named = tuple(classes) or tuple(str(number) for number in range(max(values) + 1))
    if max(values) >= len(named):
        row = int((targets >= len(named)).flatten(1).any(1).nonzero()[0])
        told = f"{len(named)} classes, {listed(named)}, numbered from 0"
        raise UserError(f"{list(files.values())[row]}: a pixel is {int(targets[row].max())}, but there are {told}")
    return targets, named


def _read(mask: Path, picture: Path, size: tuple[int, int], *, resized: bool) -> Tensor:
    """Read one mask: int64 (H, W)."""
    from PIL import Image, ImageOps

    try:
        image: Image.Image = Image.open(mask)
        image.load()
        shape = ImageOps.exif_transpose(Image.open(picture)).size if resized else size[::-1]
    except (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError) as error:
        raise UserError(f"{mask}: this mask or its picture {picture} cannot be decoded ({error}); mend or remove it") from error
    if image.mode not in ("1", "L", "P", "I", "I;16"):
        raise UserError(f"{mask}: its pixels are colours ({image.mode}); a mask is a PNG in gray or with a palette, of class numbers")
    if image.size != shape:
        raise UserError(
            f"{mask}: is {image.height}×{image.width} pixels (height × width), but its picture {picture} is {shape[1]}×{shape[0]}; "
            "a mask gives each pixel of its picture a class"
        )
    if resized:
        image = ImageOps.fit(image, size[::-1], method=Image.Resampling.NEAREST)
    return torch.from_numpy(np.array(image).astype(np.int64))
