"""Layer 6: a running study told in plain lines, one for each training that ended."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console

from nas.cli.tally import Count, Tally
from nas.errors import without_secrets

if TYPE_CHECKING:
    from nas.study.study import Study
    from nas.values.records import TrainingRecord

ENDED = ("finished", "broken")


class Watcher:
    """Is told every event of a study that runs, and shows it. This one shows nothing."""

    def __call__(self, event: Mapping[str, Any], study: Study) -> None:
        """Take up one event."""

    def head(self, text: str) -> None:
        """Say what the studies from now on are for, where a command runs several."""


class Lines(Watcher):
    """Prints a line for each training that ended, without colours and cursor movements."""

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self.console, self.verbose = console, verbose
        self.study: Study | None = None
        self.tally: Tally | None = None

    def head(self, text: str) -> None:
        """Print what the next study is for."""
        self.console.print(text, soft_wrap=True, highlight=False, markup=False)

    def __call__(self, event: Mapping[str, Any], study: Study) -> None:
        """Print what an event comes to."""
        if study is not self.study:
            self.study, self.tally = study, None
            announce(self.console, study)
        if "lines" in event:
            tell_lines(self.console, event)
            return
        self.tally = self.tally or Tally(study)
        if event["event"] not in ENDED:
            return
        counts = self.tally.read()
        parts = [", ".join(map(_phase, counts)), result(event, study), _best(self.tally), left(self.tally)]
        self.console.print(" · ".join(part for part in parts if part), soft_wrap=True, highlight=False, markup=False)
        if self.verbose and (record := study.latest(event)):
            self.console.print(f"  {details(record)}", soft_wrap=True, highlight=False, markup=False)


def announce(console: Console, study: Study) -> None:
    """Print which study this is, where its ledger lies and, for a new one, how it differs from the last of its name."""
    console.print(f"study {study.title} in {without_secrets(study.storage_url)}", soft_wrap=True, highlight=False, markup=False)
    if study.changes:
        console.print("A new study, since the last one of this name differs:", highlight=False)
        for line in study.changes:
            console.print(f"  {line}", soft_wrap=True, highlight=False, markup=False)


def tell_lines(console: Console, event: Mapping[str, Any]) -> None:
    """Print the sentences of an event."""
    for line in event["lines"]:
        console.print(line, highlight=False, markup=False)


def result(event: Mapping[str, Any], study: Study) -> str:
    """Say what the training that an event is about came to."""
    record = study.latest(event)
    if record is None:
        return ""
    if record.outcome is None:
        return f"trial {record.number} broke: {record.error.strip().splitlines()[-1] if record.error else record.state}"
    name = f"{'random ' * (record.phase == 'baseline')}trial {record.number}"
    if record.cell and record.phase == "train":
        name = f"seed {record.cell.replicate}"
    elif record.cell:
        what = "tuning" if record.phase == "tune" else "replicate"
        name = " ".join([f"{what} {record.cell.replicate}", str(record.cell.level), *(str(value) for _, value in record.cell.by)])
    return f"{name}: {record.outcome.score:.4f}{'' if record.state == 'complete' else f' ({record.state})'}"


def details(record: TrainingRecord) -> str:
    """Say what a training decided, what its network costs and how long it took; why it failed, where it did."""
    from nas.report.words import count_text, duration_text, level_text, plural, short_names

    names = short_names(path for path, _ in record.decisions)
    parts = [f"{names[path]} {level_text(value)}" for path, value in record.decisions]
    if outcome := record.outcome:
        seeds = f"{plural(len(outcome.seed_scores), 'seed')} of " if outcome.seed_scores else ""
        took = f"{seeds}{plural(outcome.num_epochs, 'epoch')} in {duration_text(outcome.duration_s)}"
        parts += [f"{count_text(outcome.cost.parameters)} parameters", "known, not trained again" if outcome.is_repeat else took]
        # Of several seeds some may fail, and the trial goes on.
        parts += [f"failed: {outcome.failure}" if outcome.status == "failed" else outcome.failure] if outcome.failure else []
    return ", ".join(parts)


def left(tally: Tally) -> str:
    """Say how long the rest will take, or nothing."""
    seconds = tally.left_s
    return "" if seconds is None else f"about {_span(seconds)} left"


def _phase(count: Count) -> str:
    return f"{count.phase} {count.done}/{count.owed or '?'}"


def _best(tally: Tally) -> str:
    record = tally.record
    best, front = record.best(1), f"front of {len(record.front)}, " if record.costs else ""
    return f"{front}best {best[0].outcome.score:.4f}" if best and best[0].outcome else ""


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
