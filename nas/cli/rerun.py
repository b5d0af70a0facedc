"""Layer 6: `nas rerun`: one recorded training again, and whether its numbers came back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas.cli.options import json_option, plugins_option, print_json, storage_option, store_option

if TYPE_CHECKING:
    from nas.study.rerunning import Rerun

SHOWN = 6


@click.command("rerun")
@click.argument("training", metavar="RUN|STUDY", required=False)
@click.option("--phase", type=click.Choice(("search", "measure", "ablate", "train")), help="Of STUDY: the phase; search by default.")
@click.option("--number", type=click.IntRange(0), help="Of STUDY: the training's number; by default the best of the search.")
@click.option("--threads", type=click.IntRange(1), help="As many as a worker had; by default those of one worker a core or GPU.")
@store_option
@storage_option
@plugins_option
@json_option
def command(
    training: str | None, phase: str | None, number: int | None, threads: int | None,
    store: Path | None, storage: str | None, plugins: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Run one training again from its record, and say whether every figure came back, bit for bit.

    RUN is the id of an MLflow run of a training; STUDY a study's title, by default that of the study that ran last. Nothing
    is written. Exit code 1 where a figure is another now.

    \b
    Examples:
      nas rerun residual-digits-9738de0a
      nas rerun residual-digits-9738de0a --phase measure --number 12
    """
    from nas.errors import UserError
    from nas.paths import keep_cache_in, store_folder
    from nas.report.words import plural
    from nas.study.aiming import best_of
    from nas.study.crew.crew import default_workers, threads_for
    from nas.study.ledger.storage import default_storage
    from nas.study.rerunning import find_training, place_of_run, rerun
    from nas.study.study import Study
    from nas.tracking.networks import is_run
    from nas.tracking.place import kept_uri

    place = store_folder(store)
    keep_cache_in(place)
    if training and is_run(training):
        if phase or number is not None:
            raise UserError("rerun: --phase and --number go with a study; a run is one training already")
        training, phase, number = place_of_run(training, kept_uri(place))
    study = Study.reopen(training, storage or default_storage(place), plugins=plugins)
    if number is None:
        if phase not in (None, "search"):
            raise UserError(f"rerun: name the training of the phase '{phase}' with --number")
        number = best_of(study).number
    record = find_training(study, phase or "search", number)
    if not as_json:
        seeds = len(record.outcome.seed_scores) if record.outcome else 0
        start = f"with its {plural(seeds, 'seed')}" if seeds else f"from its seed {record.seed}"
        click.echo(f"{study.title}, {record.phase} training {record.number}, {start} …", err=True)
    result = rerun(study, record, on_epoch=lambda _: None, threads=threads or threads_for(default_workers()))
    if as_json:
        print_json(_document(result))
    else:
        for line in _lines(result):
            click.echo(line)
    if not result.came_back:
        sys.exit(1)


def _lines(result: Rerun) -> list[str]:
    from nas.report.words import plural

    after = result.after
    if result.came_back:
        return [f"It came back: score {after.score:.6g}, and every figure of {plural(after.num_epochs, 'epoch')} equal bit for bit."]
    lines = [f"It did not come back: {plural(len(result.differences), 'figure')} came to something else."]
    lines += [f"  {name}: {then:.8g} then, {now:.8g} now" for name, (then, now) in list(result.differences.items())[:SHOWN]]
    lines += [f"  {name} was {then}, is {now}" for name, (then, now) in result.changed.items()]
    if not result.changed:
        lines.append("  Packages, processor and plugins are those of then. Was it another number of threads (--threads)?")
    return lines


def _document(result: Rerun) -> dict[str, object]:
    before = result.before
    assert before.outcome is not None, "only trainings with an outcome are run again"
    return {
        "study": result.title,
        "phase": before.phase,
        "number": before.number,
        "seed": before.seed,
        "came_back": result.came_back,
        "score_before": before.outcome.score,
        "score_now": result.after.score,
        "differences": {name: list(values) for name, values in result.differences.items()},
        "changed": {name: list(values) for name, values in result.changed.items()},
    }
