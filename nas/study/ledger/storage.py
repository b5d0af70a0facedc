"""Layer 4: the database that a ledger lies in: SQLite in a store, or a server; opened so that two workers never share a trial."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from nas.errors import StudyError, without_secrets
from nas.study.ledger.memory import Memory
from nas.study.ledger.outages import Watch, mended_by

HEARTBEAT_S = 10
GRACE_S = 60

optuna.logging.set_verbosity(optuna.logging.WARNING)


def default_storage(store: Path) -> str:
    """Return the address of the SQLite ledger in a store."""
    return f"sqlite:///{store / 'optuna.db'}"


def is_there(url: str) -> bool:
    """Say whether a ledger can be looked for at `url`: False only for SQLite's file, without options, that nothing has made yet."""
    return not url.startswith("sqlite:///") or "?" in url or Path(url.removeprefix("sqlite:///")).exists()


def open_storage(url: str) -> Memory:
    """Open the database, behind a memory of its trials. Raises StudyError where it cannot be reached."""
    sqlite, watch = url.startswith("sqlite"), Watch(url)
    if url.startswith(("postgresql://", "postgres://")):
        url = f"postgresql+psycopg://{url.partition('://')[2]}"
    if sqlite:
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    try:
        with heartbeat_is_meant():
            database = optuna.storages.RDBStorage(
                url,
                engine_kwargs={"connect_args": {"timeout": 60}} if sqlite else {"pool_pre_ping": True},
                heartbeat_interval=HEARTBEAT_S,
                grace_period=GRACE_S,
            )
        if sqlite:
            _adapt(database.engine)
        watch.over(database.engine)
        return Memory(database, watch)
    except ModuleNotFoundError as error:
        needed = "pip install 'nas-ablation[postgresql]'" if error.name == "psycopg" else f"install the package '{error.name}'"
        raise StudyError(f"cannot open the ledger {watch.name}: its driver is not installed; {needed}") from error
    except Exception as error:  # SQLAlchemy, the driver and Optuna each raise their own
        raise StudyError(f"cannot open the ledger {watch.name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return what the driver said first, SQLAlchemy adds a paragraph of its own, and what helps."""
    said = getattr(error, "orig", None) or error
    mend = mended_by(said)
    return without_secrets(str(said).strip().partition("\n")[0]) + (f"; it goes on {mend}" if mend else "")


def _adapt(engine: sqlalchemy.Engine) -> None:
    """Take SQLite's write lock at the start of every transaction, and write ahead.

    The lock: Optuna reads a trial's state `for update`, which SQLite ignores, and by default Python starts a transaction only at
    the first write: two workers could both read "waiting" and both claim the trial (seen; a test shows it).

    The log: a trial is some thirty commits, and by default each waits for the disk (20 ms here). Ahead and `normal`, a commit waits for
    nothing and outlives its process however that ends. Against the machine's loss of power a run writes through every two seconds.
    """
    engine.dispose()  # connections from before would not know

    def prepare(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # no implicit transactions
        with suppress(sqlite3.OperationalError):  # a file system without shared memory, such as one over a network: as it was, then
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")

    def begin_immediately(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    sqlalchemy.event.listen(engine, "connect", prepare)
    sqlalchemy.event.listen(engine, "begin", begin_immediately)


@contextmanager
def heartbeat_is_meant() -> Iterator[None]:
    """Keep Optuna quiet, which calls its heartbeat experimental at each use: it is pinned below 6, and tests watch the behaviour."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
