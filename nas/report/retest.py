"""Layer 4: what a retraining says in the terminal: fresh seeds beside the score that the architecture was chosen for."""

from __future__ import annotations

from collections.abc import Iterator

from nas.measuring.retraining import Figure, Retest
from nas.report.values import Row, Table
from nas.report.words import Unit, plural


def lines(found: Retest) -> Iterator[str]:
    """Yield the table, 80 columns wide, then what has to be known to read it."""
    yield f"{found.origin.told[:1].upper()}{found.origin.told[1:]}, trained anew:"
    rows = list(_rows(found))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for name, n, mean, interval in rows:
        yield f"{name:<{widths[0]}}  {n:>{widths[1]}}  {mean:>{widths[2]}}  {interval:<{widths[3]}}".rstrip()
    yield ""
    yield from remarks(found)


def page_table(found: Retest) -> Table:
    """Return the table as the report has it."""
    head, *rows = _rows(found)
    told = f"{found.origin.told[:1].upper()}{found.origin.told[1:]}, trained anew for {plural(found.epochs, 'epoch')}."
    return Table(("metric", *head[1:]), tuple(Row(row) for row in rows), told)


def sentence(found: Retest) -> str:
    """Say what came of it in one sentence."""
    if found.test is None:
        return "No seed has been trained yet."
    gap = _gap(found)
    told = f"Over {plural(len(found.test.values), 'fresh seed')}, {found.test.metric} is {_told(found.test)}"
    return f"{told}; {gap}." if gap else f"{told}."


def _rows(found: Retest) -> Iterator[tuple[str, str, str, str]]:
    yield "", "n", "mean", "95% interval"
    origin = found.origin
    if origin.score is not None:
        unit = Unit.of(origin.metric)
        yield f"{origin.metric}, before", str(origin.seeds), f"{unit.level(origin.score)}{unit.mark}", ""
    if found.kept is not None and found.test is not None:
        unit = Unit.of(found.test.metric)
        yield f"{found.test.metric}, its network", "1", f"{unit.level(found.kept)}{unit.mark}", ""
    for figure in (found.again, found.test):
        if figure:
            unit = Unit.of(figure.metric)
            yield (
                f"{figure.metric}, fresh seeds",
                f"{len(figure.values)}",
                f"{unit.level(figure.mean)}{unit.mark}",
                f"[{unit.level(figure.interval.low)}, {unit.level(figure.interval.high)}]" if figure.interval else "-",
            )


def remarks(found: Retest) -> Iterator[str]:
    """Yield what has to be known to read the table."""
    if found.test is None:
        yield "No seed has been trained yet."
        return
    if gap := _gap(found):
        yield f"{gap[:1].upper()}{gap[1:]}."
    if found.origin.epochs not in (0, found.epochs):
        yield f"That was after {plural(found.origin.epochs, 'epoch')}, these are after {found.epochs}."
    if found.failures:
        yield f"{plural(found.failures, 'training')} of {len(found.test.values)} failed, and count at their failure score."
    if found.missing:
        yield f"{plural(found.missing, 'seed')} without an outcome yet: run the same command again."
    yield "Intervals are over seeds; all share one split, whose test part was scored once by each."


def _gap(found: Retest) -> str:
    """Say how far the score that an architecture was chosen for lies from what fresh seeds give in the same metric."""
    origin, again = found.origin, found.again
    if again is None or origin.score is None or origin.metric != again.metric:
        return ""
    unit = Unit.of(origin.metric)
    difference, name = origin.score - again.mean, unit.name or origin.metric
    chosen = f", the best of {origin.chosen_from} trials," if origin.chosen_from > 1 else ""
    side = "above" if difference >= 0 else "below"
    size = unit.level(abs(difference))
    return f"the score before{chosen} is {size} {name} {side} the mean of fresh seeds"


def _told(figure: Figure) -> str:
    unit = Unit.of(figure.metric)
    interval = f" [{unit.level(figure.interval.low)}, {unit.level(figure.interval.high)}]" if figure.interval else ""
    return f"{unit.level(figure.mean)}{unit.mark}{interval}"
