"""Layer 4: a claim's figure: a metric by depth and arm, or a probe's series by unit, with intervals over the replicates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nas.measuring.readings import At, cells_of, is_share, layers_at, series_of, table_of, value_of
from nas.measuring.statistics import t_interval
from nas.report.svg import ARM_SHAPES, Axis, Plot, count_axis, nice_axis, place_axis
from nas.report.values import Figure, Key, Panel
from nas.report.words import level_text, plural
from nas.values.claims import Claim, FigureSpec
from nas.values.domains import Scalar, written
from nas.values.plans import MeasurePlan
from nas.values.records import StudyRecord

Columns = Sequence[Sequence[float]]
"""The replicates' values at each place along the x axis."""


@dataclass(frozen=True)
class _Line:
    """One line of a figure: an arm in one metric or series."""

    name: str
    columns: Columns
    share: bool


def draw(claim: Claim, record: StudyRecord) -> Iterator[Figure]:
    """Yield the figures of a claim; one whose metric or series nothing recorded is left out."""
    if record.plan is None:
        return
    for spec in claim.figures:
        by_depth = _by_depth(spec, record, record.plan)
        if by_depth:
            yield _figure(spec, by_depth, *_depth_axis(record, record.plan), joined=len(cells_of(record.plan).by) == 1)
            continue
        by_place = _by_place(spec, record, record.plan)
        if by_place:
            length, first = max(len(line.columns) for line in by_place), 0 if spec.shares else 1
            named = spec.places if len(spec.places) == length else ()
            first = 0 if named else first
            axis = place_axis(named) if named else count_axis(first, max(first + length - 1, first + 1))
            yield _figure(spec, by_place, axis, tuple(range(first, first + length)), joined=True)


def _by_depth(spec: FigureSpec, record: StudyRecord, plan: MeasurePlan) -> list[_Line]:
    """Return a line for each arm in each metric: its replicates' values at each cell."""
    table, cells, lines = table_of(record), cells_of(plan), []
    for metric in spec.show:
        for arm in _arms(spec, plan):
            columns = []
            for at in cells.at:
                values = (value_of(t, metric, plan).value for (_, level, cell), t in table.items() if level == arm and cell == at)
                columns.append([value for value in values if value is not None])
            if any(columns):
                lines.append(_Line(_name(arm, metric, spec), columns, is_share(metric)))
    return lines


def _by_place(spec: FigureSpec, record: StudyRecord, plan: MeasurePlan) -> list[_Line]:
    """Return a line for each arm in each series: its replicates' values at each unit, layer or length, at one cell."""
    lines, at = [], _cell(spec, plan)
    for name in spec.show:
        for arm in _arms(spec, plan):
            rows = [series_of(t, name) for (_, level, cell), t in table_of(record).items() if level == arm and cell == at]
            rows = [_scaled(row) for row in rows] if spec.shares else rows
            length = max(map(len, rows), default=0)
            columns = [[row[i] for row in rows if i < len(row) and math.isfinite(row[i])] for i in range(length)]
            if any(columns):
                lines.append(_Line(_name(arm, name, spec), columns, is_share(name)))
    return lines


def _scaled(row: Sequence[float]) -> tuple[float, ...]:
    """Return a series as shares of its sum."""
    total = math.fsum(value for value in row if math.isfinite(value))
    return tuple(value / total for value in row) if total else ()


def _arms(spec: FigureSpec, plan: MeasurePlan) -> list[Scalar]:
    return [arm for arm in (plan.reference, *plan.levels) if not spec.arms or written(arm) in spec.arms]


def _cell(spec: FigureSpec, plan: MeasurePlan) -> At:
    cells = cells_of(plan)
    if spec.at == "shallowest":
        return cells.at[0]
    named = {", ".join(written(value) for value in at): at for at in cells.at}
    return named.get(spec.at, cells.at[-1])


def _name(arm: Scalar, metric: str, spec: FigureSpec) -> str:
    if len(spec.show) == 1:
        return level_text(arm)
    shown = spec.names[spec.show.index(metric)] if spec.names else metric.rpartition(".")[2].replace("_", " ")
    return shown if len(spec.arms) == 1 else f"{level_text(arm)}, {shown}"


