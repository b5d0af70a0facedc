"""Data sets of the Hugging Face hub, or saved from it, through the package `datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nas.errors import UserError, listed, nearest
from nas.plugin import Count, Data, DataSet, Pictures, plugin

from ._common import parts_of, read_labels, size_of


@plugin("huggingface")
class HuggingFace(DataSet):
    """A labelled data set of pictures through `datasets` (`pip install 'nas-ablation[huggingface]'`), by its name on the hub.

    `name` may be a local folder, saved by `save_to_disk` or holding files that `datasets` reads: then nothing is fetched.
    `config` chooses one of several configurations; `image` and `label` name the columns where that is not clear. The pictures are
    memory-mapped by `datasets`, so they may be more than memory holds. The other options are those of `folder`.
    """

    def __init__(
        self, *, name: str, config: str | None = None, image: str | None = None, label: str | None = None,
        size: Count | tuple[Count, ...] | None = None, gray: bool = False, limit: Count | None = None, streaming: bool | None = None,
    ) -> None:  # fmt: skip
        self.name, self.config, self.image, self.label = name, config, image, label
        self.size, self.gray, self.limit, self.streaming = size_of(size), gray, limit, streaming

    def load(self) -> Data:
        """Return inputs (N, C, H, W), still encoded, and targets (N,)."""
        datasets = _package()
        found = self._open(datasets)
        train, test = parts_of(found)
        chosen = [found[name] for name in ((*train, *test) if train else found)]
        features = chosen[0].features
        image = self.image or _only(features, "image", datasets.Image)
        label = self.label or _only(features, "label", datasets.ClassLabel)
        for option, column in (("image", image), ("label", label)):
            if column not in features:
                raise UserError(f"{self.name}: {option}: it has no column '{column}'{nearest(column, features)}")
        rows = _Rows(self.name, [part.select_columns(image).cast_column(image, datasets.Image(decode=False)) for part in chosen], image)
        labels, classes = read_labels([v for part in chosen for v in part[label][:]], rows.name, getattr(features[label], "names", ()))
        pictures = Pictures(rows, size=self.size, gray=self.gray, streaming=self.streaming)
        num_test = sum(len(found[name]) for name in test) if train else 0
        return Data(pictures, labels, classes, num_test=num_test).limited(self.limit)

    def _open(self, datasets: Any) -> Any:
        """Return the parts by name."""
        folder = Path(self.name).expanduser()
        saved = folder.is_dir() and any((folder / name).exists() for name in ("dataset_dict.json", "state.json"))
        try:
            found = datasets.load_from_disk(str(folder)) if saved else datasets.load_dataset(self.name, self.config)
        except Exception as error:  # the hub's client has many of its own
            raise UserError(f"the data set '{self.name}' cannot be opened: {type(error).__name__}: {error}") from error
        return found if isinstance(found, dict) else {"all": found}


def _package() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"data 'huggingface' needs the package datasets: pip install 'nas-ablation[huggingface]' ({error})") from error
    return datasets


def _only(features: Any, what: str, kind: type) -> str:
    found = [name for name, feature in features.items() if isinstance(feature, kind)]
    if len(found) != 1:
        seen = f"{listed(found)} all could be" if found else f"none is of the type {kind.__name__}"
        raise UserError(f"which column holds the {what}s is not clear: {seen}; set `{what}` to one of {listed(list(features))}")
    return str(found[0])


class _Rows:
    """The encoded pictures of some parts, one after the other."""

    def __init__(self, name: str, parts: list[Any], column: str) -> None:
        self.set, self.parts, self.column = name, parts, column

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def _place(self, i: int) -> tuple[Any, int]:
        for part in self.parts:
            if i < len(part):
                return part, i
            i -= len(part)
        raise IndexError(i)

    def read(self, i: int) -> bytes:
        part, row = self._place(i)
        found = part[row][self.column]
        if found is None:
            raise UserError(f"{self.name(i)}: holds no picture")
        encoded: bytes = found["bytes"] or Path(found["path"]).read_bytes()
        return encoded

    def name(self, i: int) -> str:
        part, row = self._place(i)
        return f"{self.set}, {part.split or 'all'}, row {row} (counted from 0)"

    def stamp(self, i: int) -> str:
        part, row = self._place(i)
        return f"{part._fingerprint} {row}"
