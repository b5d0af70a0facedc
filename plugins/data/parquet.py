"""Pictures and labels in Parquet files, laid out as hubs of data sets do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nas.errors import UserError, listed, nearest
from nas.plugin import Count, Data, DataSet, Pictures, file_stamp, plugin

from ._common import existing, parts_of, read_labels, size_of

LABELS = ("label", "labels", "class", "target", "fine_label")


@plugin("parquet")
class Parquet(DataSet):
    """Parquet files with a column of encoded pictures (bytes, or a struct with `bytes`) and one of labels.

    `path` is a file, or a folder whose files are all read: those whose names begin with `test` are the test part beside
    `train`. `image` and `label` name the columns where that is not clear. The other options are those of `folder`. The encoded
    pictures are held in memory.
    """

    def __init__(
        self, *, path: str, image: str | None = None, label: str | None = None, size: Count | tuple[Count, ...] | None = None,
        gray: bool = False, limit: Count | None = None, streaming: bool | None = None,
    ) -> None:  # fmt: skip
        self.path, self.image, self.label = path, image, label
        self.size, self.gray, self.limit, self.streaming = size_of(size), gray, limit, streaming

    def load(self) -> Data:
        """Return inputs (N, C, H, W), still encoded, and targets (N,)."""
        import pyarrow as pa

        root = existing(self.path)
        files = {str(f.relative_to(root)): f for f in sorted(root.rglob("*.parquet"))} if root.is_dir() else {root.name: root}
        if not files:
            raise UserError(f"{root} holds no .parquet files")
        train, test = parts_of(files)
        chosen = [files[name] for name in (*train, *test)] if train else list(files.values())
        tables = [_read(file) for file in chosen]
        image = self.image or _only(tables[0].schema, "image", lambda field: _holds_bytes(field.type, pa))
        label = self.label or _only(tables[0].schema, "label", lambda field: field.name in LABELS)
        rows = Rows(chosen, [_column(table, image, file) for table, file in zip(tables, chosen, strict=True)])
        values = [v for table, file in zip(tables, chosen, strict=True) for v in _column(table, label, file).to_pylist()]
        labels, classes = read_labels(values, rows.name, _class_names(tables[0].schema, label))
        pictures = Pictures(rows, size=self.size, gray=self.gray, streaming=self.streaming)
        num_test = sum(len(table) for table in tables[len(train) :]) if train else 0
        return Data(pictures, labels, classes, num_test=num_test).limited(self.limit)


class Rows:
    """The encoded pictures of some Parquet files, one after the other."""

    def __init__(self, files: list[Path], columns: list[Any]) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        self.files, self.lengths = files, [len(column) for column in columns]
        self.stamps = [file_stamp(file) for file in files]
        plain = [pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column for column in columns]
        self.column = pa.chunked_array([chunk.cast(pa.large_binary()) for column in plain for chunk in column.chunks], pa.large_binary())

    def __len__(self) -> int:
        return len(self.column)

    def place(self, i: int) -> tuple[int, int]:
        """Return which file a picture is in, and its row there."""
        for number, length in enumerate(self.lengths):
            if i < length:
                return number, i
            i -= length
        raise IndexError(i)

    def read(self, i: int) -> bytes:
        """Return a picture's bytes."""
        found: bytes | None = self.column[i].as_py()
        if found is None:
            raise UserError(f"{self.name(i)}: holds no picture")
        return found

    def name(self, i: int) -> str:
        """Return file and row."""
        number, row = self.place(i)
        return f"{self.files[number]}, row {row} (counted from 0)"

    def stamp(self, i: int) -> str:
        """Return the file's stamp and the row."""
        number, row = self.place(i)
        return f"{self.stamps[number]} {row}"


def _read(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file}: cannot be read as Parquet: {error}") from error


def _column(table: Any, name: str, file: Path) -> Any:
    if name not in table.column_names:
        raise UserError(f"{file}: has no column '{name}'{nearest(name, table.column_names)}")
    return table.column(name)


def _only(schema: Any, what: str, fits: Any) -> str:
    found = [field.name for field in schema if fits(field)]
    if len(found) != 1:
        kind = "pictures (bytes, or a struct with `bytes`)" if what == "image" else "labels"
        seen = f"{listed(found)} all could be" if found else "none is known as such"
        raise UserError(f"which column holds the {kind} is not clear: {seen}; set `{what}` to one of {listed(schema.names)}")
    return str(found[0])


def _holds_bytes(kind: Any, pa: Any) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _class_names(schema: Any, label: str) -> tuple[str, ...]:
    """Return the classes' names where the file's metadata has them, as the hub's files do."""
    about = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = about.get("info", {}).get("features", {}).get(label, {})
    return tuple(feature.get("names") or ())
