"""Layer 3: names and texts in the form that MLflow accepts: its characters and its lengths."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable

from nas.values.architecture import key_of

MAX_KEY_LENGTH = 250
MAX_PARAM_LENGTH = 6000
MAX_TAG_LENGTH = 5000  # what databases that older MLflow versions created hold; today's take 8000


def safe_keys(names: Iterable[str]) -> dict[str, str]:
    """Return a key for each name: the name itself where MLflow accepts it, else the nearest one; no two are equal."""
    names = tuple(dict.fromkeys(names))
    plain = {name: safe_key(name) for name in names}
    shared = Counter(plain.values())
    return {name: key if shared[key] == 1 or key == name else f"{key[: MAX_KEY_LENGTH - 13]}-{key_of(name)}" for name, key in plain.items()}


def safe_key(name: str) -> str:
    """Return `name` with what MLflow refuses in keys of params and metrics written as `_`, and cut to its length."""
    key = re.sub(r"[^\w.\- /]+", "_", name)
    if posixpath.normpath(key) != key or key.startswith((".", "/")):
        key = "_" + key.replace("/", "_")
    return key if len(key) <= MAX_KEY_LENGTH else f"{key[: MAX_KEY_LENGTH - 13]}-{key_of(name)}"


def cut(text: str, length: int) -> str:
    """Return `text`, shortened to `length` characters with an ellipsis where it is longer."""
    return text if len(text) <= length else text[: length - 1] + "…"