def _depth_axis(record: StudyRecord, plan: MeasurePlan) -> tuple[Axis, tuple[float, ...]]:
    cells, layers = cells_of(plan), layers_at(table_of(record), cells_of(plan))
    counts = [count for count in layers if count]
    if len(cells.by) == 1 and len(set(counts)) == len(cells.at) > 1:
        room = (max(counts) / min(counts)) ** (0.5 / len(counts))
        ticks = tuple((float(count), f"{count} layers") for count in counts)
        return Axis(min(counts) / room, max(counts) * room, ticks, log=True), tuple(map(float, counts))
    names = [" · ".join(level_text(value) for value in at) or "all" for at in cells.at]
    return place_axis(names), tuple(float(i) for i in range(len(names)))


def _figure(spec: FigureSpec, lines: Sequence[_Line], axis: Axis, places: Sequence[float], *, joined: bool) -> Figure:
    scale = 100.0 if all(line.share for line in lines) else 1.0
    figures = [[[_shown(v, scale, spec.log) for v in column] for column in line.columns] for line in lines]
    ends = [v for columns in figures for column in columns for v in (*column, *_limits(column))]
    y = _axis(ends, spec.log)
    plot = Plot(axis, y, height=300, left=58, x_title=spec.x, y_title=spec.y or spec.show[0], grid=True)
    room = 10 if len(places) <= 12 else 0
    for i, (line, columns) in enumerate(zip(lines, figures, strict=True)):
        style, shape = f"c{i % 6 + 1}", ARM_SHAPES[i % len(ARM_SHAPES)]
        dx = (i - (len(lines) - 1) / 2) * room
        _draw_line(plot, line, columns, places, style=style, shape=shape, dx=dx, joined=joined)
    legend = tuple(Key(f"c{i % 6 + 1}", ARM_SHAPES[i % len(ARM_SHAPES)], line.name) for i, line in enumerate(lines))
    count = max(len(column) for line in lines for column in line.columns)
    caption = f"Each mark is a mean over {plural(count, 'replicate')}; the bar or band is its 95% interval (t, for that mark alone)."
    return Figure((Panel(spec.title, plot.render(spec.title or spec.show[0])),), legend, caption)


def _draw_line(
    plot: Plot, line: _Line, columns: Columns, places: Sequence[float], *, style: str, shape: str, dx: float, joined: bool
) -> None:
    means = [(x, math.fsum(c) / len(c)) for x, c in zip(places, columns, strict=False) if c]
    limits = [(x, *_limits(c)) for x, c in zip(places, columns, strict=False) if len(c) > 1]
    if joined:
        plot.line(means, style)
    if len(places) > 12:
        plot.band([(x, low) for x, low, _ in limits], [(x, high) for x, _, high in limits], style)
        for x, y in means:
            plot.mark((x, y), style, tip=f"{line.name}\n{x:g}: {y:.4g}", r=1.6)
        return
    for x, low, high in limits:
        plot.whisker(x, low, high, style, dx=dx)
    for x, y in means:
        plot.mark((x, y), style, tip=f"{line.name}: {y:.4g}", shape=shape, dx=dx, r=4)


def _shown(value: float, scale: float, log: bool) -> float:
    if not log:
        return value * scale
    return math.log10(value) if value > 0 else math.nan


def _limits(column: Sequence[float]) -> tuple[float, ...]:
    finite = [v for v in column if math.isfinite(v)]
    if len(finite) < 2:
        return ()
    interval = t_interval(finite)
    return interval.low, interval.high


def _axis(ends: Sequence[float], log: bool) -> Axis:
    if not log:
        return nice_axis(ends, zero=True)
    finite = [v for v in ends if math.isfinite(v)] or [0.0]
    low, high = math.floor(min(finite)), math.ceil(max(finite) + 1e-9)
    step = max((high - low) // 6, 1)
    ticks = tuple((float(power), _power(power)) for power in range(low, high + 1, step))
    return Axis(float(low), float(max(high, low + 1)), ticks)


def _power(exponent: int) -> str:
    if -3 <= exponent <= 3:
        return f"{10.0**exponent:g}"
    raised = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return f"10{str(exponent).translate(raised)}"
