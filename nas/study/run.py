"""Layer 4: one run of a study: what is owed is queued, the crew kept at work, until everything is told or given up."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from nas.errors import StudyError
from nas.faults import OUT_OF_MEMORY
from nas.study.crew.crew import Crew
from nas.study.crew.processes import LOST, End
from nas.study.ledger.healing import heal, settle_lost
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.slots import Slot
from nas.values.architecture import write
from nas.values.plans import Cell
from nas.values.records import MAX_ATTEMPTS, SEARCHING, TrainingRecord

MAX_BROKEN_IN_A_ROW = 3
HEAL_EVERY_S = 2.0
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)


class RunnableStudy(Protocol):
    """What a run needs of its study."""

    @property
    def search(self) -> Ledger:
        """The search's queue."""

    def search_slots(self, *, ahead: int) -> list[Slot]:
        """Return the search's slots, `ahead` of those told where only a time is given."""

    def baseline_slots(self) -> list[Slot]:
        """Return the slots of the search's baseline."""

    def measure_slots(self) -> list[Slot]:
        """Return the measured design's slots."""

    def ensure_tuning(self, ledger: Ledger) -> None:
        """Queue the next trial of one arm's own search."""

    def read_end(self) -> str:
        """Where the search has ended before its time, say so and why; else ''."""

    def read_look(self) -> str:
        """At a planned look, say what it came to; `measure_slots` then holds what is owed up to the next. '' where it is none."""

    def catch_up(self) -> None:
        """Take up what ended without a word to this process."""

    def note(self, event: Mapping[str, Any]) -> TrainingRecord | None:
        """Take up what a worker said about a trial."""


