"""Layer 6: `nas init`: a commented space file for somebody's own data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from nas.cli.options import plugins_option


@click.command("init")
@click.argument("source", required=False, metavar="[DATA]")
@click.option("--to", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="The space file; DATA's name by default.")
@plugins_option
def command(source: str | None, to: Path | None, plugins: tuple[str, ...]) -> None:
    """Write a commented space file for DATA: a folder with one folder of pictures a class, a .parquet or an .npz file.

    An .npz file holds the arrays `inputs` and `targets`; its inputs are pictures or vectors. The data is read once, so that
    what is wrong with it is said now. Without DATA the space is about scikit-learn's digits.

    \b
    Example:
      nas init pictures/
    """
    from nas.authoring.starting import Budget, draft, write
    from nas.cli.check import about_data
    from nas.registry import discover
    from nas.space import parse_space
    from nas.study.jobs.materials import describe_data

    registry = discover(plugins)
    start = draft(source, to)
    space = parse_space(start.text, str(start.file), registry)
    about = about_data(space)
    found = describe_data(space)
    start = replace(start, budget=Budget.of(found["num_train"]), vectors=len(found["input_shape"]) == 1)
    write(start, registry)
    click.echo(f"Wrote {start.file} with `data: {start.data}`: {start.remark}.")
    click.echo(about)
    click.echo("Next:")
    for line, text in ((f"nas check {start.file}", "what it holds, and how long it takes"),
                       (f"nas search {start.file}", "search, measure, report"),
                       ("nas ui", "every training in the MLflow UI")):  # fmt: skip
        click.echo(f"  {line:<34}  {text}")
