"""Layer 3: effects straight from a CSV table of results, this project's own or anyone else's.

See docs/method.md, "Do it with your own table".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.errors import UserError
from nas.measuring.estimates import estimate
from nas.measuring.sentences import UNNAMED
from nas.measuring.table import read_results
from nas.values.domains import Scalar
from nas.values.effects import Effects, Result


def effects(
    table: str | Path,
    *,
    reference: Scalar,
    smallest_effect: float,
    factor: str = UNNAMED,
    levels: Sequence[Scalar] | None = None,
    maximize: bool = True,
    scope: str = "",
    planned_looks: bool = False,
    unit: str | None = None,
) -> Effects:
    """Say what each level in a table of results is worth against `reference`.

    Args:
        table: a CSV file with the columns replicate, level, by, value and failed (`read_results` has the whole list).
        reference: the level that the others are compared with.
        smallest_effect: the smallest effect that matters, in the unit of `value`: of accuracies, 0.01 is one point.
        factor: what the levels are levels of, for the sentence: `shortcut`.
        levels: the arms to compare, by default all there are.
        maximize: whether larger values are better.
        scope: where the finding holds, for the sentence: `digits`.
        planned_looks: read verdicts at 10 and 20 replicates only, each at its own error rate (docs/method.md, "Looking early").
        unit: what the sentence counts in: `points` are hundredths; '' takes figures as they are; by default `unit_of`.

    Raises:
        UserError: naming the file, and the line where one row is at fault.
    """
    results, by = read_results(table)
    unit = unit_of(results, maximize=maximize) if unit is None else unit
    if unit == "points" and smallest_effect >= 1:
        raise UserError(
            f"smallest effect: {smallest_effect:g} cannot be reached, as the values in {table} lie between 0 and 1; give it in their "
            "unit, in which 0.01 is one point"
        )
    try:
        return estimate(
            results,
            factor=factor,
            reference=reference,
            by=by,
            smallest_effect=smallest_effect,
            levels=levels,
            maximize=maximize,
            scope=scope,
            planned_looks=planned_looks,
            unit=unit,
        )
    except UserError as error:
        if str(error).startswith("smallest_effect"):
            raise
        raise UserError(f"{table}: {str(error).removeprefix('effects: ')}") from None


def unit_of(results: Sequence[Result], *, maximize: bool) -> str:
    """Return `points` for shares, which are better the larger and lie between 0 and 1; '' for a loss and all else."""
    values = [result.value for result in results if result.value is not None]
    return "points" if maximize and values and min(values) >= 0 and max(values) <= 1 else ""
