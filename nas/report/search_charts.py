"""Layer 4: the figures of a search: its history, its learning curves, and what it shows (not says) of a factor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import quantiles

from markupsafe import Markup

from nas.report import against_random
from nas.report.against_random import best_so_far
from nas.report.reading import LevelCount, curve_name, curve_of, score_of, sign_of, thin
from nas.report.scene import jitter
from nas.report.svg import Axis, Plot, Point, count_axis, nice_axis
from nas.report.values import Figure, Key, Panel
from nas.report.words import POINTS, Unit, decisions_text, level_text, listing, plural
from nas.values.records import StudyRecord, TrainingRecord

MOST_MARKS = 1500  # trials drawn one by one; every new best and the top of the list are always among them
MOST_CURVES = 60
MOST_DOTS = 150  # of one level in the exploratory figure
MOST_EPOCHS = 100
_LOOK = {"complete": ("c1", "circle"), "pruned": ("hollow c0", "circle"), "failed": ("c2", "cross"), "broken": ("ink", "cross")}


def history(record: StudyRecord, names: Mapping[str, str]) -> Figure | None:
    """Draw each trial's score in the order of the search, and the best so far; None before the first score."""
    unit = Unit.of(record.objective)
    told = [t for t in record.search if t.state in ("complete", "pruned") and score_of(t) is not None]
    if not told:
        return None
    records = _new_bests(record)
    lost = [t for t in record.search if t.state in ("failed", "broken")]
    shown = thin([*told, *thin(lost, MOST_MARKS // 5)], MOST_MARKS, keep=[*records, *record.best(50)])
    random = best_so_far(record, record.baseline)
    keep = [score * unit.scale for _, score in random]
    y = score_axis([(score_of(t) or 0.0) * unit.scale for t in _ranged(told)], unit, record, keep=keep[-1:])
    numbers, new_bests = [t.number for t in record.search], {t.number for t in records}
    title = f"{record.objective}{', ' + unit.mark if unit.mark else ''}"
    x = count_axis(min(numbers) - 0.5, max(numbers) + 0.5)
    plot = Plot(x, y, height=300, x_title="trial", y_title=title)
    so_far = [(float(t.number), (score_of(t) or 0.0) * unit.scale) for t in records]
    plot.steps([*so_far, (max(numbers), so_far[-1][1])] if so_far else [], "best")
    if random:
        steps = [(float(count - 1), score * unit.scale) for count, score in random]
        plot.steps([*steps, (max(numbers), steps[-1][1])], "strong c5")
    floor = y.low if record.direction == "maximize" else y.high
    for training in shown:
        score = score_of(training) if training.state in ("complete", "pruned") else None
        style, shape = _LOOK[training.state]
        height = floor if score is None else score * unit.scale
        tip = trial_tip(training, names, unit)
        plot.mark((training.number, height), f"trial {style}", tip=tip, shape=shape, r=3.2 if training.number in new_bests else 2.6)
    chart = plot.render("Score of every trial and the best so far")
    return Figure((Panel("", chart),), _history_keys(record), _history_caption(record, shown, records, unit))


def learning_curves(record: StudyRecord, names: Mapping[str, str]) -> Figure | None:
    """Draw the objective's curve and the training loss of the search's trials, its best ones marked; None without curves."""
    finished = [t for t in record.search if t.outcome and t.outcome.curves]
    name = curve_name(record, finished)
    if not name:
        return None
    best = record.best(3)
    shown = thin(finished, MOST_CURVES, keep=best)
    kinds = [n for n in dict.fromkeys((name, "train_loss")) if any(curve_of(t, n) for t in shown)]
    panels = [Panel(n, _curve_panel(n, shown, best, names)) for n in kinds]
    keys = [Key(f"c{i}", "line", f"trial {t.number}, rank {i}") for i, t in enumerate(best, 1)]
    others = "the other trials" if len(shown) == len(finished) else f"{len(shown) - len(best)} of the other trials"
    caption = (
        f"Training while it happens: the best {len(best)} trials in colour, {others} in grey. "
        "A curve that ends early was pruned or failed. The score of a trial is taken by the rule of its recipe, "
        "not from the best point of its curve."
    )
    return Figure(tuple(panels), (*keys, Key("c0", "line", others)), caption, wide=len(panels) == 1)


def exploratory(record: StudyRecord, levels: Sequence[LevelCount], names: Mapping[str, str]) -> Markup:
    """Draw the completed trials' scores by level of a factor, one strip a level with a stroke at its mean."""
    unit = Unit.of(record.objective)
    values = [score * unit.scale for level in levels for score, _ in level.scores]
    x = score_axis(values, unit, record, keep=[level.mean * unit.scale for level in levels if level.mean is not None])
    places = [(float(i), level_text(level.level)) for i, level in enumerate(levels)]
    y = Axis(-0.6, len(levels) - 0.4, tuple(places))
    margin = min(max(7 * max((len(name) for _, name in places), default=4) + 14, 56), 150)
    plot = Plot(x, y, height=44 * len(levels) + 10, left=margin, flip=True, grid=False)
    plot.x_title = f"{record.objective}{', ' + unit.mark if unit.mark else ''} of completed trials"
    for i, level in enumerate(levels):
        by_number = {t.number: score for score, t in level.scores}
        for training in thin([t for _, t in level.scores], MOST_DOTS):
            at = (by_number[training.number] * unit.scale, i + 0.5 * jitter(training.number))
            plot.mark(at, "faint c1", tip=trial_tip(training, names, unit), r=2.6)
        if level.mean is not None:
            said = f"{level_text(level.level)}: mean {unit.level(level.mean)} of {plural(len(level.scores), 'completed trial')}"
            plot.mark((level.mean * unit.scale, float(i)), "ink", shape="bar", tip=said)
        elif level.unmeasured:
            plot.text((x.low, i), "unmeasured: pruned every time", style="soft", dx=6)
        else:
            plot.text((x.low, i), "no completed trial", style="soft", dx=6)
    return plot.render("Exploratory: scores by level in the search")


def _new_bests(record: StudyRecord) -> list[TrainingRecord]:
    sign, best, found = sign_of(record), -math.inf, []
    for training in sorted(record.search, key=lambda t: t.number):
        score = score_of(training)
        if training.state == "complete" and score is not None and sign * score > best:
            best = sign * score
            found.append(training)
    return found


def _ranged(told: Sequence[TrainingRecord]) -> Sequence[TrainingRecord]:
    # The range is that of finished trials; a pruned one's last score says little beside them.
    return [t for t in told if t.state == "complete"] or told


def _edge_words(record: StudyRecord) -> str:
    present = [state for state in ("pruned", "failed", "broken") if any(t.state == state for t in record.search)]
    return f"On the edge: {listing(present)} trials that have no score in this range. " if present else ""


def score_axis(values: Sequence[float], unit: Unit, record: StudyRecord, *, keep: Sequence[float] = ()) -> Axis:
    """Return the axis of scores; the worst twentieth of many is held at its edge."""
    # The worst twentieth is held at the edge, so that a few lost trials do not press all others into one line.
    if len(values) >= 40:
        cuts = quantiles(values, n=20)
        maximize = record.direction == "maximize"
        values = [v for v in values if (v >= cuts[0] if maximize else v <= cuts[-1])]
    values = [*values, *keep]
    axis, share = nice_axis(values), unit.scale == POINTS.scale
    low = max(axis.low, 0.0) if min(values, default=0.0) >= 0 else axis.low
    high = min(axis.high, 100.0) if share and max(values, default=0.0) <= 100 else axis.high
    return Axis(low, high, tuple(tick for tick in axis.ticks if low <= tick[0] <= high))


def trial_tip(training: TrainingRecord, names: Mapping[str, str], unit: Unit) -> str:
    """Write what a mark's tip says of a trial: its state, its score, why it failed, what it decided."""
    score = score_of(training)
    head = f"trial {training.number} · {training.state}"
    reached = f" · {unit.level(score)}{unit.mark}" if score is not None and training.state != "broken" else ""
    why = training.outcome.failure if training.outcome and training.outcome.failure else training.error.split("\n")[0]
    return "\n".join(filter(None, [head + reached, why[:160]])) + "\n\n" + decisions_text(training, names)


def _curve_panel(name: str, shown: Sequence[TrainingRecord], best: Sequence[TrainingRecord], names: Mapping[str, str]) -> Markup:
    unit, ranks = Unit.of(name), {t.number: i for i, t in enumerate(best, 1)}
    lines: list[tuple[int, Curve]] = []
    for training in sorted(shown, key=lambda t: -ranks.get(t.number, 99)):
        values = curve_of(training, name)
        step = max(len(values) // MOST_EPOCHS, 1)
        points = [(e + 1.0, v * unit.scale) for e, v in enumerate(values) if e % step == 0 or e == len(values) - 1]
        lines.append((training.number, [p for p in points if math.isfinite(p[1])]))
    every = [v for _, line in lines for _, v in line]
    if len(every) >= 100:
        cuts = quantiles(every, n=50)
        every = [v for v in every if cuts[0] <= v <= cuts[-1]]
    x = count_axis(1, max((e for _, line in lines for e, _ in line), default=1), count=4)
    plot = Plot(x, nice_axis(every), height=240, x_title="epoch", y_title=f"{unit.mark or unit.name or 'loss'}")
    by_number = {t.number: t for t in shown}
    for number, line in lines:
        rank = ranks.get(number)
        plot.line(line, f"strong c{rank}" if rank else "single c0")
        if line:
            tip = trial_tip(by_number[number], names, Unit.of("")) if rank is None else ""
            tip = tip or f"rank {rank} · {trial_tip(by_number[number], names, Unit.of(''))}"
            plot.mark(line[-1], f"ghost c{rank or 0}", tip=tip, r=3)
    return plot.render(f"{name} by epoch")


Curve = list[Point]


def _history_keys(record: StudyRecord) -> tuple[Key, ...]:
    present = {t.state for t in record.search}
    said = {"complete": "complete", "pruned": "pruned, at its last score", "failed": "failed", "broken": "broken (infrastructure)"}
    marks = [Key(*_LOOK[state], text) for state, text in said.items() if state in present]
    random = [Key("strong c5", "line", "best so far of random trials")] * bool(record.baseline)
    return (Key("best", "line", "best so far"), *random, *marks)


def _history_caption(record: StudyRecord, shown: Sequence[TrainingRecord], records: Sequence[TrainingRecord], unit: Unit) -> str:
    drawn = [t for t in record.search if t.state in _LOOK]
    some = "" if len(shown) >= len(drawn) else f" {len(shown):,} of {len(drawn):,} trials are drawn, every new best among them."
    if not records:
        return f"No trial was completed yet.{some}"
    first, last = records[0], records[-1]
    climb = f"from {unit.level(score_of(first))} to {unit.level(score_of(last))}{unit.mark}"
    beside = f"{told} " if (told := against_random.told(record)) else ""
    return (
        f"The best completed score went {climb}; trial {last.number} set it, after {plural(len(records) - 1, 'improvement')}. "
        f"{_edge_words(record)}{beside}The best of many one-seed trials looks better than it is: "
        f"a retest with fresh seeds takes part of it back.{some}"
    )
