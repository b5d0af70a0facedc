"""Layer 3: opens MLflow late, silently and without long waits, and says in words why it could not."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from nas.errors import StudyError, without_secrets
from nas.tracking.place import is_server

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow reads these at every request. Its own defaults retry for four minutes, which would stop the study.
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
_LOG_LEVEL = "MLFLOW_LOGGING_LEVEL"
_LOUD = ("mlflow", "alembic")


def connect(uri: str) -> MlflowClient:
    """Return a client of the server or database at `uri`; a database that is empty gets its tables.

    Raises:
        StudyError: the mlflow package is not installed.
        Exception: whatever MLflow and the database driver raise where the place cannot be reached; see `in_words`.
    """
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    require_mlflow()
    with _quiet():
        from mlflow import MlflowClient

        if is_server(uri):
            return MlflowClient(tracking_uri=uri)
        with _alone(uri):
            _probe(uri)
            return MlflowClient(tracking_uri=uri)


def require_mlflow() -> None:
    """Check that the real package is there without importing it: a mere folder `mlflow/` imports as an empty namespace.

    Raises:
        StudyError: it is not installed.
    """
    spec = importlib.util.find_spec("mlflow")
    if spec is None or spec.origin is None:
        raise StudyError("the package mlflow is not installed; install it with `pip install mlflow`")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    # Importing and migrating is when MLflow warns and logs; its failures reach the person through the sync report.
    asked_for = os.environ.get(_LOG_LEVEL)
    if not asked_for:
        os.environ[_LOG_LEVEL] = "CRITICAL"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            if not asked_for:
                del os.environ[_LOG_LEVEL]
                for name in _LOUD:
                    logging.getLogger(name).setLevel(logging.CRITICAL)


@contextlib.contextmanager
def _alone(uri: str) -> Iterator[None]:
    # Two processes that create the tables of one SQLite file at once leave it half migrated.
    path = uri.removeprefix("sqlite:///").partition("?")[0]
    if path == uri or path in ("", ":memory:"):
        yield
        return
    database = Path(path).absolute()
    database.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(database.with_name(f".{database.name}.lock"), timeout=30):
        yield


def _probe(uri: str) -> None:
    # MLflow tries a database that is away ten times, for over a minute; SQLAlchemy alone answers at once.
    import sqlalchemy

    try:
        engine = sqlalchemy.create_engine(uri)
    except (sqlalchemy.exc.ArgumentError, ImportError):
        return  # not a database: MLflow knows more kinds of place, and says what is wrong with this one
    try:
        with engine.connect() as connection:
            # A run is four commits, and a write-ahead log halves what each costs; readers such as the UI no longer block.
            if engine.dialect.name == "sqlite" and connection.exec_driver_sql("PRAGMA schema_version").scalar() == 0:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    finally:
        engine.dispose()


def is_refusal(error: BaseException) -> bool:
    """Say whether MLflow answered and refused this one entry, so that the others are still worth writing."""
    return getattr(error, "error_code", "") in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST") and _root(error) is None


def in_words(error: BaseException, uri: str, *, tried: str = "written") -> str:
    """Return one line for a person: where, what happened there when it was to be `tried`, without secrets."""
    root = _root(error)
    if root is None:
        words = f"could not be {tried}: {_first_line(error)}"
    elif getattr(root, "filename", None):
        words = f"could not be {tried}: {_first_line(root)}"
    else:
        words = f"does not answer ({getattr(root, 'strerror', None) or _first_line(root)})"
    return without_secrets(f"MLflow at {uri} {words}")


def with_way_on(error: str, title: str, pending: int = 0) -> str:
    """Return an error of `in_words` with how many results of a study wait for MLflow, and what writes them; '' where there is none."""
    if not error:
        return ""
    waiting = {0: "nothing is lost", 1: "1 result waits, nothing is lost"}.get(pending, f"{pending} results wait, nothing is lost")
    return f"{error}; {waiting}: later `nas sync {title}` writes what it can"


def _first_line(error: BaseException) -> str:
    text = str(error).strip().partition("\n")[0]
    return text or type(error).__name__


def _root(error: BaseException) -> BaseException | None:
    # MLflow wraps what the network, the disk or the database said, and the innermost is the plainest. What `requests`
    # raises is an OSError too.
    from sqlalchemy.exc import OperationalError

    found: BaseException | None = None
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OperationalError):
            found = cause.orig or cause
        elif isinstance(cause, OSError):
            found = cause
        cause = cause.__cause__ or cause.__context__
    return found
