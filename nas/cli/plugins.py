"""Layer 6: `nas plugins`: what is registered, with kind, parameters and origin."""

from __future__ import annotations

import inspect
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from nas.cli.options import json_option, plugins_option, print_json


@click.command("plugins")
@click.argument("name", required=False)
@click.option("--kind", help="Only one kind: block, shortcut, …")
@plugins_option
@json_option
def command(name: str | None, kind: str | None, plugins: tuple[str, ...], as_json: bool) -> None:
    """List the registered plugins; with NAME show that one with its parameters, formula and source.

    \b
    Example:
      nas plugins --kind shortcut
      nas plugins bottleneck
    """
    from nas.errors import UserError, nearest
    from nas.registry import discover

    registry = discover(plugins)
    if kind and kind not in registry.kinds():
        raise UserError(f"--kind {kind}: there is no such kind{nearest(kind, registry.kinds())}")
    chosen = [p for p in registry.plugins if (not kind or p.kind == kind) and (not name or p.name == name)]
    if name and not chosen:
        raise UserError(f"there is no plugin '{name}'{nearest(name, (p.name for p in registry.plugins))}")
    chosen.sort(key=lambda p: (p.kind, p.name))
    if as_json:
        print_json([_plain(p) for p in chosen])
    elif name:
        for info in chosen:
            _show(info)
    else:
        table = Table("kind", "name", "what it is", "parameters", box=None, pad_edge=False)
        for info in chosen:
            table.add_row(info.kind, info.name, info.summary, ", ".join(p.name for p in info.parameters))
        Console().print(table)


def _plain(info: Any) -> dict[str, Any]:
    return {
        "kind": info.kind,
        "name": info.name,
        "summary": info.summary,
        "formula": getattr(info.cls, "formula", ""),
        "parameters": [
            {"name": p.name, "type": str(p.type), "required": p.required, "default": None if p.required else str(p.default)}
            for p in info.parameters
        ],
        "file": info.file,
        "sha256": info.sha256,
    }


def _show(info: Any) -> None:
    console = Console(highlight=False)
    console.print(f"[bold]{info.name}[/bold] ({info.kind})", soft_wrap=True)
    console.print(inspect.cleandoc(info.cls.__doc__ or "").replace("[", r"\["), soft_wrap=True)
    if getattr(info.cls, "formula", ""):
        console.print(f"\nformula  {info.cls.formula.replace('{merge}', 'merge(shortcut, F(x))')}", soft_wrap=True, markup=False)
    for parameter in info.parameters:
        default = "required" if parameter.required else f"default {parameter.default}"
        console.print(f"  {parameter.name}: {parameter.type}   ({default})", soft_wrap=True, markup=False)
    console.print(f"from     {info.file}\n", soft_wrap=True, markup=False)
