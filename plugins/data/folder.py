"""Pictures in folders: one folder a class, or beside a folder of masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch

from nas.errors import UserError, listed
from nas.plugin import Count, Data, DataSet, PictureFiles, Pictures, plugin

from ._common import existing, parts_of, size_of
from ._masks import read_masks

ENDINGS = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"))


@plugin("folder")
class Folder(DataSet):
    """Pictures in folders, one folder a class: `path/cat/1.jpg`; with a test part of its own, `path/train/cat/1.jpg` and `path/test/…`.

    With `masks`, for `task: segmentation`, pictures lie under `path` as they like, and each has a PNG of its name under `masks`,
    `masks/1.png` for `path/1.jpg`, whose pixels are class numbers; one of 0 and 255 alone has two classes. `classes` names them.
    `size` brings all to one size (one number, or [height, width]); `gray` to one channel. `limit` takes so many of them, each
    class by its share. `streaming` decodes in every epoch anew; by default what does not fit into memory is streamed.
    """

    tasks: ClassVar[tuple[str, ...]] = ("classification", "segmentation")

    def __init__(
        self, *, path: str, masks: str | None = None, classes: tuple[str, ...] = (), size: Count | tuple[Count, ...] | None = None,
        gray: bool = False, limit: Count | None = None, streaming: bool | None = None,
    ) -> None:  # fmt: skip
        self.masks, self.classes = masks, classes
        self.path, self.size, self.gray, self.limit, self.streaming = path, size_of(size), gray, limit, streaming

    def load(self) -> Data:
        """Return inputs (N, C, H, W), still encoded, and targets (N,), the number of the picture's class folder."""
        root = existing(self.path)
        if not root.is_dir():
            raise UserError(f"{root} is a file; name the folder that holds one folder for each class")
        if self.masks is None and (self.task == "segmentation" or self.classes):
            raise UserError(f"{root}: {'segmentation' if self.task == 'segmentation' else '`classes`'} needs `masks`, a folder of PNGs")
        if self.masks is not None:
            return self._with_masks(root, existing(self.masks))
        train, test = parts_of(folder.name for folder in _folders(root))
        parts = [[root / name for name in train], [root / name for name in test]] if train and _holds_folders(root, train) else [[root], []]
        classes = tuple(sorted({folder.name for part in parts[0] for folder in _folders(part)}))
        if not classes:
            raise UserError(f"{root} has no folders; put the pictures of each class into a folder of its own, named as the class")
        files, labels, counts = [], [], []
        for part in parts:
            found = [(file, label) for folder in part for file, label in _pictures(folder, classes)]
            files += [file for file, _ in found]
            labels += [label for _, label in found]
            counts.append(len(found))
        pictures = Pictures(PictureFiles(files), size=self.size, gray=self.gray, streaming=self.streaming)
        return Data(pictures, torch.tensor(labels), classes, num_test=counts[1]).limited(self.limit)

    def _with_masks(self, root: Path, masks: Path) -> Data:
        """Return inputs (N, C, H, W), still encoded, and targets (N, H, W), read from the masks."""
        if self.task != "segmentation":
            raise UserError(f"{root}: `masks` are for segmentation; write `task: segmentation` into the space")
        train, test = parts_of(folder.name for folder in _folders(root))
        parts = [[root / name for name in names] for names in (train, test)] if train else [[root], []]
        # Masks may lie below the pictures' own folder.
        found = [[file for folder in part for file in _picture_files(folder) if masks not in file.parents] for part in parts]
        files = [file for part in found for file in part]
        if not files:
            raise UserError(f"{root} holds no pictures ({', '.join(sorted(ENDINGS))})")
        pictures = Pictures(PictureFiles(files), size=self.size, gray=self.gray, streaming=self.streaming)
        chosen = Data(pictures, torch.arange(len(files)).float(), num_test=len(found[1])).limited(self.limit)
        assert isinstance(chosen.inputs, Pictures), "as they were given"
        kept = [files[row] for row in chosen.inputs.rows.tolist()]
        targets, classes = read_masks(kept, root, masks, size=pictures.size, resized=self.size is not None, classes=self.classes)
        return Data(chosen.inputs, targets, classes, num_test=chosen.num_test)


def _pictures(root: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    found = []
    for folder in _folders(root):
        if folder.name not in classes:
            raise UserError(f"{folder}: there is no class '{folder.name}' to train on; there are {listed(classes)}")
        files = _picture_files(folder)
        if not files:
            raise UserError(f"{folder} holds no pictures ({', '.join(sorted(ENDINGS))}); add some, or remove the folder")
        found += [(file, classes.index(folder.name)) for file in files]
    return found


def _picture_files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and not file.name.startswith("."))


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _holds_folders(root: Path, names: Sequence[str]) -> bool:
    """Whether `train` holds classes; a class of its own may be called so too."""
    return all(_folders(root / name) for name in names)
