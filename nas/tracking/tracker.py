"""Layer 3: brings MLflow up to the record of a study, again and again while it runs; what cannot be written waits."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.tracking.connection import connect, in_words, is_refusal, with_way_on
from nas.tracking.documents import Documents
from nas.tracking.effects import effect_points
from nas.tracking.entries import WRITTEN_STATES, Entry, Point, milliseconds, study_end_ms, study_entry, training_entry
from nas.tracking.notes import study_tags
from nas.tracking.runs import Identity, StudyRuns, identity
from nas.values.effects import Effects
from nas.values.records import OPEN_STATES, StudyRecord, TrainingRecord

_log = logging.getLogger(__name__)

# After a failure that took t seconds, the next attempt waits for this many t: a dead server costs a sixth of the time.
_REST = 5


@dataclass(frozen=True)
class SyncReport:
    """What one sync came to: runs of trainings written now, finished trainings that have none yet, and why."""

    written: int
    pending: int
    error: str = ""


@dataclass(frozen=True)
class _Extras:
    # What a caller adds to the record. It stays true until it is replaced, so a call may leave it out.
    effects: Effects | None = None
    artifacts: tuple[Path, ...] = ()
    note: str = ""


class Tracker:
    """Writes studies to the MLflow at `uri`; `artifacts` is the folder for files where that is a database.

    MLflow is imported, and the place opened, by the first `sync`. For one process at a time per study: two that write
    the same training at the same moment would make a run each.
    """

    def __init__(self, uri: str, artifacts: Path) -> None:
        """Remember the place; nothing is opened yet."""
        self.uri = uri
        self._artifacts = artifacts
        self._documents = Documents()
        self._title = ""
        self._extras = _Extras()
        self._runs: StudyRuns | None = None
        # Outlives `_runs`, so that what waits can be counted while the server is away.
        self._done: set[Identity] = set()
        self._settled: dict[int, TrainingRecord] = {}
        self._logged: Effects | None = None
        self._written = 0
        self._rest_until = 0.0
        self._error = ""

    def sync(
        self,
        record: StudyRecord,
        *,
        effects: Effects | None = None,
        artifacts: Sequence[Path] = (),
        finished: bool = False,
        note: str = "",
    ) -> SyncReport:
        """Write what MLflow does not have yet. Never raises: a server that is away delays its runs and nothing else.

        Args:
            record: the study as it stands; it may have grown since the last call.
            effects: the measurement. MLflow appends, so pass it at planned looks, not after every replicate.
            artifacts: files to keep with the study's run, such as the report; one that changed is kept anew.
            finished: the study is over: its run is closed. Also tries at once a place that failed just now.
            note: Markdown for the end of the run's description, such as where the report is.
        """
        if record.title != self._title:
            self._title, self._extras, self._runs, self._done, self._rest_until = record.title, _Extras(), None, set(), 0.0
            self._settled = {}
        old = self._extras
        self._extras = _Extras(effects or old.effects, tuple(artifacts) or old.artifacts, note or old.note)
        self._written = 0
        due, began = self._due(record), time.monotonic()
        if began >= self._rest_until or finished:
            self._attempt(record, due, finished)
            if self._error:
                self._rest_until = time.monotonic() + _REST * (time.monotonic() - began)
        pending = sum(identity(training) not in self._done for training in due)
        return SyncReport(self._written, pending, self._in_full(pending))

    def _due(self, record: StudyRecord) -> list[TrainingRecord]:
        """Return the trainings that have ended and have no run yet. What is settled is known by being the same object as before."""
        trainings = record.trainings
        if len(self._settled) > 2 * len(trainings):  # records that were made anew
            self._settled = {}
        fresh = [t for t in trainings if id(t) not in self._settled]
        due = [t for t in fresh if t.state in WRITTEN_STATES and identity(t) not in self._done]
        waits = {id(t) for t in due}
        self._settled |= {id(t): t for t in fresh if t.state not in OPEN_STATES and id(t) not in waits}
        return due

    def _in_full(self, pending: int) -> str:
        return with_way_on(self._error, self._title, pending)

    def _attempt(self, record: StudyRecord, due: Sequence[TrainingRecord], finished: bool) -> None:
        try:
            runs = self._attach(record)
            self._error = self._write_trainings(runs, record, due)
            parent = study_entry(record)
            self._write_study(runs, record, parent)
            if finished:
                runs.set_status("FINISHED", study_end_ms(record, parent.start_ms))
            else:
                runs.set_status("RUNNING")
            # Last, because files may go to another place than figures, and that may be away on its own.
            self._documents.write(runs, record, self._extras.artifacts)
        except Exception as failure:  # each kind of server, database and artifact store raises its own
            _log.debug("sync failed", exc_info=True)
            self._error = in_words(failure, self.uri)
            self._runs = None  # look again next time: a request whose answer got lost may have arrived

    def _attach(self, record: StudyRecord) -> StudyRuns:
        if self._runs is None:
            self._logged, self._settled = None, {}
            self._runs = StudyRuns(connect(self.uri), record, uri=self.uri, artifacts=self._artifacts)
            self._done = self._runs.done
        return self._runs

    def _write_trainings(self, runs: StudyRuns, record: StudyRecord, due: Sequence[TrainingRecord]) -> str:
        refusal = ""
        for training in due:
            if identity(training) in runs.done:
                continue
            try:
                runs.write(training, training_entry(training, record))
                self._written += 1
            except Exception as failure:  # one entry that MLflow will not take must not hold up the others
                if not is_refusal(failure):
                    raise
                refusal = in_words(failure, self.uri)
        return refusal

    def _write_study(self, runs: StudyRuns, record: StudyRecord, parent: Entry) -> None:
        effects, names = self._extras.effects, [path.name for path in self._extras.artifacts]
        points: tuple[Point, ...] = ()
        if effects is not None and effects != self._logged:
            # The newest training's time, so that the same measurement written by another process is the same points.
            times = [milliseconds(t.finished) for t in record.measured if t.finished]
            points = effect_points(
                effects, max(times, default=milliseconds(record.created)), scale=100.0 if record.judged_by.is_share else 1.0
            )
        runs.write_parent(parent, study_tags(record, effects, names, self._extras.note), points)
        self._logged = effects
