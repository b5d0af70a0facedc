"""Layer 1: imports the plugin files of a folder, as one package that is found nowhere else."""

from __future__ import annotations

import hashlib
import importlib
import sys
import traceback
import types
from collections.abc import Iterator, Set
from pathlib import Path

from nas.errors import PluginError
from nas.registry.sources import file_hash, source_hash


def import_folder(root: Path, seen: Set[str]) -> list[types.ModuleType]:
    """Import every plugin file below `root` but those whose source has a hash in `seen`, each once.

    A file whose name begins with `_` is a helper that others import (`from ._layers import …`); `tests` and `test_*` are
    passed over. Raises PluginError, with the plugin's own traceback, for a file that fails to import: a silently smaller
    space is a wrong experiment.
    """
    files = {source_hash(file, root): file for file in reversed(list(_files(root)))}  # of equal ones the first
    package = _package(root)
    return [_import(package, root, file) for digest, file in reversed(files.items()) if digest not in seen]


def _files(root: Path) -> Iterator[Path]:
    for file in sorted(root.rglob("*.py")):
        inner = file.relative_to(root).parts
        if any(part.startswith(("_", ".")) or part == "tests" for part in inner) or file.name.startswith("test_"):
            continue
        if not file.is_file():
            raise PluginError(f"{file}: this plugin file cannot be read; mend the link, or remove it")
        yield file


def _package(root: Path) -> str:
    """Make a package of a root, so that its files can import each other and two roots may hold files of one name.

    It is named by the root's path and by what lies there: a process that looks again after an edit gets the new code.
    """
    digest = hashlib.sha256(str(root).encode())
    for file in sorted(root.rglob("*.py")):
        digest.update(file_hash(file).encode() if file.is_file() else b"")
    name = f"_nas_plugins_{digest.hexdigest()[:8]}"
    if name not in sys.modules:
        package = types.ModuleType(name)
        package.__path__ = [str(root)]
        sys.modules[name] = package
    return name


def _import(package: str, root: Path, file: Path) -> types.ModuleType:
    inner = file.relative_to(root).with_suffix("").parts
    if any("." in part for part in inner):
        raise PluginError(f"{file}: Python cannot import a file or folder with a dot in its name; rename it")
    try:
        return importlib.import_module(".".join((package, *inner)))
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"{file}: this plugin file fails to import, so the space would be silently smaller; "
            f"mend it or move it away.\n{_own_traceback(error, root)}"
        ) from error


def _own_traceback(error: BaseException, root: Path) -> str:
    """Write the part of a traceback that lies in the plugins' own files, and the error."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if root in Path(frame.filename).resolve().parents]
    return "".join(traceback.format_list(own) + traceback.format_exception_only(error)).rstrip()
