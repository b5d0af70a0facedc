"""Layer 6: `nas worker`: one more worker for a study, from this machine or another."""

from __future__ import annotations

from pathlib import Path

import click

from nas.cli.options import plugins_option, storage_option, store_option
from nas.paths import keep_cache_in, store_folder


@click.command("worker")
@click.argument("study", required=False)
@store_option
@storage_option
@plugins_option
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads for torch.")
def command(study: str | None, store: Path | None, storage: str | None, plugins: tuple[str, ...], threads: int) -> None:
    """Join STUDY, by default the one that ran last, and train what is queued until nothing is left.

    \b
    Example:
      nas worker residual-digits-9738de0a --storage postgresql://user@host/nas
    """
    import torch

    from nas.study.jobs.kept import FOLDER
    from nas.study.ledger.storage import default_storage
    from nas.study.study import Study
    from nas.study.worker.worker import work

    torch.set_num_threads(threads)
    folder = store_folder(store)
    keep_cache_in(folder)
    url = storage or default_storage(folder)
    opened = Study.reopen(study, url, plugins=plugins)

    def say(event: object) -> None:
        assert isinstance(event, dict)
        if event["event"] != "epoch":
            click.echo(f"{event['event']} trial {event['number']}{': ' + event['error'] if 'error' in event else ''}")

    work(url, [ledger.name for ledger in opened.ledgers], emit=say, plugins=opened.plugins, networks=folder / FOLDER)
