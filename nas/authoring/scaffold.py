"""Layer 5: a new plugin to start from: a working file of its kind, and its contract as a test beside it."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from pathlib import Path

from nas.authoring.facts import KINDS
from nas.errors import UserError, nearest
from nas.registry import Registry
from nas.registry.discovery import NAME, RESERVED

TEMPLATES = Path(__file__).resolve().parent / "templates"
_TEST = '''\
"""The contract of {kind} '{name}', as tests."""

from pathlib import Path

from nas.testing import {contract}


class Test{cls}({contract}):
    name = "{name}"
    folders = (Path(__file__).resolve().parents[1],)
'''


def new_plugin(kind: str, name: str, folder: Path, registry: Registry) -> tuple[Path, Path]:
    """Write `folder/NAME.py` and `folder/tests/test_NAME.py`; return both.

    Raises UserError for an unknown kind, for a name that is no identifier or is taken, and where either file is there already.
    """
    _refuse_kind(kind)
    _refuse_name(kind, name, registry)
    stem, cls = name.replace("-", "_"), _class_name(name, kind)
    files = folder / f"{stem}.py", folder / "tests" / f"test_{stem}.py"
    for file in files:
        if file.exists():
            raise UserError(f"{file} is there already, and nothing is written over it; take another name, or move it away")
    template = (TEMPLATES / f"{kind}.py").read_text(encoding="utf-8")
    texts = (
        template.replace("my_plugin", name).replace("MyPlugin", cls),
        _TEST.format(kind=kind, name=name, cls=cls, contract=f"{_camel(kind)}Contract"),
    )
    for file, text in zip(files, texts, strict=True):
        _write(file, text)
    return files


def _refuse_kind(kind: str) -> None:
    if kind not in KINDS:
        raise UserError(f"there is no kind '{kind}'{nearest(kind, KINDS)}")
    if not (TEMPLATES / f"{kind}.py").is_file():
        raise UserError(f"there is nothing to start a {kind} from; choose from: {', '.join(sorted(_startable()))}")


def _startable() -> Iterator[str]:
    return (kind for kind in KINDS if (TEMPLATES / f"{kind}.py").is_file())


def _refuse_name(kind: str, name: str, registry: Registry) -> None:
    stem = name.replace("-", "_")
    if not NAME.fullmatch(name) or not stem.isidentifier() or keyword.iskeyword(stem) or name in RESERVED:
        raise UserError(
            f"'{name}' is no name for a plugin: it must be a word of letters, digits, '_' and '-' that begins with a letter, "
            f"no word of Python's own, and none of {', '.join(RESERVED)}"
        )
    if stem.startswith(("_", "test")):
        raise UserError(f"'{name}' is no name for a plugin: files that begin with '_' or 'test' are not searched for plugins")
    if name in registry.names(kind):
        raise UserError(f"there is a {kind} '{name}' already, in {registry.find(kind, name).file}; take another name")


def _class_name(name: str, kind: str) -> str:
    """Return `MineBlock` for the block `mine`: with the kind behind it no class hides one that its file imports."""
    return _camel(name) + _camel(kind)


def _camel(words: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[-_]", words))


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x", encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise UserError(f"cannot write {file}: {error.strerror}; choose a folder that can be written with --plugins DIR") from None
