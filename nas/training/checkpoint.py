"""Layer 3: the middle of a training on disk, from which it goes on bit-equally after its process was killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

State = Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoint:
    """One file that holds the state after the last full epoch; written whole or not at all."""

    file: Path

    def read(self) -> State | None:
        """Return the state that was written last, None where there is none."""
        return torch.load(self.file, map_location="cpu", weights_only=True) if self.file.exists() else None

    def write(self, state: State) -> None:
        """Replace what is there."""
        save(dict(state), self.file)

    def remove(self) -> None:
        """Remove the file, once the training has ended."""
        self.file.unlink(missing_ok=True)


def save(document: Any, file: Path) -> None:
    """Write `document` to `file`, whole or not at all; `torch.load` reads it. Raises OSError, with the file, where there is no room."""
    with replacing(file) as fresh:
        try:
            # A stream of Python's, whose error says what the system said; torch's own says that it is not where it thought.
            with fresh.open("wb") as stream:
                torch.save(document, stream)
        except (OSError, RuntimeError) as error:
            behind = error.__context__ if isinstance(error.__context__, OSError) else error
            raise (OSError(behind.errno, behind.strerror, str(file)) if isinstance(behind, OSError) else error) from error


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Give a file to write to, which takes the place of `file` at the end: a process killed meanwhile leaves the old one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.new")
    try:
        yield fresh
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the states of the global generators that a network on `device` draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Set what `random_state` returned."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)


def stopwatch(before: float = 0.0) -> Callable[[], float]:
    """Return a clock that counts on from `before` seconds."""
    started = time.perf_counter() - before
    return lambda: time.perf_counter() - started
