"""Layer 4: the contrasts of equal cost beside the total one: a table of the page and one of the terminal (docs/method.md, "Equal cost")."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table as TerminalTable
from rich.text import Text

from nas.report.values import Row, Table
from nas.report.words import MINUS, Unit, at_text, cell_name, level_text, p_text, tone
from nas.values.effects import EFFECT, Effects, Estimate, Mismatch

TOTAL = "total effect"


@dataclass(frozen=True)
class Line:
    """One contrast of one arm, over all depths or at one: what it is called, where, its figures, the mismatch that is left."""

    name: str
    where: str
    estimate: Estimate
    mismatch: str


def lines(effects: Effects, *, by_depth: bool) -> tuple[Line, ...]:
    """Return, for each arm that has a matched reference, the total contrast and each matched one."""
    return tuple(_lines(effects, by_depth))


def page_table(effects: Effects, unit: Unit) -> Table | None:
    """Return the contrasts, over all depths and at each; None where no reference was matched."""
    rows = [
        Row(
            (
                level_text(line.estimate.level), line.name, line.where, unit.signed(line.estimate.mean),
                unit.interval(line.estimate.interval), p_text(line.estimate.p_holm), line.mismatch, line.estimate.verdict,
            ),
            tone(line.estimate.verdict),
        )
        for line in lines(effects, by_depth=len(effects.at) > 1)
    ]  # fmt: skip
    if not rows:
        return None
    effect = f"effect{', ' + unit.name if unit.name else ''}"
    head = ("arm", "contrast", cell_name(effects), effect, "interval", "Holm p", "mismatch left", "verdict")
    caption = (
        "Each arm against the reference as it is (total), and against the reference widened until it has as many parameters or MACs as "
        "the arm. The matched references are trained as further arms of the same replicates. Each contrast is a Holm family of its "
        "own; mismatch: how many more or fewer the wider reference has, where that is most."
    )
    return Table(head, tuple(rows), caption, labels=3, text_columns=(7,))


def text_table(effects: Effects, unit: Unit) -> TerminalTable | None:
    """Return the contrasts over all depths in at most 80 columns; None where no reference was matched."""
    found = lines(effects, by_depth=False)
    if not found:
        return None
    title = f"against {level_text(effects.reference)} of equal cost{', in ' + unit.name if unit.name else ''}"
    table = TerminalTable(title=Text(title), title_justify="left", box=None, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("contrast", no_wrap=True)
    table.add_column("arm", no_wrap=True, max_width=14, overflow="ellipsis")
    for name in ("effect", "interval", "p", "mismatch"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for line in found:
        e = line.estimate
        cells = (unit.signed(e.mean), unit.interval(e.interval).replace(", ", ","), p_text(e.p_holm), line.mismatch)
        texts = (line.name.removesuffix(" effect"), level_text(e.level), *cells, e.verdict)
        table.add_row(*(Text(text.replace(MINUS, "-").replace("–", "-")) for text in texts))
    return table


def _lines(effects: Effects, by_depth: bool) -> Iterator[Line]:
    matched = {found.level for contrast in effects.contrasts for found in contrast.mismatches}
    for level in (level for level in effects.levels if level in matched):
        yield from _of(effects, level, TOTAL if effects.estimand == EFFECT else effects.estimand, "", by_depth)
        for contrast in effects.contrasts:
            for found in contrast.mismatches:
                if found.level == level:
                    yield from _of(contrast.effects, level, contrast.effects.estimand, _share(found), by_depth)


def _of(effects: Effects, level: object, name: str, mismatch: str, by_depth: bool) -> Iterator[Line]:
    yield from (Line(name, "all", found, mismatch) for found in effects.overall if found.level == level)
    if by_depth:
        yield from (Line(name, at_text(effects, e.at), e, "") for e in effects.at_each if e.level == level and e.at is not None)


def _share(found: Mismatch) -> str:
    return f"{100 * found.worst:+.2f}%".replace("-", MINUS) if found.worst else "0"
