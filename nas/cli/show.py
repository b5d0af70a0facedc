"""Layer 6: `nas show`: one architecture, before anything is trained."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.table import Table

from nas.cli.options import json_option, plugins_option, print_json, set_option, space_argument


@click.command("show")
@space_argument
@set_option
@plugins_option
@json_option
def command(space: str, settings: dict[str, str], plugins: tuple[str, ...], as_json: bool) -> None:
    """Show one architecture of SPACE: what stands first, with the decisions of `--set`.

    \b
    Example:
      nas show search_spaces/residual.yaml --set architecture.staged.depth=9
    """
    from nas.api import decide, load_space
    from nas.building import cost_of
    from nas.outlining import outline
    from nas.study.materials import context_of

    loaded = load_space(space, plugins=plugins)
    decided = decide(loaded, settings)
    architecture, context = decided.configuration.architecture, context_of(loaded, decided.configuration)
    cost = cost_of(architecture, loaded.registry, context)
    document = {
        "parameters": cost.parameters,
        "macs": cost.macs,
        "num_layers": cost.num_layers,
        "key": architecture.key,
        "architecture": architecture.to_dict(),
        "decisions": dict(decided.decisions),
    }
    if as_json:
        print_json(document)
        return
    console = Console(highlight=False)
    _print(console, document, outline(architecture, loaded.registry, context), context.input_shape)


def _print(console: Console, document: dict[str, Any], rows: Any, input_shape: tuple[int, ...]) -> None:
    for path, value in document["decisions"].items():
        console.print(f"  {path} = {value}", soft_wrap=True, markup=False)
    table = Table("", "part", "shortcut", "output", "parameters", "MACs", box=None, pad_edge=False)
    table.add_row("", "input", "", "×".join(map(str, input_shape)), "", "")
    for count, row in _collapsed(rows):
        times = f" × {count}" if count > 1 else ""
        rail = "" if not row.shortcut else "│" if row.shortcut == "none" else "├╮\n├╯"
        table.add_row(
            rail, f"{row.name}{times}\n{row.kind}" if row.shortcut else row.name, row.shortcut, "×".join(map(str, row.output)),
            f"{row.parameters * count:,}", f"{row.macs * count:,}",
        )  # fmt: skip
    console.print(table)
    for formula in dict.fromkeys(row.formula for row in rows if row.formula):
        console.print(f"unit: {formula}", soft_wrap=True, markup=False)
    console.print(
        f"{document['num_layers']} layers, {document['parameters']:,} parameters, {document['macs']:,} MACs, key {document['key']}"
    )


def _collapsed(rows: Any) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    for row in rows:
        if found and row.shortcut and found[-1][1].alike(row):
            found[-1] = (found[-1][0] + 1, found[-1][1])
        else:
            found.append((1, row))
    return found
