"""Layer 4: the search as parallel coordinates: a line a trial, from decision to decision to its score."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles

from nas.report.reading import score_of, thin
from nas.report.scene import jitter
from nas.report.search_charts import score_axis, trial_tip
from nas.report.svg import Axis, Plot
from nas.report.values import Figure, Key, Panel
from nas.report.words import Unit, level_text, listing, plural
from nas.values.domains import Choices, Domain, FloatRange, IntRange, Scalar
from nas.values.records import StudyRecord, TrainingRecord

MOST_LINES, BEST_KEPT = 150, 40
MOST_AXES = 10
MOST_LEVELS = 9  # whole numbers with more values than that stand on a scale
STRONG = 5
ROOM = 96  # pixels an axis, below which the figure scrolls in its box
ABSENT = -0.13  # where a line passes a decision that its trial does not have
NAME_LENGTH, LEVEL_LENGTH = 15, 14
WARNING = "Lines crowd where the sampler went, which is no effect of what they pass."


@dataclass(frozen=True)
class Column:
    """One decision's axis: its values stand at `levels`, the first at the bottom, or on a scale."""

    path: str
    levels: tuple[Scalar, ...] = ()
    scale: Axis | None = None

    def share(self, value: Scalar, number: int) -> float:
        """Return where a value stands, 0 to 1; trials of one level lie beside one another."""
        if self.scale is not None and isinstance(value, int | float):
            return self.scale.share(float(value))
        last = max(len(self.levels) - 1, 1)
        place = next((i for i, level in enumerate(self.levels) if level == value and type(level) is type(value)), 0)
        return min(max(place / last + jitter(number) * min(0.5 / last, 0.12), 0.0), 1.0)

    @property
    def ticks(self) -> tuple[tuple[float, str], ...]:
        """The labels beside the axis, by their places."""
        if self.scale is not None:
            return tuple((self.scale.share(value), text) for value, text in self.scale.ticks)
        last = max(len(self.levels) - 1, 1)
        return tuple((i / last, _short(level_text(level), LEVEL_LENGTH)) for i, level in enumerate(self.levels))


def parallel(record: StudyRecord, names: Mapping[str, str]) -> Figure | None:
    """Draw every trial as a line over its decisions to its score; None where fewer than two decisions vary, or two trials scored."""
    told = [t for t in record.search if t.state in ("complete", "pruned", "failed") and t.outcome]
    scored = [t for t in told if t.state == "complete" and score_of(t) is not None]
    columns = _columns(record, told)
    if len(columns) < 2 or len(scored) < 2:
        return None
    shown_columns = _foremost(record, columns)
    shown = thin(told, MOST_LINES, keep=record.best(BEST_KEPT))
    unit = Unit.of(record.objective)
    scores = score_axis([(score_of(t) or 0.0) * unit.scale for t in scored], unit, record)
    plot = _plot(record, shown_columns, scores, unit, names)
    best = _marked(record)
    ranks = {t.number: rank for rank, t in enumerate(best, 1)}
    grades = _grades(record, scored)
    for training in sorted(shown, key=lambda t: (-ranks.get(t.number, STRONG + 1), grades.get(t.number, -1))):
        style = f"strong c{ranks[training.number] and 2}" if training.number in ranks else _style(training, grades)
        _draw(plot, training, shown_columns, scores, unit, style, names)
    chart = plot.render("Every trial's decisions and its score, as parallel coordinates")
    keys = [Key("strong c2", "line", f"the best {len(best)}" if len(best) > 1 else "the best")]
    keys.append(Key("c1 d4", "line", "completed: the better, the more solid"))
    keys += [Key("c0 d1", "line", "pruned or failed: no score")] * any(t.state != "complete" for t in shown)
    caption = _caption(record, shown_columns, len(columns) - len(shown_columns), len(shown), len(told), names)
    return Figure((Panel("", chart),), tuple(keys), caption, scrolls=ROOM * (len(shown_columns) + 1))


