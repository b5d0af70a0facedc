"""Layer 6: `nas measure`: one factor measured, without a search, over the space's draws or at a named architecture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from nas.cli.options import (
    by_option,
    data_options,
    detail_options,
    json_option,
    keep_option,
    mode_option,
    plugins_option,
    set_option,
    storage_option,
    store_option,
    workers_options,
)
from nas.cli.progress import Detail, progress
from nas.cli.search import show_result

if TYPE_CHECKING:
    from nas.space import Space


@click.command("measure")
@click.argument("target", metavar="SPACE|STUDY", required=False)
@click.option("--factor", metavar="PATH", help="The decision to measure; by default the one of `measure:`.")
@click.option("--reference", metavar="LEVEL", help="The level that the others are compared with.")
@click.option("--levels", multiple=True, metavar="A,B", help="The levels to compare; by default every other label of a choice.")
@by_option
@set_option
@click.option("--of", metavar="STUDY", help="Hold everything else at the best architecture of this study.")
@click.option("--architecture", type=click.Path(dir_okay=False), metavar="FILE",
              help="Hold the architecture of this JSON file, as `nas show --json` prints it.")  # fmt: skip
@mode_option
@click.option("--replicates", type=click.IntRange(1), metavar="K", help="Seeds and splits; by default as in `measure:`, or 10.")
@click.option("--smallest-effect", type=click.FloatRange(0, min_open=True), metavar="X",
              help="The smallest effect that matters, a fraction; by default as in `measure:`, or 0.01.")  # fmt: skip
@store_option
@storage_option
@plugins_option
@data_options
@workers_options
@click.option("--new", is_flag=True, help="Start a new study even where one of this space is there.")
@keep_option
@detail_options
@json_option
def command(
    target: str | None, factor: str | None, reference: str | None, levels: tuple[str, ...], by: dict[str, str],
    settings: dict[str, str], of: str | None, architecture: str | None, mode: str | None, replicates: int | None,
    smallest_effect: float | None, data: str | None, data_options: dict[str, str],
    store: Path | None, storage: str | None, plugins: tuple[str, ...], workers: int | None, engine: str, new: bool, keep: bool,
    detail: Detail, as_json: bool,
) -> None:  # fmt: skip
    """Measure what a choice is worth with balanced twins, without searching.

    Of a SPACE, the decisions without a role are drawn anew for each replicate, but for those that `--set`, `--of` or
    `--architecture` hold. Of a STUDY (by default the one that ran last) they are held at the best architecture of its search.
    Without options, the factor is that of the `measure:` section. Interrupt it at any time: the same command goes on.

    \b
    Examples:
      nas measure search_spaces/residual.yaml
      nas measure search_spaces/residual.yaml --factor architecture.staged.depth \\
        --reference 1 --levels 3,9 --set architecture.staged.block=basic
    """
    console = Console(stderr=as_json)
    with progress(console, detail) as watch:
        from nas.study.crew import early

        if engine == "local":
            early.start()
        from nas import workflow
        from nas.api import load_space
        from nas.errors import UserError
        from nas.space import Asked

        asked = Asked(
            factor=factor, reference=reference, levels=levels, by=by, hold=settings, replicates=replicates, smallest_effect=smallest_effect
        )
        given: Space | str | None = target
        if target is not None and workflow.is_space_file(target):
            given = load_space(target, plugins=plugins, data=data, data_options=data_options)
        elif data or data_options:
            raise UserError("measure: --data and --data-option go with a space file; a study has its data already")
        result = workflow.measure(
            given, of=of, architecture=architecture, asked=asked, store=store, storage=storage, plugins=plugins, mode=mode,
            workers=workers, engine=engine, new=new, keep=keep, watch=watch,
        )  # fmt: skip
    show_result(result, console, as_json=as_json)
