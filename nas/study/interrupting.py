"""Layer 4: Ctrl-C that is heard wherever it comes.

Python drops an exception that is raised in a weak reference's callback or a finaliser, and SQLAlchemy's objects have both: now and then
Ctrl-C fell into one and was lost. So it is noted too, and whoever looks now and then raises it again.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType


class CtrlC:
    """Notes Ctrl-C within the block, where this is the main thread and nobody else handles it; it is raised there as ever."""

    def __init__(self) -> None:
        self.heard = False

    def __enter__(self) -> CtrlC:
        self.is_ours = (
            threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if self.is_ours:
            signal.signal(signal.SIGINT, self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def look(self) -> None:
        """Raise KeyboardInterrupt where it was heard before and did not get here."""
        if self.heard:
            raise KeyboardInterrupt

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.heard = True
        signal.default_int_handler(number, frame)
