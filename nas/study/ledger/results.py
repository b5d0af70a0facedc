"""Layer 4: the records of a study's trials as they were last read, queue by queue: kept in order, so that a reader pays for no sorting."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime

from nas.values.metrics import Direction
from nas.values.records import MOST_RANKED, OPEN_STATES, TrainingRecord, Trainings, ranked

WAYS: tuple[Direction, ...] = ("maximize", "minimize")


class Results:
    """Records by the name of their ledger and their number. One thread notes, others may read."""

    def __init__(self, records: Mapping[str, Mapping[int, TrainingRecord]] | None = None) -> None:
        self._records = {name: dict(sorted(found.items())) for name, found in (records or {}).items()}
        self._lock = threading.Lock()
        self._in_order = dict[str, Trainings]()
        self._ranked = {(name, way): ranked(found.values(), way, MOST_RANKED) for name, found in self._records.items() for way in WAYS}
        started = [r.started for found in self._records.values() for r in found.values() if r.started]
        self.begun: datetime | None = min(started, default=None)
        """When the first of them was started."""

    def note(self, ledger: str, record: TrainingRecord) -> TrainingRecord:
        """Take up the newest record of a trial, and return it; of one that has ended the first, so that readers know it again."""
        with self._lock:
            known = self._records.setdefault(ledger, {})
            if (before := known.get(record.number)) and before.state not in OPEN_STATES:
                return before
            is_next = record.number in known or not known or record.number > next(reversed(known))
            known[record.number] = record
            if not is_next:
                self._records[ledger] = dict(sorted(known.items()))
            self._in_order.pop(ledger, None)
            for way in WAYS:
                best = (*self._ranked.get((ledger, way), ()), record)
                self._ranked[ledger, way] = ranked(sorted(best, key=lambda t: t.number), way, MOST_RANKED)
        if record.started:
            self.begun = min(self.begun or record.started, record.started)
        return record

    def latest(self, ledger: str, number: int) -> TrainingRecord | None:
        """Return the record of one trial."""
        return self._records.get(ledger, {}).get(number)

    def of(self, ledger: str) -> tuple[TrainingRecord, ...]:
        """Return the records of one ledger, by number."""
        with self._lock:
            if ledger not in self._in_order:
                found = self._in_order[ledger] = Trainings(self._records.get(ledger, {}).values())
                found.ranked = {way: self._ranked.get((ledger, way), ()) for way in WAYS}
            return self._in_order[ledger]
