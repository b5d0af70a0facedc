"""Layer 1: which plugins there are: an immutable table by kind and name, with each one's schema and origin."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

from nas.errors import PluginError, nearest
from nas.registry.signature import Parameter, parameters_of


@dataclass(frozen=True)
class PluginInfo:
    """One registered plugin: its class, its file, and the SHA-256 of its source (the file and the helpers that it imports).

    `package` is the installed package that offers it and its version, '' for one from a folder.
    """

    kind: str
    name: str
    cls: type
    file: str
    sha256: str
    package: str = field(default="", compare=False)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters that a space file may set."""
        return parameters_of(self.cls, self.file)

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        return (self.cls.__doc__ or "").strip().partition("\n")[0]


@dataclass(frozen=True)
class Registry:
    """All plugins of one process. Passed to whoever needs it; there is no global one."""

    plugins: tuple[PluginInfo, ...] = ()
    _index: dict[tuple[str, str], PluginInfo] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index: dict[tuple[str, str], PluginInfo] = {}
        for info in self.plugins:
            other = index.setdefault((info.kind, info.name), info)
            if other is not info:
                raise PluginError(
                    f"two plugins are called '{info.name}' ({info.kind}): {_told(other)} and {_told(info)}; "
                    "rename one in its @plugin(…), or remove one"
                )
        object.__setattr__(self, "_index", index)

    def find(self, kind: str, name: str) -> PluginInfo:
        """Return a plugin. Raises PluginError with the nearest name where there is none."""
        try:
            return self._index[kind, name]
        except KeyError:
            raise PluginError(f"unknown {kind} '{name}'{nearest(name, self.names(kind))}") from None

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of one kind, sorted."""
        return tuple(sorted(name for k, name in self._index if k == kind))

    def kinds(self) -> tuple[str, ...]:
        """Return the kinds that have plugins, sorted."""
        return tuple(sorted({kind for kind, _ in self._index}))

    def sources(self, used: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
        """Return ('kind/name', sha256 of its source) for the plugins `used`, sorted: part of a study's identity."""
        return tuple(sorted({(f"{kind}/{name}", self.find(kind, name).sha256) for kind, name in used}))


def _told(info: PluginInfo) -> str:
    package = f" (package {info.package})" if info.package else ""
    return f"{info.cls.__name__} in {info.file}{package}"
