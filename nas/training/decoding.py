"""Layer 3: decodes pictures once, into a memory-mapped file that every process shares, or leaves them to be streamed."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from filelock import FileLock

from nas.errors import UserError
from nas.plugin import Data, Pictures

T = TypeVar("T")

_log = logging.getLogger(__name__)

MEMORY_SHARE = 0.5
"""Decoded pictures that would take more of the memory that is free are streamed."""
CHUNK = 64
TOLD_FROM = 20_000
"""From so many pictures on reading them takes long enough to be told."""


def decoded(data: Data, folder: Path) -> Data:
    """Return `data` with its pictures decoded and mapped from a file in `folder`, or still encoded where they are to be streamed.

    Every picture is read once, now or in an earlier run, and what was read is known by name, size and time of change of its
    file. Raises UserError, naming the picture, for one that is damaged, or of another size than the first.
    """
    if not isinstance(data.inputs, Pictures):
        return data
    pictures = data.inputs
    if pictures.streaming is None:
        pictures.streaming = not _fits(math.prod(pictures.shape), folder)
    kept = folder / pictures.stamp()
    pixels, about = kept.with_suffix(".npy"), kept.with_suffix(".streamed.json" if pictures.streaming else ".json")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(kept.with_suffix(".lock")):
            if not about.exists():
                told = {"fingerprint": _check(pictures) if pictures.streaming else _decode(pictures, pixels)}
                _write(about, lambda file: file.write_text(json.dumps(told)))
        digest: str = json.loads(about.read_text())["fingerprint"]
        if pictures.streaming:
            return replace(data, inputs_digest=digest)
        return replace(data, inputs=torch.from_numpy(np.load(pixels, mmap_mode="c")), inputs_digest=digest)
    except OSError as error:
        raise UserError(f"cannot keep decoded pictures in {folder}: {error.strerror or error}; NAS_CACHE names another folder") from error


def _decode(pictures: Pictures, file: Path) -> str:
    """Write all pictures as one uint8 array (N, C, H, W); return their fingerprint."""

    def fill(partial: Path) -> str:
        pixels = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=pictures.shape)

        def one(row: int) -> bytes:
            encoded = pictures.read(row)
            pixels[row] = pictures.decode(row, encoded).numpy()
            return hashlib.sha256(encoded).digest()

        fingerprint = _over_all(pictures, one)
        pixels.flush()
        return fingerprint

    return _write(file, fill)


def _check(pictures: Pictures) -> str:
    """Read every picture and check its size; return their fingerprint."""

    def one(row: int) -> bytes:
        encoded = pictures.read(row)
        pictures.check(row, encoded)
        return hashlib.sha256(encoded).digest()

    return _over_all(pictures, one)


def _over_all(pictures: Pictures, one: Callable[[int], bytes]) -> str:
    if len(pictures) > TOLD_FROM:
        _log.warning("Reading %s pictures; this is done once.", f"{len(pictures):,}")
    chunks = [range(i, min(i + CHUNK, len(pictures))) for i in range(0, len(pictures), CHUNK)]
    # Pillow lets go of the interpreter while it decodes.
    with ThreadPoolExecutor(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()) as pool:
        digests = pool.map(lambda rows: [one(row) for row in rows], chunks)
        return pictures.fingerprint_of([digest for some in digests for digest in some])


def _write(file: Path, fill: Callable[[Path], T]) -> T:
    """Write a file beside its place and move it there, so that there is never half of one."""
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    try:
        result = fill(partial)
        partial.replace(file)
        return result
    finally:
        partial.unlink(missing_ok=True)


def _fits(num_bytes: int, folder: Path) -> bool:
    """Whether so many bytes have room: in memory, so that epochs read nothing from disk, and on the disk of `folder`."""
    existing = next(path for path in (folder, *folder.resolve().parents) if path.exists())
    return num_bytes < MEMORY_SHARE * free_memory() and num_bytes < 0.9 * shutil.disk_usage(existing).free


def free_memory() -> float:
    """Return the bytes of memory that can be had: what the system says is available, and no more than a container's limit."""
    free = math.inf
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) * 1024
    except OSError:  # not Linux
        free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else math.inf
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.exists() else "max"
    return min(free, float(text)) if text.isdigit() else free
