"""Layer 1: finds plugins: the shipped folder, `./plugins`, folders given by hand, and installed packages."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import inspect
import sys
import traceback
import types
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from nas.errors import PluginError, UserError
from nas.paths import shipped
from nas.registry.registry import PluginInfo, Registry

ENTRY_POINTS = "nas.plugins"


def discover(folders: Iterable[Path | str] = ()) -> Registry:
    """Return all plugins: shipped ones, `./plugins`, `folders`, and packages of the entry-point group `nas.plugins`.

    Files of identical bytes count once, so a checkout beside an installed copy is no conflict. Raises PluginError for a
    file that fails to import (with its own traceback) and for two plugins of one kind and name.
    """
    roots = [shipped("plugins")]
    if (local := Path.cwd() / "plugins").is_dir():
        roots.append(local)
    for folder in folders:
        if not Path(folder).is_dir():
            raise UserError(f"--plugins {folder}: there is no such folder; give one that holds Python files with plugins")
        roots.append(Path(folder))
    found: list[PluginInfo] = []
    seen: set[str] = set()
    for root in dict.fromkeys(path.resolve() for path in roots):
        for file in _files(root):
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            if digest not in seen:
                seen.add(digest)
                found.extend(_plugins_of(_import_file(root, file), str(file), digest))
    found.extend(_installed(seen))
    return Registry(tuple(found))


def _files(root: Path) -> Iterator[Path]:
    for file in sorted(root.rglob("*.py")):
        inner = file.relative_to(root).parts
        if not any(part.startswith(("_", ".")) or part == "tests" for part in inner) and not file.name.startswith("test_"):
            yield file


def _import_file(root: Path, file: Path) -> types.ModuleType:
    # Every root is a package of its own, so that its files can import each other (`from ._layers import …`)
    # and two roots may hold files of one name.
    package = f"_nas_plugins_{hashlib.sha256(str(root).encode()).hexdigest()[:8]}"
    if package not in sys.modules:
        module = types.ModuleType(package)
        module.__path__ = [str(root)]
        sys.modules[package] = module
    name = ".".join((package, *file.relative_to(root).with_suffix("").parts))
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise PluginError(
            f"{file}: this plugin file fails to import, so the space would be silently smaller; "
            f"mend it or move it away.\n{_own_traceback(error, file)}"
        ) from error


def _own_traceback(error: BaseException, file: Path) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).resolve() == file.resolve()] or frames[-1:]
    return "".join(traceback.format_list(own) + traceback.format_exception_only(error)).rstrip()


def _plugins_of(module: types.ModuleType, file: str, digest: str) -> Iterator[PluginInfo]:
    for cls in vars(module).values():
        if inspect.isclass(cls) and cls.__module__ == module.__name__ and "plugin_name" in vars(cls):
            marked: Any = cls
            yield PluginInfo(marked.kind, marked.plugin_name, cls, file, digest)


def _installed(seen: set[str]) -> Iterator[PluginInfo]:
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            module = entry.load()
        except Exception as error:
            raise PluginError(
                f"the installed plugin '{entry.name}' ({entry.value}) fails to import; mend or uninstall it.\n"
                f"{''.join(traceback.format_exception(error))}"
            ) from error
        file = Path(module.__file__)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if digest not in seen:
            seen.add(digest)
            yield from _plugins_of(module, str(file), digest)
