"""Layer 6: `nas search`: the main job."""

from __future__ import annotations

from dataclasses import asdict
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
    print_json,
    space_argument,
    storage_option,
    store_option,
    workers_options,
)
from nas.cli.progress import Detail, progress

if TYPE_CHECKING:
    from nas.report.words import Unit
    from nas.tracking.tracker import SyncReport
    from nas.values.effects import Effects
    from nas.values.records import StudyRecord


@click.command("search")
@space_argument
@store_option
@storage_option
@plugins_option
@data_options
@mode_option
@workers_options
@click.option("--new", is_flag=True, help="Start a new study even where one of this space is there.")
@click.option("--baseline", is_flag=True, help="Train as many trials drawn at random, too, to see what the search is worth.")
@keep_option
@detail_options
@json_option
def command(
    space: str, data: str | None, data_options: dict[str, str],
    store: Path | None, storage: str | None, plugins: tuple[str, ...], mode: str | None, workers: int | None, engine: str, new: bool,
    baseline: bool, keep: bool, detail: Detail, as_json: bool,
) -> None:  # fmt: skip
    """Search SPACE and, where it has a `measure:` section, measure its factor with balanced twins.

    Interrupt it at any time: the same command goes on where it stopped.

    \b
    Example:
      nas search search_spaces/residual.yaml
    """
    console = Console(stderr=as_json)
    with progress(console, detail) as watch:
        from nas.study.crew import early

        if engine == "local":
            early.start()
        from nas import workflow  # seconds of imports, behind the first line of the display
        from nas.api import load_space

        loaded = load_space(space, plugins=plugins, data=data, data_options=data_options)
        result = workflow.search(
            loaded, store=store, storage=storage, plugins=plugins, mode=mode, workers=workers, engine=engine, new=new, keep=keep,
            baseline=baseline, watch=watch,
        )  # fmt: skip
    show_result(result, console, as_json=as_json)


def summary(result: object) -> dict[str, object]:
    """Return a study's result as plain data."""
    from nas.concluding import StudyResult
    from nas.values.front import fronts_document

    assert isinstance(result, StudyResult)
    record = result.record
    changes = [{"level": c.level, **asdict(c)} for c in record.changes]
    return {
        **({"changes": changes, "left_out": record.left_out} if changes else {}),
        "study": record.title,
        "told_trials": sum(t.state in ("complete", "pruned", "failed") for t in record.search),
        "measured_trainings": sum(t.state in ("complete", "failed") for t in record.measured),
        "best": [
            {"number": t.number, "score": t.outcome.score, "decisions": dict(t.decisions)} for t in record.best() if t.outcome
        ],
        **({"objectives": [{"name": name, "direction": way} for name, way in record.objectives]} if record.costs else {}),
        **({"front": fronts_document(record)} if record.search else {}),
        **({"tuning": [asdict(winner) for winner in record.winners]} if record.planned_tuning else {}),
        **({"gate": record.gate, "gated": sum(t.state == "gated" for t in record.search)} if record.gate else {}),
        **({"baseline": baseline_summary(record)} if record.planned_baseline else {}),
        "effects": result.effects.to_dict() if result.effects else None,
        "lost": [{"replicate": cell.replicate, "level": cell.level, "by": dict(cell.by)} for cell in record.lost],
        "replacements": record.replacements,
        "verdict": result.effects.sentence if result.effects else None,
        "report": str(result.report),
        "networks": [str(file) for file in result.networks],
        "tracking_uri": result.tracking_uri,
        "replicates": [
            {"replicate": t.cell.replicate, "level": t.cell.level, "by": dict(t.cell.by), "seed": t.seed,
             "value": t.outcome.score if t.outcome else None, "failed": t.state == "failed"}
            for t in record.measured if t.cell and t.state in ("complete", "failed")
        ],
    }  # fmt: skip


def baseline_summary(record: StudyRecord) -> dict[str, object]:
    """Return what came of the random trials beside a search as plain data."""
    from nas.report.against_random import TOLD, best_so_far, told

    steps = best_so_far(record, record.baseline)
    return {
        "told_trials": sum(t.state in TOLD for t in record.baseline),
        "best": steps[-1][1] if steps else None,
        "best_so_far": [{"trainings": count, "score": score} for count, score in steps],
        "sentence": told(record),
    }


def tell_waiting(sync: SyncReport, console: Console) -> None:
    """Print what MLflow has not got yet, and why."""
    if sync.error:
        console.print(sync.error, soft_wrap=True, markup=False, highlight=False)


def show_contrasts(effects: Effects, unit: Unit, console: Console) -> None:
    """Print the contrasts with references of equal cost, where there are any."""
    from nas.report.contrasts import text_table

    table = text_table(effects, unit)
    if table is None:
        return
    console.print()
    console.print(table)
    for contrast in effects.contrasts:
        console.print(f"{contrast.effects.estimand}: {contrast.effects.sentence}", style="bold", markup=False, highlight=False)
        for line in contrast.effects.notes:
            console.print(f"- {line}", style="dim", markup=False, highlight=False)


def show_result(result: object, console: Console, *, as_json: bool = False) -> None:
    """Print the tables, the verdict and where to look next; or one JSON document, and on `console` what MLflow has not got yet."""
    from nas.concluding import StudyResult
    from nas.report import against_random
    from nas.report.ablation import remarks, text_table
    from nas.report.gate_text import gate_sentences
    from nas.report.text import best_table, effects_table, verdict_text
    from nas.report.words import Unit, plural

    assert isinstance(result, StudyResult)
    if as_json:
        tell_waiting(result.sync, console)
        print_json(summary(result))
        return
    console.print()
    if result.record.best(1):
        console.print(best_table(result.record))
        for line in gate_sentences(result.record):
            console.print(line, highlight=False)
        if beside := against_random.told(result.record):
            console.print(beside, markup=False, highlight=False)
    elif failed := [t.outcome.failure for t in result.record.search if t.outcome and t.outcome.failure]:
        console.print(f"No trial of the search learned anything; the last one: {failed[-1]}", highlight=False)
    if result.effects and result.record.changes:
        console.print(text_table(result.record, result.effects))
        console.print(result.effects.sentence, style="bold", markup=False, highlight=False)
        for line in (*remarks(result.record), *result.effects.notes):
            console.print(f"- {line}", style="dim", markup=False, highlight=False)
    elif result.effects:
        metric = result.record.plan.metric if result.record.plan else result.record.objective
        console.print(effects_table(result.effects, unit=Unit.of(metric)))
        console.print(verdict_text(result.effects, unit=Unit.of(metric)))
        show_contrasts(result.effects, Unit.of(metric), console)
    elif result.record.plan is None:
        console.print(
            "What the trials show about a factor is exploratory: the sampler visits what works. "
            "Add a `measure:` section (factor, reference, smallest_effect) and run again to measure it."
        )
    console.print()
    tell_waiting(result.sync, console)
    console.print(f"Report   {result.report}", soft_wrap=True)
    if result.networks:
        files = plural(len(result.networks), "network")
        folders = ", ".join(dict.fromkeys(str(file.parent) for file in result.networks))
        console.print(f"Kept     {files} in {folders}", soft_wrap=True, highlight=False)
    console.print(f"MLflow   {result.tracking_uri}   (open it with: nas ui)", soft_wrap=True)
