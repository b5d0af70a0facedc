"""Layer 4: the database that a ledger lies in: SQLite in a store, or a server; opened so that two workers never share a trial."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy

from nas.errors import StudyError

HEARTBEAT_S = 10
GRACE_S = 60

optuna.logging.set_verbosity(optuna.logging.WARNING)


def default_storage(store: Path) -> str:
    """Return the address of the SQLite ledger in a store."""
    return f"sqlite:///{store / 'optuna.db'}"


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """Open the database, behind Optuna's cache of finished trials. Raises StudyError where it cannot be reached."""
    sqlite = url.startswith("sqlite")
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
            _serialise(database.engine)
        return optuna.storages.get_storage(database)
    except ModuleNotFoundError as error:
        needed = "pip install 'nas-ablation[postgresql]'" if error.name == "psycopg" else f"install the package '{error.name}'"
        raise StudyError(f"cannot open the ledger {url}: its driver is not installed; {needed}") from error
    except Exception as error:  # SQLAlchemy, the driver and Optuna each raise their own
        raise StudyError(f"cannot open the ledger {url}: {error}") from error


def _serialise(engine: sqlalchemy.Engine) -> None:
    """Take SQLite's write lock at the start of every transaction.

    Optuna reads a trial's state `for update`, which SQLite ignores, and by default Python starts a transaction only at the
    first write: two workers could both read "waiting" and both claim the trial (seen; a test shows it).
    """
    engine.dispose()  # connections from before would not know

    def no_implicit_transactions(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    def begin_immediately(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    sqlalchemy.event.listen(engine, "connect", no_implicit_transactions)
    sqlalchemy.event.listen(engine, "begin", begin_immediately)


@contextmanager
def heartbeat_is_meant() -> Iterator[None]:
    """Keep Optuna quiet, which calls its heartbeat experimental at each use: it is pinned below 6, and tests watch the behaviour."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
