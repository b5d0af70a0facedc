"""Layer 6: `nas measure`: the measurement alone."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from nas.cli.options import data_options, json_option, mode_option, plugins_option, print_json, space_argument, storage_option, store_option
from nas.cli.progress import progress
from nas.cli.search import show_result, summary


@click.command("measure")
@space_argument
@store_option
@storage_option
@plugins_option
@data_options
@mode_option
@click.option("--workers", type=click.IntRange(1), help="Worker processes; one a core, or one a GPU, by default.")
@click.option("--new", is_flag=True, help="Start a new study even where one of this space is there.")
@json_option
def command(
    space: str, data: str | None, data_options: dict[str, str],
    store: Path | None, storage: str | None, plugins: tuple[str, ...], mode: str | None, workers: int | None, new: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure the factor of SPACE's `measure:` section with balanced twins, without searching.

    \b
    Example:
      nas measure search_spaces/residual.yaml
    """
    console = Console(stderr=as_json)
    with progress(console) as watch:
        from nas import workflow
        from nas.api import load_space

        loaded = load_space(space, plugins=plugins, data=data, data_options=data_options)
        result = workflow.measure(loaded, store=store, storage=storage, plugins=plugins, mode=mode, workers=workers, new=new, watch=watch)
    if as_json:
        print_json(summary(result))
    else:
        show_result(result, console)
