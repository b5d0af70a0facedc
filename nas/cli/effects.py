"""Layer 6: `nas effects`: what a choice is worth, from a table of results."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from rich.console import Console

from nas.cli.options import json_option, print_json

if TYPE_CHECKING:
    from nas.values.domains import Scalar
    from nas.values.effects import Result


@click.command("effects")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--reference", required=True, metavar="LEVEL", help="The level that the others are compared with.")
@click.option(
    "--smallest-effect", required=True, type=float, metavar="X",
    help="The smallest effect that matters, in the unit of `value`: of accuracies, 0.01 is one point.",
)  # fmt: skip
@click.option("--minimize", is_flag=True, help="Smaller values are better: a loss or an error.")
@click.option("--levels", multiple=True, metavar="A,B", help="The arms to compare; by default all in the file.")
@click.option("--factor", metavar="NAME", default="level", help="What the levels are levels of, for the sentence.")
@click.option("--scope", metavar="NAME", default="", help="Where the finding holds, such as the data set, for the sentence.")
@click.option("--planned-looks", is_flag=True, help="Read verdicts at 10 and 20 replicates only, each at its own error rate.")
@click.option(
    "--unit", type=click.Choice(["points", "plain"]),
    help="Points (hundredths) or figures as they stand; points where values are shares.",
)  # fmt: skip
@json_option
def command(
    file: str, reference: str, smallest_effect: float, minimize: bool, levels: tuple[str, ...], factor: str, scope: str,
    planned_looks: bool, unit: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Say what each level in FILE is worth against the reference, with an interval.

    FILE is a CSV table with a row for each training: `replicate` (rows of one replicate share everything but
    the level), `level`, `by` (such as the depth; optional), `value` (empty where the training is missing) and
    `failed` (true or false). `parameters`, `macs` and `num_layers` are used where they are there.

    \b
    Example, on the file that every report links to:
      nas effects replicates.csv --reference none --smallest-effect 0.01
    """
    from nas.measuring.from_table import effects, unit_of
    from nas.measuring.table import parse_scalar, read_results
    from nas.report.text import effects_table, verdict_text
    from nas.report.words import Unit

    results, _ = read_results(file)
    counts_in = {"points": "points", "plain": "", None: unit_of(results, maximize=not minimize)}[unit]
    found = effects(
        file,
        reference=parse_scalar(reference),
        smallest_effect=smallest_effect,
        factor=factor,
        levels=_levels(levels, results) if levels else None,
        maximize=not minimize,
        scope=scope,
        planned_looks=planned_looks,
        unit=counts_in,
    )
    if as_json:
        print_json(found.to_dict())
        return
    console, shown = Console(highlight=False), Unit.of("accuracy" if counts_in else "loss")
    console.print(effects_table(found, unit=shown))
    console.print()
    console.print(verdict_text(found, unit=shown))


def _levels(texts: Sequence[str], results: Sequence[Result]) -> list[Scalar]:
    """Read `--levels`: levels with commas between them, or one that holds commas itself, as it stands in the file."""
    from nas.measuring.table import parse_scalar

    known = {result.level for result in results}
    found: list[Scalar] = []
    for text in texts:
        whole = parse_scalar(text)
        found += [whole] if whole in known else [parse_scalar(part) for part in text.split(",") if part.strip()]
    return found
