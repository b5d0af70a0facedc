"""Layer 0: where the shipped folders lie, in a checkout and in an installed copy alike."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def shipped(folder: str) -> Path:
    """Return the shipped `plugins` or `search_spaces` folder: inside the package once installed, beside it in a checkout."""
    installed = _PACKAGE / folder
    return installed if installed.is_dir() else _PACKAGE.parent / folder


CACHE = "NAS_CACHE"
"""The environment variable that names where decoded pictures are kept. Processes hand it to those they start."""


_CHOSEN = CACHE in os.environ


def cache_folder() -> Path:
    """Return where decoded pictures are kept: the folder that NAS_CACHE names, else `cache` in the default store."""
    return Path(os.environ.get(CACHE) or store_folder() / "cache")


def keep_cache_in(store: Path) -> None:
    """Keep decoded pictures in `store` from now on, here and in the processes that this one starts, unless a person set NAS_CACHE."""
    if not _CHOSEN:
        os.environ[CACHE] = str(store.resolve() / "cache")


def store_folder(store: str | Path | None = None) -> Path:
    """Return the folder of the results: `store`, whose `~` is the home folder, or `./mlflow` under the current directory."""
    return Path(store).expanduser() if store else Path.cwd() / "mlflow"
