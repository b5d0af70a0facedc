"""Layer 4: an architecture as a drawing: units from top to bottom, each shortcut an arc beside its branch.

Equal units in a row are drawn once with their number, so a network of 110 layers stays a page. The drawing takes its colours
from the page (`--ink`, `--soft`, `--blue`, `--card`) and brings its own where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap

from markupsafe import escape

from nas.report.words import count_text
from nas.values.outline import LayerRow

WIDTH, CENTRE, NOTES = 384, 106, 190  # the drawing, the middle of its boxes, and where the notes begin
WIDEST, NARROWEST, BOX = 106, 64, 30
_STYLE = """
.arch{--i:var(--ink,#1b2430);--s:var(--soft,#5d6875);--a:var(--blue,#0b63a5);--p:var(--card,#fff);--e:var(--edge,#c9d0d8);
font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;color:var(--i);background:var(--p)}
.arch text{fill:var(--i)}.arch .soft{fill:var(--s);font-size:11px}.arch .name{font-weight:600}
.arch .kind{text-anchor:middle;font-size:11.5px}.arch .shape{text-anchor:middle;font-size:10.5px;fill:var(--s)}
.arch .box{fill:var(--p);stroke:var(--i);stroke-width:1.2}.arch .shade{fill:var(--p);stroke:var(--e);stroke-width:1.2}
.arch .flow{fill:none;stroke:var(--i);stroke-width:1.2}.arch .arc{fill:none;stroke:var(--a);stroke-width:2}
.arch .dashed{stroke-dasharray:5 3.5}.arch .merge{fill:var(--p);stroke:var(--a);stroke-width:1.4}
.arch .plus{fill:var(--a);text-anchor:middle;font-weight:700;font-size:11px}.arch .stage{stroke:var(--e);stroke-dasharray:2 4}
.arch .formula{font:italic 12px "Iowan Old Style",Charter,Georgia,"Liberation Serif",serif;fill:var(--s)}
@media(prefers-color-scheme:dark){.arch{--i:var(--ink,#e4e8ed);--s:var(--soft,#9aa5b1);--a:var(--blue,#6cb6f0);
--p:var(--card,#161b22);--e:var(--edge,#3a434e)}}
@media print{.arch{--i:#000;--s:#444;--a:#0b63a5;--p:#fff;--e:#bbb}}
"""


@dataclass(frozen=True)
class Run:
    """Equal units in a row, drawn as one."""

    rows: tuple[LayerRow, ...]

    @property
    def row(self) -> LayerRow:
        """The unit that stands for all."""
        return self.rows[0]

    @property
    def name(self) -> str:
        """`stage 1 · unit 2 … 9`, or the one unit's own name."""
        first, last = self.rows[0].name, self.rows[-1].name
        return first if len(self.rows) == 1 else f"{first} … {last.rsplit(' ', 1)[-1]}"


def draw_architecture(rows: Sequence[LayerRow]) -> str:
    """Draw a network as an SVG that stands alone or inside a page.

    Args:
        rows: the units from input to output.

    Returns:
        SVG markup, every text in it escaped. A shortcut is an arc: solid where it passes x on, dashed where it projects it,
        absent where there is none. The width of a box grows with the logarithm of its channels.
    """
    runs = collapse(rows)
    widest = max((row.output[0] for row in rows if len(row.output) == 3), default=1)
    top, parts, stage = 14.0, [], ""
    shape: tuple[int, ...] = ()
    for run in runs:
        if run.row.stage != stage and stage:
            parts.append(f'<path class="stage" d="M8 {top:.1f}H{WIDTH - 8}"/>')
        drawn, height = _unit(run, top, _box_width(run.row, widest), changed=run.row.output != shape)
        parts.append(drawn)
        top, stage, shape = top + height, run.row.stage, run.row.output
    parts.append(_total(rows, top))
    parts += (branches := _branches(rows, top + 48))
    height = top + 40 + 15 * len(branches) + (8 if branches else 0)
    label = f"{len(rows)} units, {sum(row.parameters for row in rows):,} parameters"
    return (
        f'<svg class="arch" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}"><style>{_STYLE}</style>{"".join(parts)}</svg>'
    )


def collapse(rows: Sequence[LayerRow]) -> tuple[Run, ...]:
    """Join neighbours that differ by nothing but their place in a stage."""
    runs: list[Run] = []
    for row in rows:
        if runs and runs[-1].row.alike(row):
            runs[-1] = Run((*runs[-1].rows, row))
        else:
            runs.append(Run((row,)))
    return tuple(runs)


def _unit(run: Run, top: float, width: float, *, changed: bool) -> tuple[str, float]:
    row, arc = run.row, run.row.has_shortcut
    lead = 26.0 if arc else 16.0  # room above the box, where the arc leaves
    tail = 32.0 if arc else 10.0  # and below it, where it comes back
    box = top + lead
    bottom = box + BOX + tail
    parts = [f"<g><title>{escape(_title(run))}</title>"]
    parts.append(f'<path class="flow" d="M{CENTRE} {top:.1f}V{box:.1f}M{CENTRE} {box + BOX:.1f}V{bottom:.1f}"/>')
    for shift in (6, 3) if len(run.rows) > 1 else ():
        parts.append(f'<rect class="shade" {_rect(width, box, shift)}/>')
    parts.append(f'<rect class="box" {_rect(width, box, 0)}/>')
    parts.append(f'<text class="kind" x="{CENTRE}" y="{box + 19:.1f}">{escape(_short(row.kind, int(width / 6.2)))}</text>')
    if arc:
        parts.append(_arc(row, top, box + BOX, width))
    if changed:
        parts += _shape(row, box)
    parts.append(_notes(run, top + (lead + BOX + tail) / 2))
    return "".join(parts) + "</g>", bottom - top


def _arc(row: LayerRow, top: float, below: float, width: float) -> str:
    out, back, reach = top + 9, below + 15, CENTRE + width / 2 + 20
    dashed = " dashed" if "projection" in row.shortcut else ""
    merge = "∥" if row.shortcut.startswith("dense") else "+"
    path = f"M{CENTRE} {out:.1f}H{reach - 12:.1f}Q{reach:.1f} {out:.1f} {reach:.1f} {out + 12:.1f}V{back - 12:.1f}"
    return (
        f'<path class="arc{dashed}" d="{path}Q{reach:.1f} {back:.1f} {reach - 12:.1f} {back:.1f}H{CENTRE + 8}"/>'
        f'<circle class="merge" cx="{CENTRE}" cy="{back:.1f}" r="7.5"/>'
        f'<text class="plus" x="{CENTRE}" y="{back + 4:.1f}">{merge}</text>'
    )


def _shape(row: LayerRow, box: float) -> list[str]:
    if len(row.output) != 3:
        return [f'<text class="shape" x="30" y="{box + 19:.1f}">{escape("×".join(str(n) for n in row.output))}</text>']
    channels, height, width = row.output
    return [
        f'<text class="shape" x="30" y="{box + 12:.1f}">{height}×{width}</text>',
        f'<text class="shape" x="30" y="{box + 26:.1f}">{channels} ch</text>',
    ]


def _notes(run: Run, middle: float) -> str:
    row, times = run.row, f"  × {len(run.rows)}" if len(run.rows) > 1 else ""
    each = " each" if times else ""
    lines = [f'<tspan class="name">{escape(_short(run.name, 26))}</tspan><tspan class="name" fill="var(--a)">{times}</tspan>']
    kind = _short(f"{row.shortcut} shortcut", 33) if row.has_shortcut else ""
    size = f"{count_text(row.parameters)} params · {count_text(row.macs)} MACs{each}"
    lines += [f'<tspan class="soft">{escape(text)}</tspan>' for text in (kind, size) if text]
    if row.formula:
        lines.append(f'<tspan class="formula">{escape(_short(_clauses(row)[0], 34))}</tspan>')
    first = middle - 15 * (len(lines) - 1) / 2 + 4
    return "".join(f'<text x="{NOTES}" y="{first + 15 * i:.1f}">{line}</text>' for i, line in enumerate(lines))


def _total(rows: Sequence[LayerRow], top: float) -> str:
    parameters, macs = sum(row.parameters for row in rows), sum(row.macs for row in rows)
    words = f"{parameters:,} parameters · {count_text(macs)} MACs"
    arrow = f'<path class="flow" d="M{CENTRE} {top:.1f}v10m-4-5 4 5 4-5"/>'
    return f'{arrow}<text class="soft" x="{WIDTH - 4}" y="{top + 18:.1f}" text-anchor="end">{escape(words)}</text>'


def _clauses(row: LayerRow) -> tuple[str, str]:
    """Split `y = relu(x + F(x)),  F(x) = BN conv3×3 (x)` into what the unit does and what its branch is."""
    whole, _, branch = row.formula.partition(",  ")
    return whole.strip(), branch.strip()


def _branches(rows: Sequence[LayerRow], top: float) -> list[str]:
    """Write each kind's branch once, at the foot, where there is room for it."""
    told = dict.fromkeys(f"{row.kind}: {_clauses(row)[1]}" for row in rows if _clauses(row)[1])
    lines = [line for text in told for line in wrap(text, 60, subsequent_indent="\u2003")]
    return [f'<text x="12" y="{top + 15 * i:.1f}"><tspan class="formula">{escape(s)}</tspan></text>' for i, s in enumerate(lines)]


def _title(run: Run) -> str:
    row = run.row
    shape = "×".join(str(n) for n in row.output)
    told = [run.name, f"{row.kind}, shortcut {row.shortcut or 'none'}", f"output {shape}", row.formula]
    return "\n".join([*filter(None, told), f"{row.parameters:,} parameters, {row.macs:,} MACs each"])


def _rect(width: float, box: float, shift: int) -> str:
    return f'x="{CENTRE - width / 2 + shift:.1f}" y="{box + shift:.1f}" width="{width:.1f}" height="{BOX}" rx="5"'


def _box_width(row: LayerRow, widest: int) -> float:
    if len(row.output) != 3 or widest <= 1:
        return WIDEST - 24
    share = 1 - math.log2(widest / max(row.output[0], 1)) / 4  # a sixteenth of the widest is drawn narrowest
    return NARROWEST + (WIDEST - NARROWEST) * min(max(share, 0.0), 1.0)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: max(most - 1, 1)]}…"
