"""Layer 4: the table of an ablation: what each single change costs, in 80 columns for the terminal and as the page's table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from rich.table import Table as TextTable
from rich.text import Text

from nas.report.values import Row, Table
from nas.report.words import ABSENT, MINUS, Unit, count_text, level_text, listing, p_text, plural, short_names, tone
from nas.values.effects import CellSummary, Effects, Estimate
from nas.values.plans import Change
from nas.values.records import StudyRecord

WIDTH = 80
HEAD = ("decision", "from → to", "effect", "interval", "p", "fail", "params", "verdict")


@dataclass(frozen=True)
class Line:
    """One change with what it was measured to do."""

    change: Change
    name: str
    estimate: Estimate
    cell: CellSummary


def lines(record: StudyRecord, effects: Effects) -> tuple[Line, ...]:
    """Return the changes, what harms most first, those without a figure last."""
    names = short_names(path for path, _ in _decided(record))
    found = {estimate.level: estimate for estimate in effects.overall}
    shown = [
        Line(change, names.get(change.path, change.path), found[change.level], effects.cell(change.level, effects.at[0]))
        for change in record.changes
        if change.level in found
    ]
    return tuple(sorted(shown, key=lambda line: (line.estimate.mean is None, line.estimate.mean or 0.0)))


def text_table(record: StudyRecord, effects: Effects) -> TextTable:
    """Return the table in at most 80 columns; the texts fold, figures are never cut."""
    unit = Unit.of(record.plan.metric if record.plan else record.objective)
    rows = [tuple(_plain(cell) for cell in _cells(line, unit)) for line in lines(record, effects)]
    table = TextTable(title=Text(_title(record, effects, unit)), title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    room = WIDTH - len(HEAD) + 1 - sum(widths[2:7])
    verdict = min(widths[7], max(room - widths[0] - widths[1], 14))
    name = min(widths[0], max(room - verdict - widths[1], (room - verdict) // 2))
    for i, title in enumerate(HEAD):
        justify: Literal["left", "right"] = "right" if 2 <= i < 7 else "left"
        most = {0: name, 1: room - verdict - name, 7: verdict}.get(i)
        table.add_column(title, justify=justify, max_width=most, no_wrap=most is None, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    table.caption = caption(effects)
    table.caption_justify = "left"
    return table


def page_table(record: StudyRecord, effects: Effects) -> Table:
    """Return the table of the page."""
    unit = Unit.of(record.plan.metric if record.plan else record.objective)
    rows = tuple(Row(_cells(line, unit), tone(line.estimate.verdict)) for line in lines(record, effects))
    head = (*HEAD[:2], f"effect{', ' + unit.name if unit.name else ''}", "95% interval", "Holm p", "failed", "Δ params", "verdict")
    return Table(head, rows, f"{_title(record, effects, unit)}. {caption(effects)}", text_columns=(1, 7))


def caption(effects: Effects) -> str:
    """Say how to read the table."""
    count = plural(len(effects.overall), "change")
    return f"interval: 95%, of each change alone. p: Holm over the {count}. fail: trainings of the change. params: change minus unchanged."


def remarks(record: StudyRecord) -> tuple[str, ...]:
    """Say what changed along with a change, and what was left out."""
    names = short_names(path for path, _ in _decided(record))
    return (*_along(record, names), *(f"left out: {reason}" for reason in record.left_out))


def _along(record: StudyRecord, known: Mapping[str, str]) -> Iterator[str]:
    for change in record.changes:
        told = []
        if change.appeared:
            appeared = listing(f"{known.get(path, path)} {level_text(value)}" for path, value in change.appeared)
            told.append(f"{appeared} came along, what stands first in the space")
        if change.vanished:
            told.append(f"{listing(known.get(path, path) for path in change.vanished)} no longer exists")
        if told:
            yield f"with {known.get(change.path, change.path)} {level_text(change.after)}: {'; '.join(told)}"


def _cells(line: Line, unit: Unit) -> tuple[str, ...]:
    estimate, cell = line.estimate, line.cell
    change = f"{level_text(line.change.before)} → {level_text(line.change.after)}"
    figures = (unit.signed(estimate.mean), unit.interval(estimate.interval), p_text(estimate.p_holm))
    params = count_text(cell.parameter_difference, sign=True)
    return (line.name, change, *figures, str(cell.failures), params, estimate.verdict or "no verdict")


def _title(record: StudyRecord, effects: Effects, unit: Unit) -> str:
    cell = effects.cell(effects.reference, effects.at[0])
    level = f"{unit.level(cell.mean)}{unit.mark}" if cell.mean is not None else ABSENT
    metric = record.plan.metric if record.plan else record.objective
    return _plain(f"unchanged: {level} {metric}, {plural(cell.n, 'replicate')}; one change at a time{', in ' * bool(unit.name)}{unit.name}")


def _decided(record: StudyRecord) -> Iterator[tuple[str, object]]:
    for change in record.changes:
        yield from ((change.path, change.before), *change.appeared, *((path, None) for path in change.vanished))


def _plain(text: str) -> str:
    # A terminal's figures are copied into scripts, which know the hyphen only.
    return text.replace(MINUS, "-").replace("–", "-")
