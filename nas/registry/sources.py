"""Layer 1: which source a plugin is made of: its own file, and the files of its package that it imports."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path


def file_hash(file: Path) -> str:
    """Return the SHA-256 of a file's bytes."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def source_hash(file: Path, root: Path) -> str:
    """Return the SHA-256 of a plugin's source: of `file`, and of every file below `root` that it imports relatively.

    A helper that changes makes another plugin of each file that uses it, and of no other. A file that imports none has the
    hash of its own bytes. Where the files lie counts for nothing.
    """
    digests = [file_hash(path) for path in _closure(file, root)]
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def _closure(file: Path, root: Path) -> tuple[Path, ...]:
    found: dict[Path, None] = {file: None}
    waiting = [file]
    while waiting:
        for imported in _imported(waiting.pop(), root):
            if imported not in found:
                found[imported] = None
                waiting.append(imported)
    return tuple(found)


def _imported(file: Path, root: Path) -> Iterator[Path]:
    """Yield the files that a file's relative imports read, wherever they stand in it."""
    for level, module, names in _relative_imports(file.read_bytes()):
        # One dot is the file's own folder, each further one the folder above.
        named = file.parents[level - 1].joinpath(*module.split("."))
        if named == root or root in named.parents:
            yield from _files_of(named, names)


@cache
def _relative_imports(source: bytes) -> tuple[tuple[int, str, tuple[str, ...]], ...]:
    """Return (dots, module, names) of each `from .module import names`; nothing for a source that Python cannot read."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):  # importing it says what is wrong
        return ()
    found = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level)
    return tuple((node.level, node.module or "", tuple(alias.name for alias in node.names)) for node in found)


def _files_of(named: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """Yield the module `named` itself, or, of a package, its `__init__` and those of `names` that are modules in it."""
    candidates = [named.with_name(f"{named.name}.py"), named / "__init__.py", *(named / f"{name}.py" for name in names)]
    candidates += [named / name / "__init__.py" for name in names]
    yield from (candidate for candidate in candidates if candidate.is_file())
