"""Pictures in folders, one folder a class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from nas.errors import UserError, listed
from nas.plugin import Count, Data, DataSet, PictureFiles, Pictures, plugin

from ._common import existing, parts_of, size_of

ENDINGS = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm"))


@plugin("folder")
class Folder(DataSet):
    """Pictures in folders, one folder a class: `path/cat/1.jpg`; with a test part of its own, `path/train/cat/1.jpg` and `path/test/…`.

    `size` brings all to one size (one number, or [height, width]); `gray` to one channel. `limit` takes so many of them, each
    class by its share. `streaming` decodes in every epoch anew; by default what does not fit into memory is streamed.
    """

    def __init__(
        self, *, path: str, size: Count | tuple[Count, ...] | None = None, gray: bool = False, limit: Count | None = None,
        streaming: bool | None = None,
    ) -> None:  # fmt: skip
        self.path, self.size, self.gray, self.limit, self.streaming = path, size_of(size), gray, limit, streaming

    def load(self) -> Data:
        """Return inputs (N, C, H, W), still encoded, and targets (N,), the number of the picture's class folder."""
        root = existing(self.path)
        if not root.is_dir():
            raise UserError(f"{root} is a file; name the folder that holds one folder for each class")
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


def _pictures(root: Path, classes: Sequence[str]) -> list[tuple[Path, int]]:
    found = []
    for folder in _folders(root):
        if folder.name not in classes:
            raise UserError(f"{folder}: there is no class '{folder.name}' to train on; there are {listed(classes)}")
        files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in ENDINGS and not file.name.startswith("."))
        if not files:
            raise UserError(f"{folder} holds no pictures ({', '.join(sorted(ENDINGS))}); add some, or remove the folder")
        found += [(file, classes.index(folder.name)) for file in files]
    return found


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _holds_folders(root: Path, names: Sequence[str]) -> bool:
    """Whether `train` holds classes; a class of its own may be called so too."""
    return all(_folders(root / name) for name in names)
