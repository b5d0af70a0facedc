"""Layer 6: `nas report`: the report again, from the records."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from nas.cli.options import json_option, plugins_option, storage_option, store_option
from nas.cli.search import show_result
from nas.cli.train import show_training
from nas.paths import store_folder


@click.command("report")
@click.argument("study", required=False)
@store_option
@storage_option
@plugins_option
@json_option
def command(study: str | None, store: Path | None, storage: str | None, plugins: tuple[str, ...], as_json: bool) -> None:
    """Write the report of STUDY again, by default of the one that ran last, and print its tables.

    \b
    Example:
      nas report residual-digits-9738de0a
    """
    from nas.concluding import TrainResult, concluded
    from nas.study.ledger.storage import default_storage
    from nas.study.study import Study

    folder = store_folder(store)
    opened = Study.reopen(study, storage or default_storage(folder), plugins=plugins)
    result, console = concluded(opened, store=folder), Console(stderr=as_json)
    if isinstance(result, TrainResult):
        show_training(result, console, as_json=as_json)
    else:
        show_result(result, console, as_json=as_json)
