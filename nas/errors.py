"""Layer 0: the exceptions a person meets, each carrying where, the rule, the value got and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


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
        return ": ".join(part for part in (place, self.path) if part)


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
    known = sorted(str(n) for n in names)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    if known:
        return f"; choose from: {', '.join(known)}"
    return ""
