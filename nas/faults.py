"""Layer 3: which plugin is at fault where a network raises, what a plugin forgot to set, and where memory was too small."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType, TracebackType

import torch

from nas.errors import NasError, PluginError
from nas.plugin import BASES, Shortcut, Unit
from nas.registry import PluginInfo, Registry
from nas.values.architecture import Architecture, write

OUT_OF_MEMORY = "out of memory"
NO_ROOM = ("out of memory", "OutOfMemoryError", "DefaultCPUAllocator: ", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""How torch, CUDA and its libraries say that there was no room."""

MAX_SAID = 300

SET_LATER = ("unit_channels",)
"""Attributes that a base names and that something else than the plugin's constructor sets."""


@contextmanager
def naming_the_fault(architecture: Architecture, registry: Registry, done: str = "run") -> Iterator[None]:
    """Turn whatever a network's parts raise into a PluginError that names the plugin, its file and the architecture.

    `done` is what cannot be done: "run", "initialised".
    """
    try:
        yield
    except NasError:
        raise
    except Exception as error:  # plugins are somebody's code, and raise what they like
        told = with_fault(error, registry)
        raise PluginError(f"the architecture {write(architecture.network)} cannot be {done}: {told}") from error


def with_fault(error: Exception, registry: Registry) -> str:
    """Say in one line what was raised, and in which plugin where it was one: `ValueError in block 'mine' (mine.py:9): …`."""
    fault = _fault(error.__traceback__, registry)
    return f"{type(error).__name__} in {fault}: {error}" if fault else f"{type(error).__name__}: {error}"


def refuse_incomplete(built: object, info: PluginInfo) -> None:
    """Raise PluginError for a plugin whose constructor did not set what its base promises, such as a block's `out_channels`."""
    base = next((base for base in BASES if isinstance(built, base)), object)
    missing = [name for name in _promised(base) if not hasattr(built, name)]
    if missing:
        names = " and ".join(f"`self.{name}`" for name in missing)
        raise PluginError(
            f"{info.kind} '{info.name}' ({info.file}) does not set {names}; set it in the constructor, "
            f"nas.plugin.{base.__name__} says to what"
        )


def out_of_memory(error: BaseException) -> str:
    """Say, in one line, that a training did not fit into memory, and what helps; '' where something else went wrong.

    What was raised may be wrapped (in a PluginError), or come as text from a process of its own.
    """
    cause: BaseException | None = error
    while cause is not None:
        said = str(cause).strip()
        if isinstance(cause, MemoryError | torch.OutOfMemoryError) or any(sign in said for sign in NO_ROOM):
            told = next((line for line in said.splitlines() if any(sign in line for sign in NO_ROOM)), said.partition("\n")[0])
            return (
                f"{OUT_OF_MEMORY} ({told[:MAX_SAID] or type(cause).__name__}): give it a smaller train.batch_size, limit parameters "
                "or macs under `constraints:`, or let fewer workers share the memory"
            )
        cause = cause.__cause__ or cause.__context__
    return ""


def gpu_is_lost() -> bool:
    """Say whether a fault on the GPU has ended what this process can do there: every later call would fail, whoever makes it.

    An index out of bounds in a kernel is one, a memory access outside its tensor another.
    """
    if not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        return not out_of_memory(error)
    return False


@cache
def _promised(base: type) -> tuple[str, ...]:
    """Return the attributes that a base declares without a value."""
    return tuple(name for name in inspect.get_annotations(base) if name not in vars(base) and name not in SET_LATER)


def _fault(trace: TracebackType | None, registry: Registry) -> str:
    """Name the innermost plugin that a traceback goes through, with its line; block and shortcut of a unit where neither raised."""
    lines: dict[Path, int] = {}
    frames = [(frame, line, frame.f_locals.get("self")) for frame, line in traceback.walk_tb(trace)][::-1]
    for i, (frame, line, owner) in enumerate(frames):
        if isinstance(owner, Shortcut) and frame.f_code.co_name == "merge":
            continue  # what it is given to merge may be the block's mistake
        lines.setdefault(_file(frame), line)
        parts = (owner.block, owner.shortcut) if isinstance(owner, Unit) else (owner,)
        if infos := [info for part in parts if (info := _info_of(type(part), registry))]:
            for outer, number, other in frames[i:]:
                if other is owner:  # the frame itself may be torch's, called by the plugin on itself
                    lines.setdefault(_file(outer), number)
            own = [info for info in infos if Path(info.file) in lines][:1]
            return " with ".join(f"{info.kind} '{info.name}' ({_place(Path(info.file), lines)})" for info in own or infos)
    return ""


def _file(frame: FrameType) -> Path:
    return Path(frame.f_code.co_filename).resolve()


def _place(file: Path, lines: Mapping[Path, int]) -> str:
    return f"{file}:{lines[file]}" if file in lines else str(file)


def _info_of(cls: type, registry: Registry) -> PluginInfo | None:
    kind, name = getattr(cls, "kind", ""), getattr(cls, "plugin_name", "")
    return registry.find(kind, name) if name in registry.names(kind) else None
