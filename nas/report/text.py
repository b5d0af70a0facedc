"""Layer 4: the tables of the terminal: best trials, effects by depth and arm in 80 columns, the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from nas.report.front_text import MOST_OF_FRONT, front_caption
from nas.report.reading import names_of, score_of
from nas.report.words import MINUS, POINTS, Unit, at_text, cell_name, cost_text, count_text, decisions_text, level_text, p_text, tone
from nas.values.domains import Scalar
from nas.values.effects import EFFECT, CellSummary, Effects, Estimate
from nas.values.front import cost_in
from nas.values.records import StudyRecord

WIDTH, LABELS = 80, 2
SHORT = {"macs": "MACs", "latency": "latency"}
"""How columns are headed of costs that not every table has."""
_COLOURS = {"good": "bold blue", "bad": "bold red", "same": "bold cyan", "open": "bold"}


def best_table(record: StudyRecord, *, count: int = 5) -> Table:
    """Return the best completed trials: rank, trial, score, parameters, layers, decisions; folds to the terminal's width.

    Of a search with several objectives: its front, with the costs that were searched for.
    """
    unit, names = Unit.of(record.objective), names_of(record)
    title = f"Pareto front of {record.title}" if record.costs else f"best of {record.title}"
    table = _table(title if record.best(1) else f"{record.title}: no completed trial yet")
    for head in ("rank", "trial", record.objective, "params", *(SHORT[cost] for cost in record.costs if cost in SHORT), "layers"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("decisions", overflow="fold")
    for rank, trial in enumerate(record.best(MOST_OF_FRONT if record.costs else count), 1):
        cost = trial.outcome.cost if trial.outcome else None
        more = [cost_text(cost_in(trial, name), name) for name in record.costs if name in SHORT]
        sizes = (count_text(cost.parameters), *more, str(cost.num_layers)) if cost else ("-", *more, "-")
        decided = ", ".join(decisions_text(trial, names).replace("  ", "=").split("\n"))
        table.add_row(str(rank), str(trial.number), f"{_plain(unit.level(score_of(trial)))}{unit.mark}", *sizes, Text(decided))
    if record.front[MOST_OF_FRONT:]:
        table.caption, table.caption_justify = front_caption(record), "left"
    return table


def effects_table(effects: Effects, *, unit: Unit = POINTS) -> Table:
    """Return depth × arm in at most 80 columns: differences are arm minus reference, intervals hold simultaneously."""
    of = "" if effects.estimand == EFFECT else f"{effects.estimand} of "
    table = _table(f"{effects.factor}: {of}each arm against {level_text(effects.reference)}{', in ' if unit.name else ''}{unit.name}")
    head = (cell_name(effects), "arm", "mean", "n", "fail", "effect", "interval", "p", "win", "params", "MACs")
    rows = [
        _effect_cells(effects, cell, _find(effects.at_each, level, at), unit)
        for at in effects.at
        for level in (effects.reference, *effects.levels)
        if (cell := _find(effects.cells, level, at)) is not None
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    # Figures are never cut; names give way, the arm's first.
    spare = WIDTH - len(head) + 1 - sum(widths[2:])
    arm = min(widths[1], max(spare - widths[0], 6))
    for i, title in enumerate(head):
        most = {0: max(spare - arm, 4), 1: arm}.get(i)
        justify: Literal["left", "right"] = "left" if i < LABELS else "right"
        table.add_column(title, justify=justify, no_wrap=True, max_width=most, overflow="ellipsis")
    for cells in rows:
        table.add_row(*map(Text, cells))  # as they stand: a name in brackets is no style
    table.caption = "interval: simultaneous over the table. p: Holm. win: share of pairs won, a tie as half."
    table.caption_justify = "left"
    return table


def verdict_text(effects: Effects | None, *, unit: Unit = POINTS) -> Text:
    """Return the sentence of verdict, then each arm's effect and slope, then what else must be known.

    Without effects: that nothing was measured, and what to add to the space file.
    """
    if effects is None:
        return Text("A search only: it proposes architectures and says nothing of what one choice is worth; add `measure:`.")
    told = Text(effects.sentence, style="bold")
    kind = effects.estimand.removesuffix(EFFECT)
    width = len(kind) + 7
    for name, estimates in ((effects.estimand, effects.overall), (f"{kind}slope", effects.slopes)):
        for estimate in estimates:
            told.append(f"\n{name:<{width}}{level_text(estimate.level):<14}", style="not bold")
            told.append(f"{_numbers(estimate, unit):<40}", style="not bold")
            told.append(estimate.verdict or "no verdict", style=_COLOURS[tone(estimate.verdict)])
            if estimate.reason and estimate.reason not in effects.sentence:
                told.append(f" ({estimate.reason})", style="not bold")
    for note in effects.notes:
        told.append(f"\n- {note}", style="not bold dim")
    return told


def _effect_cells(effects: Effects, cell: CellSummary, effect: Estimate | None, unit: Unit) -> list[str]:
    at = at_text(effects, cell.at)
    at = at.removesuffix(" layers") if at.endswith(" layers") else "/".join(map(level_text, cell.at)) or at
    shown = [at, level_text(cell.level), unit.level(cell.mean), str(cell.n), str(cell.failures)]
    if effect is not None:
        wins = "-" if cell.wins is None else f"{cell.wins:.0%}"
        shown += [unit.signed(effect.mean), unit.interval(effect.interval).replace(", ", ","), p_text(effect.p_holm), wins]
        shown += [count_text(cell.parameter_difference, sign=True), count_text(cell.mac_difference, sign=True)]
    return [_plain(text) for text in (*shown, *[""] * (11 - len(shown)))]


def _numbers(estimate: Estimate, unit: Unit) -> str:
    shown = f"{unit.signed(estimate.mean)} {unit.interval(estimate.interval)} p {p_text(estimate.p_holm)}"
    return _plain(shown)


def _table(title: str) -> Table:
    return Table(title=Text(title), title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)


def _find(rows: Sequence[Any], level: Scalar, at: tuple[Scalar, ...]) -> Any:
    return next((row for row in rows if row.level == level and row.at == at), None)


def _plain(text: str) -> str:
    # A terminal's figures are copied into scripts, which know the hyphen only.
    return text.replace(MINUS, "-").replace("–", "-")
