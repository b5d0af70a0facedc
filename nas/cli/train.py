"""Layer 6: `nas train`: one architecture trained anew from fresh seeds, its networks kept, each scored once on the test split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from nas.cli.options import (
    data_options,
    detail_options,
    json_option,
    plugins_option,
    print_json,
    set_option,
    storage_option,
    store_option,
    workers_options,
)
from nas.cli.progress import Detail, progress
from nas.cli.search import tell_waiting

if TYPE_CHECKING:
    from nas.concluding import TrainResult
    from nas.space import Space


@click.command("train")
@click.argument("target", metavar="STUDY|SPACE|RUN|FILE", required=False)
@set_option
@click.option("--architecture", type=click.Path(dir_okay=False), metavar="FILE",
              help="With a SPACE, the architecture of this JSON file, as `nas show --json` prints it.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(1), metavar="N", help="How many fresh seeds; 5 by default.")
@click.option("--epochs", type=click.IntRange(1), help="How long each is trained; by default as the space says.")
@store_option
@storage_option
@plugins_option
@data_options
@workers_options
@detail_options
@json_option
def command(
    target: str | None, settings: dict[str, str], architecture: str | None, seeds: int | None, epochs: int | None,
    data: str | None, data_options: dict[str, str],
    store: Path | None, storage: str | None, plugins: tuple[str, ...], workers: int | None, engine: str, detail: Detail, as_json: bool,
) -> None:  # fmt: skip
    """Train one architecture anew from fresh seeds, keep its networks, and score each once on the test split.

    The architecture is the best one of STUDY's search (by default of the study that ran last); what stands first in the
    file SPACE, with the decisions of --set; what an MLflow RUN trained; or that of a kept network's FILE. A search's best
    score is the luckiest of many: beside it stands what fresh seeds give, with an interval.

    Nothing is pruned. Interrupt it at any time: the same command goes on, in the middle of a training too.

    \b
    Examples:
      nas train residual-digits-9738de0a --seeds 5
      nas train search_spaces/residual.yaml --set architecture.staged.depth=9
    """
    console = Console(stderr=as_json)
    with progress(console, detail) as watch:
        from nas.study.crew import early

        if engine == "local":
            early.start()
        from nas import workflow  # seconds of imports, behind the first line of the display
        from nas.api import load_space
        from nas.errors import UserError

        given: Space | str | None = target
        if target is not None and workflow.is_space_file(target):
            given = load_space(target, plugins=plugins, data=data, data_options=data_options)
        elif data or data_options:
            raise UserError("train: --data and --data-option go with a space file; anything else has its data already")
        result = workflow.train(
            given, settings=settings, architecture=architecture, seeds=seeds, epochs=epochs, store=store, storage=storage,
            plugins=plugins, workers=workers, engine=engine, watch=watch,
        )  # fmt: skip
    show_training(result, console, as_json=as_json)


def show_training(result: TrainResult, console: Console, *, as_json: bool) -> None:
    """Print what a retraining came to, and where its networks lie."""
    from nas.report.retest import lines

    if as_json:
        tell_waiting(result.sync, console)
        print_json(training_summary(result))
        return
    console.print()
    for line in lines(result.retest):
        console.print(line, markup=False, highlight=False)
    console.print()
    tell_waiting(result.sync, console)
    if result.networks:
        console.print("Networks (nas.load_network(FILE) reads one):")
    for seed, file in result.networks:
        console.print(f"  seed {seed}   {file}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"MLflow   {result.tracking_uri}   (open it with: nas ui)", soft_wrap=True)


def training_summary(result: TrainResult) -> dict[str, object]:
    """Return what a retraining came to as plain data."""
    from nas.report.retest import sentence

    return {
        "study": result.record.title,
        "sentence": sentence(result.retest),
        **result.retest.to_dict(),
        "networks": [{"seed": seed, "file": str(file)} for seed, file in result.networks],
        "trainings": [
            {"seed": t.cell.replicate, "state": t.state, "score": t.outcome.score, "metrics": dict(t.outcome.metrics)}
            for t in sorted(result.record.measured, key=lambda t: t.cell.replicate if t.cell else 0) if t.cell and t.outcome
        ],
        "tracking_uri": result.tracking_uri,
    }  # fmt: skip
