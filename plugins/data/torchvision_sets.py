"""The data sets of torchvision, by their names there."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas.errors import UserError, nearest
from nas.plugin import Count, Data, DataSet, Pictures, plugin

from ._common import existing, size_of


@plugin("torchvision")
class Torchvision(DataSet):
    """A labelled data set of pictures from torchvision (`pip install 'nas-ablation[torchvision]'`), by its name there: `CIFAR10`.

    `root` is where its files lie, or, with `download`, where they shall. Its own test part is the test split. The other options
    are those of `folder`.
    """

    def __init__(
        self, *, name: str, root: str = "data", download: bool = False, size: Count | tuple[Count, ...] | None = None,
        gray: bool = False, limit: Count | None = None,
    ) -> None:  # fmt: skip
        self.name, self.root, self.download = name, root, download
        self.size, self.gray, self.limit = size_of(size), gray, limit

    def load(self) -> Data:
        """Return inputs (N, C, H, W) and targets (N,), the training part first."""
        parts = self._parts(_class_of(self.name))
        inputs = [self._pictures(part) for part in parts]
        targets = [_targets(part) for part in parts]
        labels = torch.cat(targets)
        names = getattr(parts[0], "classes", None) or [str(i) for i in range(int(labels.max()) + 1)]
        num_test = len(targets[1]) if len(parts) > 1 else 0
        if not all(isinstance(part, Tensor) for part in inputs) or self.size:
            encoded = [picture for part in inputs for picture in (map(_png, part) if isinstance(part, Tensor) else part)]
            gray = self.gray or all(isinstance(part, Tensor) and part.shape[1] == 1 for part in inputs)
            pictures: Tensor | Pictures = Pictures(_Held(encoded, self.name), size=self.size, gray=gray, streaming=False)
        else:
            pictures = torch.cat([part for part in inputs if isinstance(part, Tensor)])
        return Data(pictures, labels, tuple(map(str, names)), num_test=num_test).limited(self.limit)

    def _parts(self, cls: Any) -> list[Any]:
        """Return the data set's training and test part; or all of it, where torchvision knows no parts of it."""
        parameters = inspect.signature(cls).parameters
        given: dict[str, Any] = {}
        if "root" in parameters:
            given["root"] = self.root if self.download else str(existing(self.root))
        if "download" in parameters:
            given["download"] = self.download
        choices: list[dict[str, Any]] = [{}]
        if "train" in parameters:
            choices = [{"train": True}, {"train": False}]
        elif "split" in parameters:
            choices = [{"split": "train"}, {"split": "test"}]
        try:
            return [cls(**given, **choice) for choice in choices]
        except (RuntimeError, OSError, ValueError, TypeError) as error:
            hint = "" if self.download else "; `download: true` fetches it into `root`"
            raise UserError(f"torchvision's {self.name} cannot be opened in {self.root}: {error}{hint}") from error

    def _pictures(self, part: Any) -> Tensor | list[bytes]:
        """Return pictures as uint8 (N, C, H, W) where torchvision holds them in one array, else as PNG."""
        array = getattr(part, "data", None)
        if isinstance(array, np.ndarray | Tensor) and array.dtype in (np.uint8, torch.uint8) and array.ndim in (3, 4):
            pixels = torch.as_tensor(array)
            if pixels.dim() == 3:
                pixels = pixels.unsqueeze(1)
            elif pixels.shape[-1] in (1, 3) and pixels.shape[1] not in (1, 3):
                pixels = pixels.permute(0, 3, 1, 2)
            if self.gray and pixels.shape[1] == 3:  # the weights of ITU-R 601, as Pillow's
                pixels = ((pixels * torch.tensor([299, 587, 114]).view(1, 3, 1, 1)).sum(1, keepdim=True) // 1000).to(torch.uint8)
            return pixels.contiguous()
        return [_encoded(part[i][0]) for i in range(len(part))]


def _class_of(name: str) -> Any:
    try:
        datasets = importlib.import_module("torchvision.datasets")
    except ImportError as error:
        raise UserError(f"data 'torchvision' needs the package torchvision: pip install 'nas-ablation[torchvision]' ({error})") from error
    names = [n for n in datasets.__all__ if inspect.isclass(getattr(datasets, n))]
    if name not in names:
        raise UserError(f"torchvision has no data set '{name}'{nearest(name, names)}")
    return getattr(datasets, name)


def _targets(part: Any) -> Tensor:
    for attribute in ("targets", "labels", "_labels"):
        found = getattr(part, attribute, None)
        if found is not None and len(found) == len(part):
            return torch.as_tensor(np.asarray(found)).long()
    return torch.tensor([int(part[i][1]) for i in range(len(part))])


def _png(pixels: Tensor) -> bytes:
    from PIL import Image

    return _encoded(Image.fromarray(pixels.permute(1, 2, 0).squeeze(-1).numpy()))


def _encoded(image: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


class _Held:
    """Encoded pictures in memory."""

    def __init__(self, encoded: Sequence[bytes], name: str) -> None:
        self.encoded, self.set = encoded, name

    def __len__(self) -> int:
        return len(self.encoded)

    def read(self, i: int) -> bytes:
        return self.encoded[i]

    def name(self, i: int) -> str:
        return f"torchvision's {self.set}, picture {i}"

    def stamp(self, i: int) -> str:
        return hashlib.sha256(self.encoded[i]).hexdigest()
