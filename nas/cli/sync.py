"""Layer 6: `nas sync`: writes to MLflow what it does not have yet."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from nas.cli.options import plugins_option, storage_option, store_option
from nas.paths import store_folder


@click.command("sync")
@click.argument("study", required=False)
@store_option
@storage_option
@plugins_option
def command(study: str | None, store: Path | None, storage: str | None, plugins: tuple[str, ...]) -> None:
    """Bring MLflow up to the ledger for STUDY, by default the one that ran last: nothing is lost while a server is away.

    \b
    Example:
      MLFLOW_TRACKING_URI=http://127.0.0.1:5000 nas sync
    """
    from nas.concluding import concluded
    from nas.study.ledger.storage import default_storage
    from nas.study.study import Study

    folder = store_folder(store)
    result = concluded(Study.reopen(study, storage or default_storage(folder), plugins=plugins), store=folder)
    click.echo(f"{result.sync.written} runs written to {result.tracking_uri}, {result.sync.pending} pending")
    if result.sync.error:
        click.echo(f"Error: {result.sync.error}", err=True)
        sys.exit(1)
