"""Layer 0: the exceptions a person meets, each carrying where, the rule, the value got and what to do."""

from __future__ import annotations

import difflib
import errno
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_SHOWN = 80
MAX_LISTED = 300

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class NasError(Exception):
    """Base of every error that is shown to a person as a message, without a traceback."""


class UserError(NasError):
    """A mistake in a file, a flag or an argument. The command line answers it with exit code 2."""


@dataclass(frozen=True)
class Where:
    """A place in a file: `space.yaml:7: architecture.staged.depth`. Any part may be unknown."""

    file: str = ""
    line: int = 0
    path: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file and self.line else self.file
        return ": ".join(part for part in (place, shown(self.path, 3 * MAX_SHOWN)) if part)


class SpaceError(UserError):
    """A space file breaks a rule. `str()` reads `FILE:LINE: PATH: rule, value got; what to do`."""

    def __init__(self, message: str, where: Where | None = None) -> None:
        self.where = where or Where()
        self.message = message
        prefix = str(self.where)
        super().__init__(f"{prefix}: {message}" if prefix else message)


class PluginError(UserError):
    """A plugin breaks its contract, cannot be imported or cannot be built; the message names its file."""


class StudyError(NasError):
    """A study cannot go on: its store is unreachable, its workers keep failing, its records do not fit."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Say `; did you mean 'depth'?` for the nearest of `names`, else list what there is, else nothing."""
    known = sorted({str(n) for n in names})
    close = _closest(str(name)[: 2 * MAX_SHOWN], known)
    if close:
        return f"; did you mean '{close}'?"
    return f"; choose from: {listed(known)}" if known else ""


def listed(names: Sequence[str]) -> str:
    """Write names with commas; of very many the first ones and how many more there are."""
    kept: list[str] = []
    length = 0
    for name in names:
        length += len(name) + 2
        if kept and length > MAX_LISTED:
            return f"{', '.join(kept)} and {len(names) - len(kept)} more"
        kept.append(name)
    return ", ".join(kept)


def shown(text: str, limit: int = MAX_SHOWN) -> str:
    """Make any text fit a message: on one line, without control characters, cut where it is very long."""
    plain = text if text.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return plain if len(plain) <= limit else f"{plain[: limit - 1]}…"


def disk_trouble(error: BaseException) -> str:
    """Say that a file could not be written for want of room, or of the right to, and what then; '' where something else went wrong.

    What was raised may lie behind what was made of it.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _OF_THE_DISK:
            where = f"{cause.filename}: " if cause.filename else ""
            return f"{where}{cause.strerror}; once that is mended, the same command goes on"
        cause = cause.__cause__ or cause.__context__
    return ""


def without_secrets(text: str) -> str:
    """Return `text` with the user and password of every URL in it left out."""
    return re.sub(r"(\w+://)[^/\s@]+@", r"\1", text)


def _closest(name: str, known: Sequence[str]) -> str | None:
    """Return what was probably meant: the same but for case and hyphens, the tail of a path, a typing error, a beginning."""
    plain = {_plain(k): k for k in reversed(known)}
    asked = _plain(name)
    if asked in plain:
        return plain[asked]
    tails = [k for p, k in plain.items() if asked and p.endswith(f".{asked}")]
    if len(tails) == 1:
        return tails[0]
    close = difflib.get_close_matches(asked, plain, n=1, cutoff=0.6)
    if close:
        return plain[close[0]]
    starts = [k for p, k in plain.items() if len(asked) > 1 and p.startswith(asked)]
    return starts[0] if len(starts) == 1 else None


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
