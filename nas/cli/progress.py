"""Layer 6: shows a running study: a live view on a terminal, a plain line for each finished training elsewhere, nothing where asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from rich.console import Console

from nas.cli.lines import Lines, Watcher

Detail = Literal["quiet", "verbose"] | None
"""How much is said while a study runs: the result alone, every training with its decisions, or what is usual."""


@contextmanager
def progress(console: Console, detail: Detail = None) -> Iterator[Watcher]:
    """Give a watcher that shows a study's events on `console` until the block ends."""
    if detail == "quiet":
        yield Watcher()
    elif is_live(console):
        from nas.cli.live import live_view

        with live_view(console, verbose=detail == "verbose") as view:
            yield view
    else:
        yield Lines(console, verbose=detail == "verbose")


def is_live(console: Console) -> bool:
    """Say whether the console can be drawn upon again and again: a real terminal, whatever FORCE_COLOR says of a pipe."""
    return console.is_terminal and not console.is_dumb_terminal and console.file.isatty()
