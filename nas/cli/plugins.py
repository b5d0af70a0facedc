"""Layer 6: `nas plugins`: what is registered, with kind, parameters and origin."""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli.options import json_option, plugins_option, print_json

if TYPE_CHECKING:
    from nas.registry import Parameter, PluginInfo, Registry

WIDTH = 80
NAME = 20
KEYS = {"network": "architecture", "initialisation": "init"}
"""What a kind is called in a space file, where that is not its own name."""
CITATION = re.compile(r"\s*\([^()]*\b(?:19|20)\d\d[^()]*\)")


@click.command("plugins")
@click.argument("words", nargs=-1, metavar="[NAME | test NAME]")
@click.option("--kind", help="Only one kind: block, shortcut, …")
@click.option("--schema", is_flag=True, help="Print a JSON Schema of space files, for editors.")
@plugins_option
@json_option
def command(words: tuple[str, ...], kind: str | None, schema: bool, plugins: tuple[str, ...], as_json: bool) -> None:
    """List the registered plugins; show one by NAME, or run the contract's tests on it.

    \b
    Example:
      nas plugins --kind shortcut
      nas plugins bottleneck
      nas plugins test bottleneck
      nas plugins --schema > space.schema.json
    """
    from nas.errors import UserError
    from nas.registry import discover

    testing = words[:1] == ("test",)
    names = words[1:] if testing else words
    if len(names) > 1 or (testing and not names):
        raise UserError(f"nas plugins {' '.join(words)}: give one NAME, or `test NAME`")
    registry = discover(plugins)
    chosen = _chosen(registry, names[0] if names else None, kind)
    if schema:
        from nas.space.schema import schema_of

        print_json(schema_of(registry))
    elif testing:
        _test(registry, chosen, as_json)
    elif as_json:
        print_json([_plain(info) for info in chosen])
    else:
        for line in _pages(chosen) if names else _list(chosen):
            click.echo(line)


def _chosen(registry: Registry, name: str | None, kind: str | None) -> list[PluginInfo]:
    from nas.errors import UserError, nearest

    if kind and kind not in registry.kinds():
        raise UserError(f"--kind {kind}: there is no such kind{nearest(kind, registry.kinds())}")
    of_kind = [info for info in registry.plugins if not kind or info.kind == kind]
    chosen = [info for info in of_kind if not name or info.name == name]
    if not chosen:
        raise UserError(f"there is no {kind or 'plugin'} '{name}'{nearest(str(name), (info.name for info in of_kind))}")
    return sorted(chosen, key=lambda info: (info.kind, info.name))


def _list(infos: Sequence[PluginInfo]) -> Iterator[str]:
    """Yield the plugins by kind: name, what it is (its source left out), parameters, and where it is from unless it is shipped."""
    kind = ""
    for info in infos:
        if info.kind != kind:
            if kind:
                yield ""
            kind = info.kind
            yield click.style(kind, bold=True)
        notes = [CITATION.sub("", info.summary)]
        if info.parameters:
            notes.append("· " + ", ".join(parameter.name for parameter in info.parameters))
        if (origin := _origin(info)) != "shipped":
            notes.append(f"· from {origin}")
        name = f"  {info.name}"
        if len(name) >= NAME:
            yield name
            name = ""
        for note in notes:
            yield _wrapped(note, first=f"{name:<{NAME}}", rest=" " * NAME)
            name = ""


def _pages(infos: Sequence[PluginInfo]) -> Iterator[str]:
    """Yield all there is to say of each plugin."""
    for i, info in enumerate(infos):
        if i:
            yield ""
        yield f"{click.style(info.name, bold=True)}, {_article(info.kind)}"
        yield ""
        for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(info.cls.__doc__ or "It has no docstring.")):
            yield _wrapped(" ".join(paragraph.split()), first="  ", rest="  ")
            yield ""
        formula = getattr(info.cls, "formula", "")
        if formula:
            under = "  (with the identity shortcut)" if "{merge}" in formula else ""
            yield _wrapped(f"{formula.replace('{merge}', 'x + F(x)')}{under}", first="  ", rest="      ")
            yield ""
        yield from _table(info.parameters)
        yield _wrapped(f"{KEYS.get(info.kind, info.kind)}: {_example(info)}", first="  In a space file:  ", rest=" " * 8)
        yield f"  From:  {info.file} ({_origin(info)})"


def _table(parameters: Sequence[Parameter]) -> Iterator[str]:
    """Yield the parameters as a table: name, default, type."""
    if not parameters:
        return
    rows = [("parameter", "default", "type"), *((p.name, _default(p), str(p.type)) for p in parameters)]
    first, second = (min(max(len(row[column]) for row in rows), 24) + 2 for column in (0, 1))
    for name, default, kind in rows:
        yield _wrapped(kind, first=f"  {name:<{first}}{default:<{second}}", rest=" " * (2 + first + second))
    yield ""


def _default(parameter: Parameter) -> str:
    return "(required)" if parameter.required else _as_yaml(parameter.default)


def _example(info: PluginInfo) -> str:
    inner = ", ".join(f"{p.name}: {'…' if p.required else _as_yaml(p.default)}" for p in info.parameters)
    return f"{{{info.name}: {{{inner}}}}}" if inner else info.name


def _as_yaml(value: Any) -> str:
    from nas.values.architecture import PluginNode
    from nas.values.domains import written

    if isinstance(value, PluginNode):
        inner = ", ".join(f"{name}: {_as_yaml(item)}" for name, item in value.parameters)
        return f"{{{value.name}: {{{inner}}}}}" if inner else value.name
    if isinstance(value, tuple | list):
        return f"[{', '.join(_as_yaml(item) for item in value)}]"
    return written(value)


def _plain(info: PluginInfo) -> dict[str, Any]:
    return {
        "kind": info.kind,
        "name": info.name,
        "summary": info.summary,
        "formula": getattr(info.cls, "formula", ""),
        "parameters": [
            {"name": p.name, "type": str(p.type), "required": p.required, "default": None if p.required else _as_yaml(p.default)}
            for p in info.parameters
        ],
        "file": info.file,
        "origin": _origin(info),
        "sha256": info.sha256,
    }


def _test(registry: Registry, infos: Sequence[PluginInfo], as_json: bool) -> None:
    """Run the contract on each plugin, print what each check found, and exit with 1 where one failed."""
    from nas.testing import check_plugin

    results = [(info, result) for info in infos for result in check_plugin(registry, info.kind, info.name)]
    if as_json:
        document = [{"kind": i.kind, "name": i.name, "check": r.name, "passed": r.passed, "detail": r.detail} for i, r in results]
        print_json(document)
    else:
        for info, result in results:
            click.echo(f"{'ok    ' if result.passed else 'FAILED'}  {info.kind} {info.name}: {result.name}")
            if not result.passed:
                click.echo(_wrapped(result.detail, first=" " * 8, rest=" " * 8))
        failed = sum(not result.passed for _, result in results)
        click.echo(f"{failed} of {len(results)} checks failed." if failed else f"All {len(results)} checks passed.")
    if not all(result.passed for _, result in results):
        sys.exit(1)


def _origin(info: PluginInfo) -> str:
    from nas.paths import shipped

    file = Path(info.file)
    if shipped("plugins").resolve() in file.parents:
        return "shipped"
    return str(file.relative_to(Path.cwd())) if Path.cwd() in file.parents else str(file)


def _article(kind: str) -> str:
    from nas.registry.signature import PluginType

    return str(PluginType(kind))


def _wrapped(text: str, *, first: str, rest: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False, break_long_words=False)
