"""Layer 1: imports the plugins of installed packages, which name their modules in the entry-point group `nas.plugins`."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import pkgutil
import traceback
import types
from collections.abc import Iterator
from pathlib import Path

from nas.errors import PluginError

ENTRY_POINTS = "nas.plugins"


def import_installed() -> Iterator[tuple[list[types.ModuleType], Path, str]]:
    """Yield, for each entry point, the modules that it offers, the folder of its package, and the package with its version.

    An entry point names a module, or a package, of which every module counts whose name does not begin with `_` or `test`.
    Raises PluginError, with the traceback, for one that fails to import, and for one that holds no plugin.
    """
    entries = importlib.metadata.entry_points(group=ENTRY_POINTS)
    for entry in sorted(entries, key=lambda e: (e.name, e.value)):
        named = _load(entry, entry.module)
        modules = [named, *_inside(entry, named)]
        if entry.attr or not any("plugin_name" in vars(c) for m in modules for c in vars(m).values() if inspect.isclass(c)):
            raise PluginError(_told(entry, "must name a module or a package with classes that carry @plugin, and none is there"))
        yield modules, _root_of(named), _package_of(entry)


def _inside(entry: importlib.metadata.EntryPoint, package: types.ModuleType) -> Iterator[types.ModuleType]:
    for info in pkgutil.iter_modules(getattr(package, "__path__", ()), f"{package.__name__}."):
        if not info.name.rpartition(".")[2].startswith(("_", "test")):
            module = _load(entry, info.name)
            yield module
            yield from _inside(entry, module)


def _load(entry: importlib.metadata.EntryPoint, name: str) -> types.ModuleType:
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise PluginError(_told(entry, f"fails to import; mend or uninstall it.\n{_traceback(error)}")) from error


def _traceback(error: BaseException) -> str:
    """Write a traceback without the frames of the import itself."""
    ours = (__file__, str(importlib.__file__))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename not in ours and not f.filename.startswith("<frozen")]
    return "".join(traceback.format_list(frames) + traceback.format_exception_only(error)).rstrip()


def _told(entry: importlib.metadata.EntryPoint, what: str) -> str:
    package = _package_of(entry)
    return f"the installed plugin '{entry.name}'{f' of {package}' if package else ''} ({entry.value}) {what}"


def _package_of(entry: importlib.metadata.EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""


def _root_of(module: types.ModuleType) -> Path:
    """Return the folder of the top-level package that a module belongs to, or the folder of a module that has none."""
    above = module.__name__.count(".")
    if hasattr(module, "__path__"):
        return [here := Path(next(iter(module.__path__))).resolve(), *here.parents][above]
    return Path(str(module.__file__)).resolve().parents[max(above - 1, 0)]
