"""Layer 6: `nas plugins`: list, show, test and start plugins; the catalogue of them, and the schema of space files."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas.cli.options import json_option, parameter_option, plugins_option, print_json

if TYPE_CHECKING:
    from nas.registry import Parameter, PluginInfo, Registry

WIDTH = 80
NAME = 20


class Plugins(click.Group):
    """The group `nas plugins`: alone, or with options only, it lists."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` before what names no command."""
        if not set(args) & {"-h", "--help"} and (not args or args[0].startswith("-")):
            args = ["list", *args]
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find a command; for an unknown one name the nearest."""
        from nas.errors import UserError, nearest

        if args and args[0] not in self.commands:
            close = nearest(args[0], self.commands)
            hint = close if "did you mean" in close else f"; to see a plugin: nas plugins show {args[0]}"
            raise UserError(f"'{args[0]}' is no command of nas plugins{hint}")
        return super().resolve_command(ctx, args)


@click.group("plugins", cls=Plugins, context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List, show, test and start plugins; alone it lists them.

    \b
    Example:
      nas plugins list --kind shortcut --json
      nas plugins show bottleneck
      nas plugins new block mine
      nas plugins test mine
    """


@command.command("list")
@click.option("--kind", help="Only one kind: block, shortcut, …")
@plugins_option
@json_option
def list_(kind: str | None, plugins: tuple[str, ...], as_json: bool) -> None:
    """List the registered plugins by kind, each with its parameters and where it comes from.

    \b
    Example:
      nas plugins list --kind shortcut
    """
    from nas.authoring.facts import of_kind, plain
    from nas.registry import discover

    chosen = of_kind(discover(plugins), kind)
    if as_json:
        print_json([plain(info) for info in chosen])
        return
    for line in _listed(chosen):
        click.echo(line)


@command.command("show")
@click.argument("name")
@plugins_option
@json_option
def show(name: str, plugins: tuple[str, ...], as_json: bool) -> None:
    """Show a plugin: help, formula, drawing, parameters, source, and a space file that uses it.

    NAME is a plugin's name, or KIND/NAME where several kinds share the name.

    \b
    Example:
      nas plugins show bottleneck
      nas plugins show norm/none --json
    """
    from nas.authoring.example import example_space
    from nas.authoring.facts import named, plain
    from nas.registry import discover

    registry = discover(plugins)
    chosen = named(registry, name)
    if as_json:
        print_json([plain(info, example=example_space(info, registry)) for info in chosen])
        return
    for i, info in enumerate(chosen):
        for line in ("", *_page(info, registry)) if i else _page(info, registry):
            click.echo(line)


@command.command("new")
@click.argument("kind")
@click.argument("name")
@click.option("--plugins", type=click.Path(path_type=Path), metavar="DIR", help="The folder to write to; ./plugins by default.")
def new(kind: str, name: str, plugins: Path | None) -> None:
    """Start a plugin: write a working one of KIND called NAME, and its contract as a test. Nothing is written over.

    \b
    Example:
      nas plugins new block mine
      nas plugins new shortcut mine --plugins elsewhere
    """
    from nas.authoring.example import InList, place_of
    from nas.authoring.scaffold import new_plugin
    from nas.registry import discover

    folder = plugins or Path("plugins")
    registry = discover([folder] if folder.is_dir() else [])
    file, test_file = new_plugin(kind, name, folder, registry)
    beside = "" if plugins is None else f" --plugins {folder}"
    place = place_of(kind, registry)
    key, said = [step for step in place if isinstance(step, str)][-1], f"[{name}]" if isinstance(place[-1], InList) else name
    click.echo(f"Wrote {file}, a working {kind} to change, and {test_file}.")
    click.echo(f"  look at it:       nas plugins show {kind}/{name}{beside}")
    click.echo(f"  test it:          nas plugins test {kind}/{name}{beside}, or pytest {test_file}")
    click.echo(f"  in a space file:  {key}: {said}")


@command.command("test")
@click.argument("name")
@parameter_option
@plugins_option
@json_option
def test(name: str, settings: dict[str, str], plugins: tuple[str, ...], as_json: bool) -> None:
    """Run the contract's tests on a plugin: shapes, gradients, seeds, state, copies, export.

    NAME is a plugin's name, or KIND/NAME where several kinds share the name.

    \b
    Example:
      nas plugins test bottleneck
      nas plugins test norm/none --json
      nas plugins test token_mixing --set tokens=64
    """
    from nas.authoring.facts import named, read_parameters
    from nas.registry import discover
    from nas.testing import check_plugin

    registry = discover(plugins)
    chosen = [(info, read_parameters(info, settings, registry)) for info in named(registry, name)]
    results = [(info, r) for info, given in chosen for r in check_plugin(registry, info.kind, info.name, parameters=given)]
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


