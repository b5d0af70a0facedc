"""Layer 4: a study driven from its queue to its record: one process in charge, a crew at work, what is owed stage by stage."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from nas.errors import UserError
from nas.study.crew.crew import Crew, Engine, Task, ThisMachine
from nas.study.crew.room import workers_per_gpu
from nas.study.environment import environment
from nas.study.interrupting import CtrlC
from nas.study.ledger.alive import is_running, start_of
from nas.study.ledger.healing import heal
from nas.study.ledger.ledger import Ledger
from nas.study.run import Run
from nas.study.searching.tuning import told_winner
from nas.study.study import Study
from nas.values.records import SEARCHING


def drive(
    study: Study, *, phases: Sequence[str] = ("search", "measure", "ablate", "train", "baseline"), workers: int | None = None,
    networks: Path | None = None, crew: Crew | None = None, engine: Engine | None = None,
) -> Iterator[Mapping[str, Any]]:  # fmt: skip
    """Train all that a study owes, yielding the workers' events (and `{"event": "tick"}` now and then) as they come.

    In the folder `networks` the best network of the search is kept, and measured ones where that was asked for. A `crew`
    that is given works here and is handed back; without one the run has its own, on `engine` (this machine by default).

    Raises StudyError when a plugin fails three times in a row, and UserError when another process runs the study.
    """
    wanted = (*phases, "tune") if "measure" in phases else phases
    ledgers = [ledger for ledger in study.ledgers if ledger.phase in wanted]
    engine = engine or ThisMachine()
    size = workers or study.space.search.workers or engine.num_workers(partial(workers_per_gpu, study.space))
    _take_charge(study)
    study.driven, study.workers = tuple(wanted), size
    deadline = _deadline(study) if "search" in phases else None
    try:
        with (
            nullcontext(crew) if crew else Crew(study.storage_url, capacity=size, plugins=study.plugins, engine=engine) as hands,
            CtrlC() as ctrl_c,
        ):
            for stage in _stages(study, ledgers):
                hands.assign(Task(tuple(ledger.name for ledger in stage), deadline, networks), size=size)
                yield from Run(study, stage, hands, deadline, ctrl_c.look).events()
                if winners := study.crown():
                    yield {"event": "tuned", "lines": tuple(map(told_winner, winners))}
    finally:
        for ledger in ledgers:
            heal(ledger)
        study.search.study.set_user_attr("driver", None)
        study.refresh()


def _stages(study: Study, ledgers: Sequence[Ledger]) -> list[Sequence[Ledger]]:
    """Return the queues in the stages that they are worked on in: what is measured is known only once the arms are tuned.

    A baseline comes last, when it is known how many trials the search had.
    """
    baseline = [x for x in ledgers if x.phase == "baseline"]
    others = [x for x in ledgers if x.phase != "baseline"]
    stages = [others]
    if study.tuning:
        stages = [[x for x in others if x.phase in SEARCHING], [x for x in others if x.phase == "measure"]]
    return [*stages, *[baseline] * bool(baseline)]


def _take_charge(study: Study) -> None:
    host, pid, started = [*(study.search.about.get("driver") or ("", 0)), ""][:3]
    if host == socket.gethostname() and pid != os.getpid() and is_running(pid, started):
        raise UserError(f"the study {study.title} is being run by process {pid}; wait for it or end it first")
    study.search.study.set_user_attr("driver", [socket.gethostname(), os.getpid(), start_of(os.getpid())])
    study.search.study.set_user_attr("environment", environment())
    study.search.study.set_user_attr("last_run", datetime.now(UTC).isoformat())


def _deadline(study: Study) -> float | None:
    """When the search has to end: what is left of its minutes, counted over every run of the study."""
    minutes = study.space.search.minutes
    return time.time() + minutes * 60 - study.search.about.get("searched_s", 0.0) if minutes else None
