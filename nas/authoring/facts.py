"""Layer 5: what a plugin says of itself, in words: help, formula, source, origin, and its parameters as YAML."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.errors import PluginError, UserError, nearest
from nas.paths import shipped
from nas.plugin import BASES
from nas.registry import Parameter, PluginInfo, Registry
from nas.space.parser import Parser
from nas.space.yaml_tree import read_yaml
from nas.values.architecture import PluginNode, Value
from nas.values.domains import written

KINDS: dict[str, type] = {str(vars(base)["kind"]): base for base in BASES}
"""Every kind of plugin by its name, with its base class."""
SHIPPED = "shipped"
_CITATION = re.compile(r"\s*\((?=[^()]*[A-Z])([^()]*\b(?:19|20)\d\d\b[^()]*)\)")


def origin(info: PluginInfo) -> str:
    """Say where a plugin comes from: `shipped`, an installed package with its version, or its file."""
    file = Path(info.file)
    if shipped("plugins").resolve() in file.parents:
        return SHIPPED
    if info.package:
        return f"package {info.package}"
    return str(file.relative_to(Path.cwd())) if Path.cwd() in file.parents else str(file)


def help_of(info: PluginInfo) -> tuple[str, ...]:
    """Return the paragraphs of a plugin's docstring, each on one line."""
    text = inspect.cleandoc(vars(info.cls).get("__doc__") or "")
    return tuple(" ".join(paragraph.split()) for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip())


def summary_of(info: PluginInfo) -> str:
    """Return what a plugin is, in one line, its source left out."""
    return _CITATION.sub("", info.summary)


def sources_of(info: PluginInfo) -> tuple[str, ...]:
    """Return the papers that a plugin's docstring names in parentheses with their year; else those of its file's docstring."""
    module = getattr(sys.modules.get(info.cls.__module__), "__doc__", None) or ""
    for text in (" ".join(help_of(info)), " ".join(module.split())):
        if found := _CITATION.findall(text):
            return tuple(dict.fromkeys(found))
    return ()


def formula_of(info: PluginInfo) -> str:
    """Return the formula that a plugin writes for its default parameters, with `{merge}` as the identity's; '' for none."""
    return str(getattr(info.cls, "formula", "")).replace("{merge}", "x + F(x)")


def default_of(parameter: Parameter) -> str:
    """Return a parameter's default as a space file writes it."""
    return "(required)" if parameter.required else as_yaml(parameter.default)


def as_yaml(value: Any) -> str:
    """Write a decided value as a space file does, on one line."""
    if isinstance(value, PluginNode):
        inner = ", ".join(f"{name}: {as_yaml(item)}" for name, item in value.parameters)
        return f"{{{value.name}: {{{inner}}}}}" if inner else value.name
    if isinstance(value, tuple | list):
        return f"[{', '.join(as_yaml(item) for item in value)}]"
    return written(value)


def read_parameters(info: PluginInfo, settings: Mapping[str, str], registry: Registry) -> dict[str, Value]:
    """Read `PARAMETER=VALUE` settings by a plugin's signature, as a space file would.

    Raises UserError for an unknown parameter, with the nearest one, and for a value that is no constant of its type.
    """
    declared = {parameter.name: parameter for parameter in info.parameters}
    for name in settings:
        if name not in declared:
            raise UserError(f"--set {name}: unknown parameter of {info.kind} '{info.name}'{nearest(name, declared) or '; it has none'}")
    parser = Parser("--set", registry)
    return {name: parser.constant(read_yaml(text, "--set"), declared[name].type, name) for name, text in settings.items()}


def plain(info: PluginInfo, **more: Any) -> dict[str, Any]:
    """Return all there is to say of a plugin as JSON data."""
    return {
        "kind": info.kind,
        "name": info.name,
        "summary": info.summary,
        "formula": str(getattr(info.cls, "formula", "")),
        "sources": list(sources_of(info)),
        "parameters": [
            {"name": p.name, "type": str(p.type), "required": p.required, "default": None if p.required else as_yaml(p.default)}
            for p in info.parameters
        ],
        "file": info.file,
        "origin": origin(info),
        "sha256": info.sha256,
        **more,
    }


def of_kind(registry: Registry, kind: str | None) -> tuple[PluginInfo, ...]:
    """Return the plugins of one kind, or all, by kind and name. Raises UserError for a kind that has none."""
    if kind and kind not in registry.kinds():
        raise UserError(f"--kind {kind}: there is no such kind{nearest(kind, registry.kinds())}")
    chosen = (info for info in registry.plugins if not kind or info.kind == kind)
    return tuple(sorted(chosen, key=lambda info: (info.kind, info.name)))


def named(registry: Registry, name: str) -> tuple[PluginInfo, ...]:
    """Return the plugins called `NAME`, one for each kind that has it, or the one called `KIND/NAME`.

    Raises UserError with the nearest name where there is none.
    """
    kind, slash, bare = name.rpartition("/")
    if slash:
        if kind not in registry.kinds():
            raise UserError(f"there is no kind '{kind}'{nearest(kind, registry.kinds())}")
        try:
            return (registry.find(kind, bare),)
        except PluginError as error:
            raise UserError(str(error)) from None
    found = tuple(info for info in of_kind(registry, None) if info.name == name)
    if not found:
        raise UserError(f"there is no plugin '{name}'{nearest(name, (info.name for info in registry.plugins))}")
    return found
