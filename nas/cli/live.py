"""Layer 6: the live view of a running study: one block of at most eighty columns, drawn again as trainings end."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nas.cli.lines import ENDED, Watcher, announce, details, left, result, tell_lines
from nas.cli.tally import Count, SoFar, Tally

if TYPE_CHECKING:
    from nas.study.study import Study

WIDTH, BAR = 80, 26
PER_SECOND = 2
SIGTERM_CODE = 128 + signal.SIGTERM


@contextmanager
def live_view(console: Console, *, verbose: bool) -> Iterator[View]:
    """Show a view on a terminal until the block ends, however it ends: the cursor is there again and the last state stays."""
    view = View(console, verbose=verbose)
    with _terminable(), Live(view, console=console, refresh_per_second=PER_SECOND):
        yield view


class View(Watcher):
    """What is shown. Events are noted as they come; all reading happens in the thread that draws, off the way of the trainings."""

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self.console, self.verbose = console, verbose
        self.study: Study | None = None
        self.tally: Tally | None = None
        self.so_far, self.heading = SoFar(), ""
        self.started, self.is_stale, self.read_again_at = time.time(), True, 0.0

    def __call__(self, event: Mapping[str, Any], study: Study) -> None:
        """Take up one event."""
        if study is not self.study:
            if not self.heading:
                announce(self.console, study)
            self.study, self.tally, self.so_far = study, None, SoFar()
        if "lines" in event:
            tell_lines(self.console, event)
            return
        self.tally = self.tally or Tally(study)
        if event["event"] != "epoch" and event["event"] != "tick":
            self.is_stale = True
            self.tally.saw(study.latest(event))
        if event["event"] == "broken" or (self.verbose and event["event"] in ENDED):
            self._tell(event, study)

    def head(self, text: str) -> None:
        """Head the block with what is run now."""
        self.heading = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the block."""
        width = min(options.max_width, WIDTH)
        yield from console.render(Group(*self._parts()), options.update_width(width))

    def _tell(self, event: Mapping[str, Any], study: Study) -> None:
        record = study.latest(event)
        decided = f"\n  {details(record)}" if record and self.verbose else ""
        self.console.print(f"{result(event, study)}{decided}", highlight=False, markup=False)

    def _parts(self) -> Iterator[Table | Text]:
        if self.heading:
            yield Text(self.heading, style="bold", no_wrap=True, overflow="ellipsis")
        tally = self.tally
        if tally is None:
            yield _facts([("starting", "workers" if self.study else "plugins and data")])
            return
        if self.is_stale and time.monotonic() >= self.read_again_at:
            self.is_stale, begun = False, time.monotonic()
            tally.read()
            # Ten thousand trials take a while to read: never more than a twentieth of one core.
            self.read_again_at = begun + 20 * (time.monotonic() - begun)
        yield _bars(tally.counts)
        yield _facts([*_best(tally), *self._effect(tally), ("run", self._pace(tally))])

    def _effect(self, tally: Tally) -> list[tuple[str, str]]:
        lines = self.so_far.read(tally.record, tally.measuring) if tally.measuring else ()
        return [("effect" if place == 0 else "", line) for place, line in enumerate(lines)]

    def _pace(self, tally: Tally) -> str:
        parts = [f"{tally.per_minute:.3g} trainings a minute" if tally.per_minute else "", left(tally)]
        if tally.workers and any(count.done < count.owed or not count.owed for count in tally.counts):
            parts.append(f"{tally.workers} worker{'s' * (tally.workers > 1)}")
        parts.append(_clock(time.time() - self.started))
        return " · ".join(part for part in parts if part)


def _bars(counts: tuple[Count, ...]) -> Table:
    table = _grid()
    table.add_column(width=BAR)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for count in counts:
        ended = [f"{count.pruned} pruned"] * bool(count.pruned) + [f"{count.failed} failed"] * bool(count.failed)
        done = f"{count.done:,} of {count.owed:,}" if count.owed else f"{count.done:,}"
        bar = ProgressBar(total=count.owed or None, completed=min(count.done, count.owed or count.done), width=BAR)
        table.add_row(count.phase, bar, done, Text(", ".join(ended)))
    return table


def _best(tally: Tally) -> list[tuple[str, str]]:
    """Say what is best so far: of a search its best trial and what that decided, of a retraining the mean over its seeds."""
    from nas.report.words import Unit, level_text, short_names

    record = tally.record
    if found := record.best(1):
        best, unit = found[0], Unit.of(record.metric(record.objective))
        names = short_names(path for path, _ in best.decisions)
        decided = ", ".join(f"{names[path]} {level_text(value)}" for path, value in best.decisions)
        score = unit.level(best.outcome.score if best.outcome else None)
        return [("best", f"{score}{unit.mark} {record.objective}, trial {best.number}"), ("", decided)]
    plan = record.plan
    scores = [t.outcome.score for t in record.measured if t.outcome] if plan and not plan.levels else []
    if plan is None or not scores:
        return []
    unit = Unit.of(record.metric(plan.metric))
    return [
        ("mean", f"{unit.level(sum(scores) / len(scores))}{unit.mark} {plan.metric} over {len(scores)} of {plan.replicates} seeds so far")
    ]


def _facts(rows: list[tuple[str, str]]) -> Table:
    table = _grid()
    table.add_column(no_wrap=True, overflow="ellipsis")
    for name, text in rows:
        table.add_row(name, Text(text))
    return table


def _grid() -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=8, no_wrap=True, style="bold")
    return table


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


@contextmanager
def _terminable() -> Iterator[None]:
    """End as usual at SIGTERM, which would otherwise leave the terminal without its cursor."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(_number: int, _frame: object) -> None:
        raise SystemExit(SIGTERM_CODE)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
