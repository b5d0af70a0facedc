"""Layer 6: `nas studies`: what there is in a store and how far it got."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from nas.cli.options import json_option, print_json, storage_option, store_option
from nas.paths import store_folder


@click.command("studies")
@store_option
@storage_option
@json_option
def command(store: Path | None, storage: str | None, as_json: bool) -> None:
    """List the studies of a store, the one that ran last at the end.

    \b
    Example:
      nas studies
    """
    from nas.study.ledger.known import studies_in
    from nas.study.ledger.storage import default_storage

    url = storage or default_storage(store_folder(store))
    found = studies_in(url)
    rows = [
        {"study": s["title"], "file": s["space_file"], "search": s["search"], "measured": s["measured"], "last_run": s.get("last_run", "")}
        for s in found
    ]
    if as_json:
        print_json(rows)
        return
    console = Console()
    if not rows:
        console.print(f"No study in {url} yet. Start one: nas search SPACE", soft_wrap=True)
        return
    table = Table("study", "space file", "trials", "measured", "last run", box=None)
    for row in rows:
        table.add_row(row["study"], row["file"], str(row["search"]), str(row["measured"]), row["last_run"][:16].replace("T", " "))
    console.print(table)
