"""Layer 4: whether a process of this machine is there still, and is the one that it was."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

_STATE, _STARTED = 0, 19  # in /proc/PID/stat, behind the name in parentheses


def is_running(pid: int, started: str = "") -> bool:
    """Say whether a process of this machine is there, and is the one that had `started` then, where that is known.

    One that was killed is gone even where its parent never asked how it ended, as the first process of many a container does not.
    """
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's
    facts = _facts(pid)
    if not facts:
        return True
    return facts[_STATE] not in ("Z", "X") and started in ("", facts[_STARTED])


def start_of(pid: int) -> str:
    """Return when a process started, as a mark that tells it from a later one of the same number; '' where nothing says."""
    facts = _facts(pid)
    return facts[_STARTED] if facts else ""


def _facts(pid: int) -> Sequence[str]:
    """Return what Linux says of a process, from its state on; () elsewhere."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ()
