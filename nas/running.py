"""Layer 5: what a study owes, trained by workers, while MLflow is told of it from a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from nas.errors import StudyError
from nas.study.crew.engines import open_engine
from nas.study.crew.room import workers_per_gpu
from nas.study.driving import drive
from nas.study.jobs.kept import FOLDER
from nas.study.outlook import outlook
from nas.study.study import Study
from nas.tracking.place import store_uri
from nas.tracking.tracker import Tracker

Watcher = Callable[[Mapping[str, Any], Study], None]
"""Told every event of a running study, for a progress display."""

SYNC_EVERY_S = 2.0


def run(
    study: Study, phases: Sequence[str], *, store: Path, workers: int | None = None, engine: str = "local", watch: Watcher | None = None
) -> Tracker:
    """Train what a study owes in some phases, telling MLflow meanwhile; return the tracker that did."""
    tracker = Tracker(store_uri(store), store / "artifacts")
    with open_engine(engine, study.storage_url) as place:
        workers = workers or study.space.search.workers or place.num_workers(partial(workers_per_gpu, study.space))
        study.workers = workers
        if watch and (planned := outlook(study, workers=workers)):
            study.share, study.trial_share = planned.share, planned.trial_share
            watch({"event": "outlook", "lines": tuple(planned.lines())}, study)
        with _Recorder(tracker, study):
            for event in drive(study, phases=phases, workers=workers, networks=store / FOLDER, engine=place):
                if watch:
                    watch(event, study)
    return tracker


class _Recorder:
    """Brings MLflow up to the ledger from a thread of its own while a study runs, off the way of the trainings."""

    def __init__(self, tracker: Tracker, study: Study) -> None:
        self.tracker, self.study, self.done = tracker, study, threading.Event()
        self.thread = threading.Thread(target=self._record, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def _record(self) -> None:
        while not self.done.wait(SYNC_EVERY_S):
            with suppress(StudyError):  # the ledger does not answer: whoever runs the study says so
                self.tracker.sync(self.study.record())
