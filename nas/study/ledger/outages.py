"""Layer 4: trouble with a ledger's database: a server that goes away is waited for, and what cannot be mended here is said in words."""

from __future__ import annotations

import functools
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy
from sqlalchemy.engine.interfaces import Dialect, ExceptionContext

from nas.errors import StudyError, without_secrets

AWAY_S = 300.0
"""A server that goes away while it is worked with is waited for as long as this."""

RETRY_S = 1.0
MAX_TRIES = 5
_log = logging.getLogger(__name__)
_P = ParamSpec("_P")
_R = TypeVar("_R")
_S = TypeVar("_S")

_MENDED_BY = {
    sqlite3.SQLITE_FULL: "with room on its disk",
    sqlite3.SQLITE_READONLY: "once it may be written",
    sqlite3.SQLITE_CANTOPEN: "once it may be read, and its folder written",
    sqlite3.SQLITE_IOERR: "once its disk works again",
    sqlite3.SQLITE_CORRUPT: "with a whole copy in its place",
    sqlite3.SQLITE_NOTADB: "with a whole copy in its place",
}
_MENDED_ON_A_SERVER_BY = {"53100": "with room on its disk", "25006": "once it may be written"}
"""By PostgreSQL's code."""


class LostMidwayError(StudyError):
    """The server went away between a question and its answer."""


class Watch:
    """What befalls one database, for all threads of this process that use it. `url` is as the person gave it."""

    def __init__(self, url: str) -> None:
        self.name, self.away_since, self.back_at, self.given_up = without_secrets(url), 0.0, 0.0, False
        self._asked_at, self._awake_since = 0.0, 0.0

    def over(self, engine: sqlalchemy.Engine) -> None:
        """Keep watch over an engine whose database has answered once."""
        sqlalchemy.event.listen(engine, "handle_error", self._in_words)
        if engine.dialect.name != "sqlite":
            sqlalchemy.event.listen(engine, "do_connect", self._connect)

    def was_away(self, within_s: float) -> bool:
        """Say whether the server is away, or came back less than so many seconds ago: nobody's heartbeat got through meanwhile.

        Or whether this process stood still, which asks this every few seconds: its machine slept, and the workers on it with it.
        """
        now = time.time()  # the clock that goes on meanwhile
        self._awake_since = now if self._asked_at and now - self._asked_at > within_s else self._awake_since
        self._asked_at = now
        is_back = self.back_at and time.monotonic() - self.back_at < within_s
        return bool(self.away_since or is_back or now - self._awake_since < within_s)

    def _connect(self, dialect: Dialect, _record: Any, arguments: Sequence[Any], named: Mapping[str, Any]) -> Any:
        while True:
            try:
                connection = dialect.connect(*arguments, **named)
            except dialect.loaded_dbapi.Error as error:
                self._wait(error)
                continue
            if self.away_since:
                self.away_since, self.back_at, self.given_up = 0.0, time.monotonic(), False
                _log.warning("The ledger %s is back.", self.name)
            return connection

    def _wait(self, error: Exception) -> None:
        reason = str(error).strip().partition("\n")[0]
        if not self.away_since:
            self.away_since = time.monotonic()
            _log.warning("The ledger %s does not answer (%s); it is waited for, up to %.0f minutes.", self.name, reason, AWAY_S / 60)
        if self.given_up or time.monotonic() - self.away_since > AWAY_S:
            self.given_up = True
            raise StudyError(f"the ledger {self.name} does not answer ({reason}); {_way_on('once it does')}") from error
        try:
            time.sleep(RETRY_S)
        except BaseException:  # Ctrl-C: nothing that is tidied up behind it waits once more
            self.given_up = True
            raise

    def _in_words(self, context: ExceptionContext) -> BaseException | None:
        error = context.original_exception
        if not isinstance(error, Exception):
            _let_go(context)  # Ctrl-C, for which SQLAlchemy gives up the connection as if it were lost
            return None
        if context.is_disconnect:
            return LostMidwayError(f"the ledger {self.name} went away in the midst of a question; {_way_on('once it answers')}")
        return self._refusal(error)

    def _refusal(self, error: BaseException) -> StudyError | None:
        mend = mended_by(error)
        return StudyError(f"the ledger {self.name}: {error}; {_way_on(mend)}") if mend else None

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Say in words what SQLite refuses within the block, where SQLAlchemy does not see it."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._refusal(error) or error from error


def _let_go(context: ExceptionContext) -> None:
    """End an interrupted transaction of SQLite: its lock outlives a closed connection while a traceback still holds the cursor."""
    if context.dialect.name == "sqlite" and context.connection is not None:
        with suppress(sqlite3.Error, sqlalchemy.exc.SQLAlchemyError):  # a connection that is closed already has none
            context.connection.connection.rollback()


def mended_by(error: object) -> str:
    """Say what has to be so before a database can be used that refused with an error of its driver; '' where that is not known."""
    code, state = getattr(error, "sqlite_errorcode", 0) & 0xFF, getattr(error, "sqlstate", "")
    return _MENDED_BY.get(code) or _MENDED_ON_A_SERVER_BY.get(state, "")


def _way_on(mend: str) -> str:
    return f"what is finished is kept: {mend}, the same command goes on"


def outliving(ask: Callable[Concatenate[_S, _P], _R]) -> Callable[Concatenate[_S, _P], _R]:
    """Ask again where the server went away before it answered; for what may be done twice without harm."""

    @functools.wraps(ask)
    def again(self: _S, /, *arguments: _P.args, **named: _P.kwargs) -> _R:
        for _ in range(MAX_TRIES - 1):
            try:
                return ask(self, *arguments, **named)
            except LostMidwayError:
                continue  # the next question waits for the server
        return ask(self, *arguments, **named)

    return again