def _marked(record: StudyRecord) -> tuple[TrainingRecord, ...]:
    """Return the trials that stand out: the best five, of few trials the best quarter."""
    return record.best(min(STRONG, max(len(record.best(4 * STRONG)) // 4, 1)))


def _columns(record: StudyRecord, told: Sequence[TrainingRecord]) -> list[Column]:
    """Return an axis for each decision that varies: those of the record's domains in their order, then as they appear."""
    values: dict[str, list[Scalar]] = {path: [] for path in record.domains}
    for training in told:
        for path, value in training.decisions:
            values.setdefault(path, []).append(value)
    found = []
    for path, seen in values.items():
        distinct = list({repr(value): value for value in seen}.values())
        if len(distinct) > 1 or 0 < len(seen) < len(told):
            found.append(_column(path, record.domains.get(path), distinct))
    return found


def _column(path: str, domain: Domain | None, seen: Sequence[Scalar]) -> Column:
    numbers = [float(v) for v in seen if isinstance(v, int | float) and not isinstance(v, bool)]
    if isinstance(domain, Choices):
        kept = [repr(value) for value in seen]
        return Column(path, tuple(label for label in reversed(domain.labels) if repr(label) in kept))  # the file's first at the top
    whole = all(number.is_integer() for number in numbers)
    if len(numbers) < len(seen) or (whole and len(seen) <= MOST_LEVELS):
        return Column(path, tuple(sorted(seen, key=lambda v: float(v or 0)) if len(numbers) == len(seen) else reversed(seen)))
    low, high = min(numbers), max(numbers)
    log = domain.log if isinstance(domain, FloatRange | IntRange) else low > 0 and high / low > 20
    middle = math.sqrt(low * high) if log else (low + high) / 2
    ticks = tuple((value, f"{value:.2g}" if not whole else f"{value:.0f}") for value in (low, middle, high))
    return Column(path, scale=Axis(low, high, ticks, log=log))


def _foremost(record: StudyRecord, columns: Sequence[Column]) -> list[Column]:
    """Keep the axes that fit: of too many, those that the search suggests matter most, then those that most trials have."""
    if len(columns) <= MOST_AXES:
        return list(columns)
    weight = {importance.path: importance.fanova for importance in record.importances}
    had = {c.path: sum(any(path == c.path for path, _ in t.decisions) for t in record.search) for c in columns}
    kept = sorted(columns, key=lambda c: (-weight.get(c.path, 0.0), -had[c.path]))[:MOST_AXES]
    return [column for column in columns if column in kept]


def _plot(record: StudyRecord, columns: Sequence[Column], scores: Axis, unit: Unit, names: Mapping[str, str]) -> Plot:
    count = len(columns)
    plot = Plot(Axis(0.0, count + 0.8), Axis(-0.2, 1.13), height=330, left=10, grid=False)
    for place, column in enumerate(columns):
        plot.upright(place, place, "axis")
        plot.text((place, 1.1), _short(names.get(column.path, column.path), NAME_LENGTH), style="name", dx=-4)
        for share, text in column.ticks:
            plot.text((place, share), text, style="level", dx=6)
    if any(not _has(t, column) for t in record.search for column in columns):
        plot.text((0.0, ABSENT), "—  not there", style="level", dx=6)
    plot.upright(count, count, "axis")
    plot.text((count, 1.1), record.objective + (f", {unit.mark}" if unit.mark else ""), style="name", dx=-4)
    for value, text in scores.ticks:
        plot.text((count, scores.share(value)), text, style="level", dx=6)
    if any(t.state in ("pruned", "failed") for t in record.search):
        plot.text((count, ABSENT), "no score", style="level", dx=6)
    return plot


def _draw(
    plot: Plot, training: TrainingRecord, columns: Sequence[Column], scores: Axis, unit: Unit, style: str, names: Mapping[str, str]
) -> None:
    decided = dict(training.decisions)
    score = score_of(training) if training.state == "complete" else None
    points = [(float(i), c.share(decided[c.path], training.number) if c.path in decided else ABSENT) for i, c in enumerate(columns)]
    points.append((float(len(columns)), ABSENT if score is None else scores.share(score * unit.scale)))
    tip = trial_tip(training, names, unit)
    plot.line(points, style, of=training.number, tip=tip)
    for point in points:
        plot.mark(point, "ghost", r=3, of=training.number)


def _has(training: TrainingRecord, column: Column) -> bool:
    return training.outcome is None or any(path == column.path for path, _ in training.decisions)


def _grades(record: StudyRecord, scored: Sequence[TrainingRecord]) -> dict[int, int]:
    """Return 0 to 4 for each completed trial: its fifth, the best 4."""
    sign = 1.0 if record.direction == "maximize" else -1.0
    values = {t.number: sign * (score_of(t) or 0.0) for t in scored}
    cuts = quantiles(values.values(), n=5)
    return {number: sum(value > cut for cut in cuts) for number, value in values.items()}


def _style(training: TrainingRecord, grades: Mapping[int, int]) -> str:
    return f"thread c1 d{grades[training.number]}" if training.number in grades else "thread c0 d1"


def _caption(record: StudyRecord, columns: Sequence[Column], left_out: int, shown: int, count: int, names: Mapping[str, str]) -> str:
    some = "" if shown >= count else f" {shown} of {count:,} trials are drawn: the best {BEST_KEPT} and an even sample of the others."
    fewer = f" {plural(left_out, 'decision')} that seemed to matter least {'is' if left_out == 1 else 'are'} left out." if left_out else ""
    absent = any(not _has(t, column) for t in record.search for column in columns)
    gap = " A line passes a decision that its trial does not have at the dash below." if absent else ""
    return f"Each line is a trial. {_agreement(record, columns, names)}{gap}{some}{fewer} {WARNING}"


def _agreement(record: StudyRecord, columns: Sequence[Column], names: Mapping[str, str]) -> str:
    """Say in what the best trials are alike."""
    best = _marked(record)
    alike, ranges = [], []
    for column in columns:
        values = [dict(t.decisions).get(column.path) for t in best if _has(t, column)]
        if len(values) < len(best):
            continue
        if len({repr(value) for value in values}) == 1:
            alike.append(f"{names.get(column.path, column.path)} {level_text(values[0])}")
        elif column.scale is not None:
            low, high = (pick(float(v) for v in values if isinstance(v, int | float)) for pick in (min, max))
            if column.scale.share(high) - column.scale.share(low) <= 0.5:
                ranges.append(f"{names.get(column.path, column.path)} between {low:.2g} and {high:.2g}")
    if len(best) == 1:
        return f"The best has {listing(alike)}."
    if not alike and not ranges:
        return f"The best {len(best)} have no value of a decision in common."
    return f"The best {len(best)} all have {listing([*alike, *ranges])}."


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
