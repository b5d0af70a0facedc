"""Layer 3: where MLflow keeps its runs: a server or database that is named, else SQLite in the store folder."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from nas.errors import UserError

DATABASE_NAME = "mlflow.db"


def store_uri(store: Path) -> str:
    """Return MLFLOW_TRACKING_URI where it is set, else the SQLite database in the folder `store`, which is created.

    Raises:
        UserError: the folder cannot be created, or its path has a character that a database URL cannot carry.
    """
    named = os.environ.get("MLFLOW_TRACKING_URI", "")
    if named:
        return named
    folder = store.resolve()
    # SQLAlchemy before 2.1 takes `%` literally and 2.1 decodes it; `?` starts the options of a URL in both.
    if set("%?") & set(str(folder)):
        raise UserError(f"{folder}: a store's path has no '%' or '?'; choose another folder with --store")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{folder}: cannot be created ({reason}); choose another folder with --store") from error
    return f"sqlite:///{(folder / DATABASE_NAME).as_posix()}"


def kept_uri(store: Path) -> str:
    """Return `store_uri` of runs that are there already, to read them; nothing is made.

    Raises:
        UserError: neither a server is named nor does the folder `store` hold MLflow's database.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI") and not (store / DATABASE_NAME).is_file():
        raise UserError(f"{store}: holds no runs of MLflow yet; name the folder of the results with --store, or run `nas search` first")
    return store_uri(store)


def is_server(uri: str) -> bool:
    """Say whether `uri` names a tracking server, which has its own place for artifacts, rather than a database."""
    return urlsplit(uri).scheme in ("http", "https") or uri.startswith("databricks")