@command.command("schema")
@plugins_option
def schema(plugins: tuple[str, ...]) -> None:
    """Print a JSON Schema of space files, with which editors complete and check them.

    \b
    Example:
      nas plugins schema > space.schema.json
    """
    from nas.registry import discover
    from nas.space.schema import schema_of

    print_json(schema_of(discover(plugins)))


@command.command("catalogue")
@click.option("--shipped", is_flag=True, help="Only the plugins that ship.")
@plugins_option
def catalogue(shipped: bool, plugins: tuple[str, ...]) -> None:
    """Print a catalogue of the plugins in Markdown: formula, parameters with ranges, source.

    \b
    Example:
      nas plugins catalogue > plugins.md
    """
    from nas.authoring.catalogue import catalogue as written
    from nas.registry import discover

    click.echo(written(discover(plugins), shipped=shipped), nl=False)


def _listed(infos: Sequence[PluginInfo]) -> Iterator[str]:
    """Yield the plugins by kind: name, what it is (its source left out), parameters, and where it is from unless it is shipped."""
    from nas.authoring.facts import SHIPPED, origin, summary_of

    kind = ""
    for info in infos:
        if info.kind != kind:
            if kind:
                yield ""
            kind = info.kind
            of_it = [origin(other) for other in infos if other.kind == kind]
            more = f", {len(of_it) - shipped} not" if (shipped := of_it.count(SHIPPED)) < len(of_it) else ""
            yield f"{click.style(kind, bold=True)} ({shipped} shipped{more})"
        notes = [summary_of(info)]
        if info.parameters:
            notes.append("· " + ", ".join(parameter.name for parameter in info.parameters))
        if (where := origin(info)) != SHIPPED:
            notes.append(f"· from {where}")
        name = f"  {info.name}"
        if len(name) >= NAME:
            yield name
            name = ""
        for note in notes:
            yield _wrapped(note, first=f"{name:<{NAME}}", rest=" " * NAME)
            name = ""


def _page(info: PluginInfo, registry: Registry) -> Iterator[str]:
    """Yield all there is to say of a plugin."""
    from nas.authoring.example import example_space
    from nas.authoring.facts import formula_of, help_of, origin, sources_of
    from nas.registry.signature import PluginType

    yield f"{click.style(info.name, bold=True)}, {PluginType(info.kind)}"
    yield ""
    for paragraph in help_of(info) or ("It has no docstring.",):
        yield _wrapped(paragraph, first="  ", rest="  ")
        yield ""
    if formula := formula_of(info):
        under = "  (with the identity shortcut)" if "{merge}" in str(getattr(info.cls, "formula", "")) else ""
        yield _wrapped(f"{formula}{under}", first="  ", rest="      ")
        yield ""
    if drawn := list(_drawing(info, registry)):
        yield from (f"    {line}".rstrip() for line in drawn)
        yield ""
    yield from _table(info.parameters)
    yield "  In a space file:"
    yield ""
    yield from (f"    {line}" for line in example_space(info, registry).splitlines())
    yield ""
    if sources := sources_of(info):
        yield _wrapped("; ".join(sources), first="  Source:  ", rest=" " * 11)
    yield f"  From:    {info.file} ({origin(info)})"


def _drawing(info: PluginInfo, registry: Registry) -> Iterator[str]:
    """Yield the drawing of a plugin; the reason where it cannot be built from its defaults alone."""
    from nas.authoring.drawing import INPUT, drawing, example_rows
    from nas.cli.show import drawn
    from nas.errors import PluginError

    try:
        yield from drawn(example_rows(info, registry), INPUT.input_shape) if info.kind == "network" else drawing(info, registry)
    except PluginError as error:
        yield from textwrap.wrap(f"No drawing: {error}", WIDTH - 4, break_on_hyphens=False, break_long_words=False)


def _table(parameters: Sequence[Parameter]) -> Iterator[str]:
    """Yield the parameters as a table: name, default, type with its range."""
    from nas.authoring.facts import default_of

    if not parameters:
        return
    rows = [("parameter", "default", "type"), *((p.name, default_of(p), str(p.type)) for p in parameters)]
    first, second = (min(max(len(row[column]) for row in rows), 24) + 2 for column in (0, 1))
    for name, default, kind in rows:
        yield _wrapped(kind, first=f"  {name:<{first}}{default:<{second}}", rest=" " * (2 + first + second))
    yield ""


def _wrapped(text: str, *, first: str, rest: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False, break_long_words=False)
