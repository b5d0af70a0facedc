"""Layer 6: `nas ablate`: each decision of one architecture changed alone, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from nas.cli.options import (
    data_options,
    detail_options,
    json_option,
    keep_option,
    mode_option,
    plugins_option,
    reference_option,
    set_option,
    storage_option,
    store_option,
    workers_options,
)
from nas.cli.progress import Detail, progress
from nas.cli.search import show_result
from nas.errors import UserError

if TYPE_CHECKING:
    from nas.space import Space


@click.command("ablate")
@click.argument("study", metavar="STUDY|SPACE", required=False)
@set_option
@reference_option
@click.option("--decision", "only", multiple=True, metavar="PATH", help="Change only this decision; any number of times.")
@mode_option
@click.option("--replicates", type=click.IntRange(1), metavar="K", help="Seeds and splits; by default as in `measure:`, or 10.")
@click.option("--smallest-effect", type=click.FloatRange(0, min_open=True), metavar="X",
              help="The smallest effect that matters, a fraction; by default as in `measure:`, or 0.01.")  # fmt: skip
@store_option
@storage_option
@plugins_option
@data_options
@workers_options
@keep_option
@detail_options
@json_option
def command(
    study: str | None, data: str | None, data_options: dict[str, str],
    settings: dict[str, str], references: dict[str, str], only: tuple[str, ...],
    mode: str | None, replicates: int | None,
    smallest_effect: float | None, store: Path | None, storage: str | None, plugins: tuple[str, ...], workers: int | None, engine: str,
    keep: bool, detail: Detail, as_json: bool,
) -> None:  # fmt: skip
    """Change each decision of one architecture alone, and measure what each change does.

    The architecture is the best one of STUDY's search (by default of the study that ran last), or what stands first in the
    file SPACE, with the decisions of `--set`. Every change and the unchanged architecture are trained on the same seeds and
    splits; p-values are Holm-corrected over the whole table. Interrupt it at any time: the same command goes on.

    \b
    Example:
      nas ablate residual-digits-9738de0a --reference architecture.staged.shortcut=none
    """
    console = Console(stderr=as_json)
    with progress(console, detail) as watch:
        from nas.study.crew import early

        if engine == "local":
            early.start()
        from nas import workflow  # seconds of imports, behind the first line of the display
        from nas.api import load_space

        target: Space | str | None = study
        if data or data_options:
            if study is None or not workflow.is_space_file(study):
                raise UserError("--data replaces a space file's data set, and a study has its own already; name a space file")
            target = load_space(study, plugins=plugins, data=data, data_options=data_options)
        result = workflow.ablate(
            target, settings=settings, references=references, only=only, mode=mode, replicates=replicates, smallest_effect=smallest_effect,
            store=store, storage=storage, plugins=plugins, workers=workers, engine=engine, keep=keep, watch=watch,
        )  # fmt: skip
    show_result(result, console, as_json=as_json)
