"""Layer 6: shows a running study: a live bar for people, a plain line for each finished training elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from nas.study.study import Study

TOLD = ("complete", "pruned", "failed")


@contextmanager
def progress(console: Console) -> Iterator[Callable[[Mapping[str, Any], Study], None]]:
    """Give a watcher that shows a study's events on `console` until the block ends."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (TextColumn("{task.description:8}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[news]}"), console=console) as bar:
        yield _Bars(bar)


class _Counts:
    """What both displays need: how much of each phase is done, how long the rest will take, what is best."""

    def __init__(self) -> None:
        self.started, self.done_at_start = time.time(), -1

    def read(self, study: Study) -> dict[str, tuple[int, int]]:
        record = study.record()
        counts = {}
        if not record.is_beside and "search" in study.driven:
            counts["search"] = (sum(t.state in TOLD for t in record.search), record.planned_search)
        if record.planned_tuning:
            counts["tune"] = (sum(t.state in TOLD for t in record.tuning), record.planned_tuning)
        if record.plan:
            phase = study.design.phase if study.design else "measure"
            counts[phase] = (sum(t.state in TOLD for t in record.measured), study.planned_measure)
        if self.done_at_start < 0:
            self.done_at_start = sum(done for done, _ in counts.values())
        return counts

    def left(self, counts: dict[str, tuple[int, int]]) -> str:
        done, owed = (sum(column) for column in zip(*counts.values(), strict=True))
        fresh = done - self.done_at_start
        if fresh < 3 or owed <= done:
            return ""
        return f"about {_span((time.time() - self.started) / fresh * (owed - done))} left"


class _Lines(_Counts):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console, self.announced = console, False

    def __call__(self, event: Mapping[str, Any], study: Study) -> None:
        if not self.announced:
            self.announced = True
            _announce(self.console, study)
        if "lines" in event:
            _tell_lines(self.console, event)
            return
        if event["event"] not in ("finished", "broken"):
            return
        counts = self.read(study)
        phases = ", ".join(f"{name} {done}/{owed or '?'}" for name, (done, owed) in counts.items())
        parts = [phases, _result(event, study), _best(study), self.left(counts)]
        self.console.print(" · ".join(part for part in parts if part), soft_wrap=True, highlight=False)


class _Bars(_Counts):
    def __init__(self, bar: Progress) -> None:
        super().__init__()
        self.bar, self.tasks = bar, dict[str, TaskID]()
        self.waiting: TaskID | None = bar.add_task("starting", total=None, news="")

    def __call__(self, event: Mapping[str, Any], study: Study) -> None:
        if "lines" in event:
            _tell_lines(self.bar.console, event)
            return
        if self.tasks and event["event"] not in ("finished", "broken"):
            return
        counts = self.read(study)
        for phase, (done, owed) in counts.items():
            if phase not in self.tasks:
                self.tasks[phase] = self.bar.add_task(phase, total=owed or None, news="")
            self.bar.update(self.tasks[phase], completed=done, total=owed or None)
        if self.waiting is not None:
            _announce(self.bar.console, study)
            self.bar.remove_task(self.waiting)
            self.waiting = None
        if "search" in self.tasks:
            self.bar.update(self.tasks["search"], news=_best(study))
        self.bar.update(list(self.tasks.values())[-1], news=self.left(counts) if list(counts) != ["search"] else _best(study))


def _announce(console: Console, study: Study) -> None:
    console.print(f"study {study.title} in {study.storage_url}", soft_wrap=True, highlight=False)
    if study.changes:
        console.print("A new study, since the last one of this name differs:", highlight=False)
        for line in study.changes:
            console.print(f"  {line}", soft_wrap=True, highlight=False, markup=False)


def _tell_lines(console: Console, event: Mapping[str, Any]) -> None:
    for line in event["lines"]:
        console.print(line, highlight=False, markup=False)


def _result(event: Mapping[str, Any], study: Study) -> str:
    record = study.latest(event)
    if record is None:
        return ""
    if record.outcome is None:
        return f"trial {record.number} broke: {record.error.strip().splitlines()[-1] if record.error else record.state}"
    name = f"trial {record.number}"
    if record.cell and record.phase == "train":
        name = f"seed {record.cell.replicate}"
    elif record.cell:
        what = "tuning" if record.phase == "tune" else "replicate"
        name = " ".join([f"{what} {record.cell.replicate}", str(record.cell.level), *(str(value) for _, value in record.cell.by)])
    return f"{name}: {record.outcome.score:.4f}{'' if record.state == 'complete' else f' ({record.state})'}"


def _best(study: Study) -> str:
    best = study.record().best(1)
    return f"best {best[0].outcome.score:.4f}" if best and best[0].outcome else ""


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
