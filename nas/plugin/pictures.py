"""Layer 1: pictures that are still encoded (PNG, JPEG …): the framework decodes them once, or as a training goes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from nas.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image


class Encoded(Protocol):
    """Where encoded pictures come from. It must be picklable: processes that decode take it along."""

    def __len__(self) -> int:
        """Return how many there are."""

    def read(self, i: int) -> bytes:
        """Return the `i`-th picture as the bytes of a picture file."""

    def name(self, i: int) -> str:
        """Name the `i`-th picture, for messages: its file, or its file and row."""

    def stamp(self, i: int) -> str:
        """Return what changes whenever the `i`-th picture may have, without reading it: name, size, time of change."""


class PictureFiles:
    """Pictures that are files of their own."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, i: int) -> bytes:
        """Return a file's bytes."""
        return self.paths[i].read_bytes()

    def name(self, i: int) -> str:
        """Return a file's path."""
        return str(self.paths[i])

    def stamp(self, i: int) -> str:
        """Return path, size and time of change."""
        return file_stamp(self.paths[i])


def file_stamp(file: Path) -> str:
    """Return a file's path, size and time of change in one line."""
    about = file.stat()
    return f"{file.resolve()} {about.st_size} {about.st_mtime_ns}"


class Pictures:
    """Encoded pictures as the `inputs` of a `Data`: like a uint8 tensor (N, C, H, W) whose rows are decoded when they are asked for.

    Args:
        source: the encoded pictures.
        size: (height, width) of the decoded ones: resized so that they cover it, and cut to it around the middle. Without it
            every picture must have the size of the first one.
        gray: one channel instead of red, green and blue.
        streaming: decode again in every epoch instead of keeping what was decoded; None for what does not fit into memory.
    """

    dtype = torch.uint8

    def __init__(
        self, source: Encoded, *, size: tuple[int, int] | None = None, gray: bool = False, streaming: bool | None = None,
        rows: Tensor | None = None,
    ) -> None:  # fmt: skip
        self.source, self.gray, self.streaming = source, gray, streaming
        self.rows = torch.arange(len(source)) if rows is None else rows
        self.size = size or (self._first_size() if len(self.rows) else (1, 1))
        self.resized = size is not None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W) of all of them, decoded."""
        return (len(self), 1 if self.gray else 3, *self.size)

    def select(self, rows: Tensor) -> Pictures:
        """Return some of them, still encoded."""
        size = self.size if self.resized else None
        chosen = Pictures(self.source, size=size, gray=self.gray, streaming=self.streaming, rows=self.rows[rows])
        return chosen

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Decode some: indices (B,) -> uint8 (B, C, H, W). Raises UserError, naming the picture, where one cannot be decoded."""
        chosen = torch.empty(len(rows), *self.shape[1:], dtype=torch.uint8)
        for place, row in enumerate(rows.tolist()):
            chosen[place] = self.decode(row, self.read(row))
        return chosen

    def name(self, row: int) -> str:
        """Name one picture, for messages."""
        return self.source.name(int(self.rows[row]))

    def read(self, row: int) -> bytes:
        """Return one picture as the bytes of a picture file. Raises UserError where it cannot be read."""
        try:
            return self.source.read(int(self.rows[row]))
        except OSError as error:
            raise UserError(f"{self.name(row)}: cannot be read: {error.strerror or error}") from error

    def decode(self, row: int, encoded: bytes) -> Tensor:
        """Decode one picture: uint8 (C, H, W). Raises UserError, naming it, for one that is damaged or has another size."""
        from PIL import ImageOps

        image = self._open(row, encoded)
        height, width = self.size
        if self.resized:
            image = ImageOps.fit(image, (width, height), method=2)  # bilinear over all pixels that a new one covers
        self._refuse_size(row, image.size)
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(height, width, -1)
        return pixels.permute(2, 0, 1)

    def check(self, row: int, encoded: bytes) -> None:
        """Look at one picture without keeping its pixels. Raises UserError, naming it, where it is damaged or has another size.

        A JPEG has no check sums: its data are read through, at an eighth of its size, which takes three fifths of the time.
        """
        from PIL import Image

        try:
            Image.open(io.BytesIO(encoded)).verify()  # for PNG, the check sums; nothing can be asked of it afterwards
            image = Image.open(io.BytesIO(encoded))
            turned = image.getexif().get(0x0112, 1) >= 5  # its orientation swaps width and height
            size = image.size[::-1] if turned else image.size
            if image.format == "JPEG":
                if b"\xff\xd9" not in encoded[-64:]:
                    raise OSError("image file is truncated")
                image.draft("L", (1, 1))
                image.load()
        except (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError) as error:
            raise self._damaged(row, error) from error
        if not self.resized:
            self._refuse_size(row, size)

    def stamp(self) -> str:
        """Return a hash that changes whenever a decoded copy may be out of date; nothing is read for it but sizes and times."""
        digest = hashlib.sha256(str((self.shape, self.resized)).encode())
        for row in self.rows.tolist():
            digest.update(self.source.stamp(row).encode() + b"\n")
        return digest.hexdigest()[:24]

    def fingerprint_of(self, digests: Sequence[bytes]) -> str:
        """Return what identifies the pictures, from the SHA-256 of each one's bytes: where they lie counts for nothing."""
        digest = hashlib.sha256(str((self.shape, self.resized)).encode())
        for one in digests:
            digest.update(one)
        return digest.hexdigest()

    def _first_size(self) -> tuple[int, int]:
        width, height = self._open(0, self.read(0)).size
        return height, width

    def _open(self, row: int, encoded: bytes) -> Image:
        """Decode to the right mode, upright: cameras write how they were held beside the picture."""
        from PIL import Image, ImageOps

        try:
            image: Any = ImageOps.exif_transpose(Image.open(io.BytesIO(encoded)))
            if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would cut off at 255
                image = image.point(lambda value: value / 256)
            return image.convert("L" if self.gray else "RGB")  # type: ignore[no-any-return]  # it is an Image
        except (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError) as error:
            raise self._damaged(row, error) from error

    def _damaged(self, row: int, error: Exception) -> UserError:
        reason = "it is none, or one of a kind that Pillow does not know" if "identify" in str(error) else str(error)
        return UserError(f"{self.name(row)}: not a picture that can be decoded ({reason}); mend or remove it")

    def _refuse_size(self, row: int, size: tuple[int, int]) -> None:
        """`size` is (width, height), as Pillow has it."""
        if size != self.size[::-1]:
            raise UserError(
                f"{self.name(row)}: is {_size(size[::-1])} pixels (height × width), but {self.name(0)} is {_size(self.size)}; "
                "set `size` to bring all pictures to one size"
            )


def _size(size: tuple[int, ...]) -> str:
    return "×".join(map(str, size))
