"""Layer 4: which worker ran what and when, with the hours in which nobody worked cut out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nas.report.svg import Axis, Plot, nice_axis
from nas.report.values import Figure, Key, Panel
from nas.report.words import decisions_text, duration_text, plural
from nas.values.records import StudyRecord, TrainingRecord

MOST_SPANS = 3000
_UNITS = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))


@dataclass(frozen=True)
class Span:
    """A stretch of one worker's time, in seconds of work since the start; one training, or several where they lie too close."""

    worker: str
    look: str
    start: float
    end: float
    trainings: tuple[TrainingRecord, ...]


def timeline(record: StudyRecord, names: Mapping[str, str]) -> Figure | None:
    """Draw a row a worker, a bar a training, or a group of them; None where no times were recorded."""
    done = [t for t in record.trainings if t.started and t.finished and t.finished >= t.started]
    if not done:
        return None
    clock, idle = _clock(done)
    spans = list(_spans(done, clock))
    trained = sum(span.end - span.start for span in spans)
    total = max(span.end for span in spans)
    workers = sorted({span.worker for span in spans})
    spans = _join(spans, 2 * len(workers) * total / MOST_SPANS if len(spans) > MOST_SPANS else 0.0)
    scale, unit = next(((s, u) for s, u in _UNITS if total > 2 * s), _UNITS[-1])
    x = nice_axis([0.0, total / scale])
    x = Axis(0.0, total / scale or 1.0, tuple(tick for tick in x.ticks if 0 <= tick[0] <= total / scale))
    margin = min(max(7 * max(len(w) for w in workers) + 14, 46), 140)
    y = Axis(-0.6, len(workers) - 0.4, tuple((float(i), w[:18]) for i, w in enumerate(workers)))
    plot = Plot(x, y, height=30 * len(workers) + 10, left=margin, flip=True, grid=False, x_title=f"{unit} of work")
    for cut in idle:
        plot.upright(cut / scale, cut / scale, "cut")
    for span in spans:
        low, high = span.start / scale, span.end / scale
        plot.span(low, high, workers.index(span.worker), span.look, tip=_tip(span, names), thick=16)
    keys = [("search", "c1"), ("random", "c5"), ("measured", "c3"), ("pruned", "c0"), ("failed or broken", "c2")]
    used = {span.look for span in spans}
    legend = tuple(Key(style, "area", name) for name, style in keys if style in used)
    return Figure((Panel("", plot.render("Timeline of the workers")),), legend, _caption(done, trained, total, len(workers), idle))


def _clock(done: Sequence[TrainingRecord]) -> tuple[dict[datetime, float], list[float]]:
    """Map every moment to seconds of work, and say where idle time was cut out."""
    edges = sorted((t.started, t.finished) for t in done if t.started and t.finished)
    worked, idle_after = 0.0, {}
    until = edges[0][0]
    for start, end in edges:
        if start > until:
            idle_after[until] = (start - until).total_seconds()
        worked += max((end - max(start, until)).total_seconds(), 0.0)
        until = max(until, end)
    longest = max(worked * 0.1, 1.0)
    clock, cuts, now = {}, [], 0.0
    before = edges[0][0]
    for moment in sorted({m for edge in edges for m in edge}):
        gap = (moment - before).total_seconds()
        if idle_after.get(before, 0.0) > longest:
            cuts.append(now + longest * 0.05)
            gap = longest * 0.1
        now += gap
        clock[moment], before = now, moment
    return clock, cuts


def _spans(done: Sequence[TrainingRecord], clock: Mapping[datetime, float]) -> Iterator[Span]:
    """Yield a span for each training, one for those that were trained as one program."""
    together: dict[object, list[TrainingRecord]] = {}
    for training in done:
        own = training.group or (training.phase, training.number, training.cell)
        together.setdefault((training.worker, own), []).append(training)
    for trainings in together.values():
        start, end = (min(clock[t.started] for t in trainings if t.started), max(clock[t.finished] for t in trainings if t.finished))
        yield Span(trainings[0].worker or "worker", _common_look(trainings), start, end, tuple(trainings))


def _join(spans: Sequence[Span], closest: float) -> list[Span]:
    """Join what one worker did too close together to be told apart; the bar looks as most of its trainings do."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda s: (s.worker, s.start)):
        last = joined[-1] if joined else None
        if last is not None and last.worker == span.worker and span.end - last.start < closest:
            trainings = last.trainings + span.trainings
            joined[-1] = Span(span.worker, _common_look(trainings), last.start, max(last.end, span.end), trainings)
        else:
            joined.append(span)
    return joined


def _common_look(trainings: Sequence[TrainingRecord]) -> str:
    return Counter(_look(t) for t in trainings).most_common(1)[0][0]


def _look(training: TrainingRecord) -> str:
    if training.state in ("failed", "broken"):
        return "c2"
    if training.state in ("pruned", "interrupted"):
        return "c0"
    return {"search": "c1", "baseline": "c5"}.get(training.phase, "c3")


def _tip(span: Span, names: Mapping[str, str]) -> str:
    if len(span.trainings) > 1:
        return f"{span.worker}\n{plural(len(span.trainings), 'training')} in {duration_text(span.end - span.start)}"
    (training,) = span.trainings
    head = f"{training.phase} {training.number} · {training.state} · {duration_text(span.end - span.start)}"
    return f"{head}\nseed {training.seed}\n\n{decisions_text(training, names)}"


def _caption(done: Sequence[TrainingRecord], trained: float, total: float, workers: int, idle: Sequence[float]) -> str:
    cut = f" {plural(len(idle), 'pause')} in which nobody worked {'is' if len(idle) == 1 else 'are'} cut out (dashed)." if idle else ""
    busy = f"{trained / total / workers:.0%} busy" if total else "busy"
    return (
        f"{plural(len(done), 'training')} by {plural(workers, 'worker')} took {duration_text(total)}; "
        f"{duration_text(trained)} of training, so the workers were {busy}.{cut}"
    )
