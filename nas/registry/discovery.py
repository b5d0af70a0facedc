"""Layer 1: finds plugins: the shipped folder, `./plugins`, folders given by hand, and installed packages."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import types
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.errors import PluginError, UserError, nearest
from nas.paths import shipped
from nas.registry.folders import import_folder
from nas.registry.installed import import_installed
from nas.registry.registry import PluginInfo, Registry
from nas.registry.sources import source_hash

NAME = re.compile(r"[^\W\d][\w-]*")
RESERVED = ("choices", "int", "float", "shared", "null")
"""What a space file reads as a domain or as nothing where a plugin's name could stand."""


def discover(folders: Iterable[Path | str] = ()) -> Registry:
    """Return all plugins: shipped ones, `./plugins`, `folders`, and packages of the entry-point group `nas.plugins`.

    Files of identical bytes, helpers included, count once, so a checkout beside an installed copy is no conflict. Raises
    PluginError for a file that fails to import (with its own traceback), for a plugin that breaks the contract, and for two
    differing plugins of one kind and name; UserError for a folder that is not there.
    """
    importlib.invalidate_caches()
    found: list[PluginInfo] = []
    seen: set[str] = set()
    for root in _roots(folders):
        found += _plugins_of(import_folder(root, seen), root, found)
        seen |= {info.sha256 for info in found}
    for modules, root, package in import_installed():
        found += (replace(info, package=package) for info in _plugins_of(modules, root, found))
    return Registry(tuple(found))


def _roots(folders: Iterable[Path | str]) -> tuple[Path, ...]:
    roots = [shipped("plugins")]
    if (local := Path.cwd() / "plugins").is_dir():
        roots.append(local)
    for folder in folders:
        path = Path(folder)
        if path.is_file():
            raise UserError(f"--plugins {folder}: must be a folder, got a file; give the folder it lies in: --plugins {path.parent}")
        if not path.is_dir():
            beside = [p.name for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
            close = nearest(path.name, beside)
            hint = close if "did you mean" in close else "; give one that holds Python files with plugins"
            raise UserError(f"--plugins {folder}: there is no such folder{hint}")
        roots.append(path)
    return tuple(dict.fromkeys(path.resolve() for path in roots))


def _plugins_of(modules: Sequence[types.ModuleType], root: Path, known: Sequence[PluginInfo]) -> list[PluginInfo]:
    """Return the plugins that stand in `modules` and are defined below `root`, but for those that are known."""
    classes = {id(cls): cls for module in modules for cls in vars(module).values() if _is_plugin(cls, root)}
    same = {(info.sha256, info.cls.__qualname__) for info in known}
    found = [_checked(cls, root) for cls in classes.values()]
    return [info for info in found if (info.sha256, info.cls.__qualname__) not in same]


def _is_plugin(cls: Any, root: Path) -> bool:
    # What a file imports from nas.plugin, or from another package's plugins, is not its own.
    return inspect.isclass(cls) and "plugin_name" in vars(cls) and root in _file_of(cls).parents


def _file_of(cls: type) -> Path:
    return Path(str(getattr(sys.modules.get(cls.__module__), "__file__", ""))).resolve()


def _checked(cls: Any, root: Path) -> PluginInfo:
    """Check a plugin as far as it can be without building it."""
    name, file = cls.plugin_name, _file_of(cls)
    if not isinstance(name, str) or not NAME.fullmatch(name) or name in RESERVED:
        raise PluginError(
            f"{file}: @plugin({name!r}) on {cls.__name__}: a name must be a word of letters, digits, '_' and '-' that begins with "
            f"a letter, and none of {', '.join(RESERVED)}; rename it"
        )
    info = PluginInfo(cls.kind, name, cls, str(file), source_hash(file, root))
    assert info.parameters is not None, "reading them checks the signature"
    return info