class Run:
    """One run of a study: queue what is owed, keep the crew at work, until everything is told or given up."""

    def __init__(
        self, study: RunnableStudy, ledgers: Sequence[Ledger], crew: Crew, deadline: float | None, look: Callable[[], None] = lambda: None
    ) -> None:  # fmt: skip
        self.study, self.ledgers, self.crew, self.deadline, self.look = study, ledgers, crew, deadline, look
        self.broken_in_a_row: list[str] = []
        self.num_without_fault = 0
        self.last_error = ""
        self.has_told_end = False
        self.lost: tuple[Cell, ...] = ()
        self.measure_slots = study.measure_slots() if any(x.phase not in SEARCHING for x in ledgers) else []
        self.searched_before, self.started = study.search.about.get("searched_s", 0.0), time.time()

    def events(self) -> Iterator[Mapping[str, Any]]:
        """Yield what the workers say, and a tick now and then, until nothing is owed. Raises StudyError where it cannot go on."""
        yield from self._until_told()
        while any(ledger.phase == "measure" for ledger in self.ledgers) and (told := self.study.read_look()):
            yield {"event": "look", "lines": (told,)}
            owed, self.measure_slots = len(self.measure_slots), self.study.measure_slots()
            if len(self.measure_slots) == owed:
                break
            yield from self._until_told()

    def _until_told(self) -> Iterator[Mapping[str, Any]]:
        elsewhere = False
        while owed := self._owed():
            yield from self._end()
            healed = time.time()
            self.crew.fill(owed)
            while time.time() - healed < HEAL_EVERY_S and (self.crew.at_work or elsewhere):
                for event in self.crew.events(timeout=0.2):
                    self._note(event)
                    yield event
                self._check(self.crew.dismiss_dead())
                self.look()
                yield {"event": "tick"}
            # With something owed and nobody at work here, another machine's worker has it: wait, and do not ask again at once.
            elsewhere = not self.crew.at_work
        for event in self.crew.events(timeout=0.0):
            self._note(event)
            yield event
        yield from self._end()
        if (self.broken_in_a_row or self.num_without_fault) and not all(ledger.count_told() for ledger in self.ledgers):
            self._stop()

    def _end(self) -> Iterator[Mapping[str, Any]]:
        """Say once that the search has ended before its time, where it has."""
        if not self.has_told_end and self.deadline and any(x.phase == "search" for x in self.ledgers) and (told := self.study.read_end()):
            self.has_told_end = True
            yield {"event": "ended early", "lines": (told,)}

    def _owed(self) -> int:
        """Mend what dead workers left, queue what is missing, and return how many trainings are waiting or running."""
        left = 0
        self._check(self.crew.dismiss_dead())
        self.study.search.write_through()
        self.study.catch_up()
        for ledger in self.ledgers:
            heal(ledger, own=self.crew.identities)
            searching = ledger.phase == "search"
            if ledger.phase not in SEARCHING and (lost := ledger.lost()) != self.lost:
                self.lost = lost
                refuse_hopeless(lost, ledger)
                self.measure_slots = self.study.measure_slots()
            if searching and self.deadline:
                ledger.study.set_user_attr("searched_s", self.searched_before + min(time.time(), self.deadline) - self.started)
            over = searching and self.deadline is not None and time.time() >= self.deadline
            if ledger.phase == "tune":
                self.study.ensure_tuning(ledger)
            elif not over:
                self._queue(ledger)
            left += ledger.count_open(running_only=over)
        return left

    def _queue(self, ledger: Ledger) -> None:
        if ledger.phase == "search":
            ledger.ensure(self.study.search_slots(ahead=2 * self.crew.size), workers=self.crew.size)
        elif ledger.phase == "baseline":
            ledger.ensure(self.study.baseline_slots(), workers=self.crew.size)
        else:
            ledger.ensure(self.measure_slots)

    def _note(self, event: Mapping[str, Any]) -> None:
        if "ledger" in event and event["ledger"] not in {ledger.name for ledger in self.ledgers}:
            return  # a late word about what the crew worked on before
        if event["event"] == "epoch":
            return  # nothing that a record holds
        self.study.note(event)
        for ledger in self.ledgers:
            if ledger.name == event.get("ledger") and event["event"] in ("finished", "broken", "invalid"):
                if ledger.phase == "tune":
                    self.study.ensure_tuning(ledger)  # at once: its next trial had to wait for this one
                elif ledger.phase == "search" and (self.deadline is None or time.time() < self.deadline):
                    self._queue(ledger)  # short trainings would empty a short queue between two ticks
        if event["event"] == "finished":
            self.broken_in_a_row = []
        if event["event"] == "stopped":
            raise StudyError(f"a worker stopped; what is finished is kept. It said:\n{event['error']}")
        if event["event"] == "broken" and event.get("kind") == OUT_OF_MEMORY:
            self._lost(event["error"])
        elif event["event"] == "broken":
            self._broke(event["error"], [event["slot"]])

    def _broke(self, message: str, slots: Sequence[str]) -> None:
        """Stop where trainings of several trials or replicates break in a row; one alone is tried again, then given up."""
        self.broken_in_a_row += slots
        self.last_error = message
        if len({slot.partition("|")[0] for slot in self.broken_in_a_row}) >= MAX_BROKEN_IN_A_ROW:
            self._stop()

    def _lost(self, message: str) -> None:
        """Take up a training that was lost by no plugin's fault, for want of memory or to a signal: tried again, then given up."""
        self.num_without_fault += 1
        self.last_error = message

    def _stop(self) -> None:
        count = len(self.broken_in_a_row) or self.num_without_fault
        raise StudyError(f"{count} trainings in a row failed; what is finished is kept. The last one said:\n{self.last_error}")

    def _check(self, dead: Sequence[tuple[tuple[str, int] | None, End]]) -> None:
        for worker, end in dead:
            if end.status == LOST and worker:
                for ledger in self.ledgers:
                    heal(ledger, gone=worker)
            if not isinstance(end.status, int):
                continue
            if end.status > 0:
                raise StudyError(f"a worker ended with an error:\n{end.said}")
            # A worker that dies is replaced and its training is run again, but not for ever: it counts as broken.
            if -end.status in CRASHES:
                message = f"the worker crashed with {signal.Signals(-end.status).name} in compiled code:\n{end.said}"
            elif -end.status == signal.SIGKILL:
                message = "the worker was killed with SIGKILL: by the system, most often for want of memory, or by a person"
            else:
                continue
            crashed = -end.status in CRASHES
            lost = (settle_lost(ledger, worker, message, by_no_fault=not crashed) for ledger in self.ledgers) if worker else ()
            slots = [slot for found in lost for slot in found]
            if slots and crashed:
                self._broke(message, slots[:1])  # a group that was lost with its worker is one loss
            elif slots:
                self._lost(message)


def refuse_hopeless(lost: Sequence[Cell], ledger: Ledger) -> None:
    """Raise StudyError where a cell of the design was lost again and again and never trained: a replacement would be lost too."""
    trained = {(t.cell.level, t.cell.by) for t in ledger.records() if t.cell and t.state in ("complete", "failed")}
    for (level, by), count in Counter((cell.level, cell.by) for cell in lost).items():
        if count >= MAX_ATTEMPTS and (level, by) not in trained:
            error = next(t.error for t in ledger.records() if t.cell and (t.cell.level, t.cell.by) == (level, by) and t.error)
            where = ", ".join([write(level), *(f"{path} {write(value)}" for path, value in by)])
            raise StudyError(
                f"{where}: {count} replicates lost this training for good, {MAX_ATTEMPTS} attempts each, and none has it; "
                f"what is finished is kept. It said:\n{error}"
            )
