"""Layer 4: one study from its queue to its record: what is owed, the workers that train it, what came of it."""

from __future__ import annotations

import math
import os
import signal
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import optuna

from nas.building import cost_of
from nas.errors import StudyError, UserError, nearest
from nas.measuring.design import plan_replicate
from nas.registry import discover
from nas.space import MeasureOptions, Space, parse_space
from nas.study.crew import Crew, default_workers
from nas.study.environment import environment
from nas.study.ledger import Ledger, Slot, is_running, open_storage
from nas.study.materials import context_of, describe_data, refuse_without_data
from nas.values.architecture import Configuration, key_of
from nas.values.records import MeasurePlan, StudyRecord, TrainingRecord
from nas.values.seeds import derive

MAX_BROKEN_IN_A_ROW = 3
HEAL_EVERY_S = 2.0
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL)


@dataclass
class Study:
    """A study in its ledger. `record()` is its frozen state at any moment."""

    space: Space
    key: str
    storage: optuna.storages.BaseStorage
    storage_url: str
    search: Ledger
    measured: Ledger | None
    plugins: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    """Where this study is new: how it differs from the last one of its name."""
    _records: dict[tuple[str, int], TrainingRecord] = field(default_factory=dict)

    @classmethod
    def open(cls, space: Space, storage_url: str, *, plugins: Sequence[str | Path] = (), new: bool = False) -> Study:
        """Open the study of a space, the newest where there are several; create it where there is none, or for `new`."""
        refuse_without_data(space)
        known = studies_in(storage_url)
        same = [about["key"] for about in known if about.get("hash") == space.key and about["name"] == space.name]
        key = same[-1] if same else space.key
        if same and new:
            key = f"{space.key}-{len(same) + 1}"
        about = {
            "key": key, "hash": space.key, "name": space.name, "space_text": space.text, "space_file": space.file,
            "identity": space.identity(), "plugins": [str(Path(p).resolve()) for p in plugins],
        }  # fmt: skip
        study = cls._opened(space, about, storage_url)
        others = [a for a in known if a["name"] == space.name and a.get("hash") != space.key]
        if others and not same:
            study.changes = changes(others[-1], about)
        return study

    @classmethod
    def _opened(cls, space: Space, about: Mapping[str, Any], storage_url: str) -> Study:
        storage = open_storage(storage_url)
        title, options = f"{about['name']}-{about['key']}", space.measure
        search = Ledger.create(storage, title, direction=space.search.direction, about={**about, "phase": "search"})
        measured = None
        if options:
            direction: Literal["minimize", "maximize"] = "minimize" if options.metric.endswith("loss") else "maximize"
            name = f"{title}/measure-{measure_key(options)}"
            measured = Ledger.create(storage, name, direction=direction, about={**about, "phase": "measure"})
        study = cls(space, about["key"], storage, storage_url, search, measured, tuple(about["plugins"]))
        study.refresh()
        return study

    @classmethod
    def reopen(cls, title: str | None, storage_url: str, *, plugins: Sequence[str | Path] = ()) -> Study:
        """Open a study that is in the ledger already, to read it; the one that ran last for None.

        Its records are read whatever the plugins look like by now. Raises UserError, naming what there is.
        """
        known = studies_in(storage_url)
        chosen = known[-1] if title is None and known else next((a for a in known if a["title"] == title), None)
        if chosen is None:
            names = [about["title"] for about in known]
            hint = nearest(title or "", names) if names else "; run `nas search` first"
            raise UserError(f"no study '{title or ''}' in {storage_url}{hint}")
        folders = [f for f in (*chosen["plugins"], *plugins) if Path(f).is_dir()]
        space = parse_space(chosen["space_text"], chosen["space_file"], discover(folders))
        kept = ("key", "hash", "name", "space_text", "space_file", "identity", "plugins")
        return cls._opened(space, {key: chosen[key] for key in kept}, storage_url)

    @property
    def title(self) -> str:
        """Name and key of the study."""
        return self.search.name

    @property
    def ledgers(self) -> tuple[Ledger, ...]:
        """The queues in the order in which they are worked on."""
        return tuple(ledger for ledger in (self.search, self.measured) if ledger)

    def refresh(self) -> None:
        """Read every trial of the ledger anew."""
        self._records = {(ledger.name, r.number): r for ledger in self.ledgers for r in ledger.records()}

    def note(self, event: Mapping[str, Any]) -> TrainingRecord | None:
        """Take up what a worker said about a trial; return its record now."""
        ledger = next((ledger for ledger in self.ledgers if ledger.name == event.get("ledger")), None)
        if ledger is None:
            return None
        record = ledger.record(event["trial"])
        self._records[ledger.name, record.number] = record
        return record

    def latest(self, event: Mapping[str, Any]) -> TrainingRecord | None:
        """Return the record of the trial that an event is about, as it was last noted."""
        return self._records.get((event.get("ledger", ""), event.get("number", -1)))

    def record(self) -> StudyRecord:
        """Return the study's frozen state."""
        space, measure = self.space, self.space.measure
        return StudyRecord(
            name=space.name,
            key=self.key,
            space_file=space.file,
            space_text=space.text,
            objective=space.search.objective,
            direction=space.search.direction,
            search=self._of(self.search),
            measured=self._of(self.measured) if self.measured else (),
            planned_search=space.search.trials or 0,
            plan=_plan_of(measure) if measure else None,
            environment=self.search.about.get("environment", {}),
            data=describe_data(space),
            created=min((r.started for r in self._records.values() if r.started), default=None),
        )

    def _of(self, ledger: Ledger) -> tuple[TrainingRecord, ...]:
        return tuple(record for (name, _), record in sorted(self._records.copy().items(), key=lambda item: item[0]) if name == ledger.name)

    @property
    def planned_measure(self) -> int:
        """How many trainings the measured design has: replicates × arms × values of `by`."""
        options = self.space.measure
        if options is None:
            return 0
        return options.replicates * len(options.arms) * math.prod(len(values) for _, values in options.by)

    @property
    def is_measured(self) -> bool:
        """Whether every training of the measured design has its outcome."""
        measured = {t.cell for t in self.record().measured if t.state in ("complete", "failed")}
        return len(measured) >= self.planned_measure

    @property
    def is_idle(self) -> bool:
        """Whether nothing is waiting or running."""
        return not any(t.state in ("waiting", "running") for t in self._records.values())

    # --- what is owed --------------------------------------------------------------------------------------------------

    def search_slots(self, *, ahead: int) -> list[Slot]:
        """Return the search's slots: as many as `trials`, or `ahead` of those told where only a time is given."""
        count = self.space.search.trials or self.search.count_told() + ahead
        return [Slot(f"t{i}", derive(self.space.seed, "trial", i), {}) for i in range(count)]

    def measure_slots(self) -> list[Slot]:
        """Return the measured design's slots, replicate by replicate. Raises UserError where constraints refuse every draw."""
        options = self.space.measure
        if options is None:
            return []
        planned = (p for k in range(options.replicates) for p in plan_replicate(self.space, options, k, self.fits))
        return [Slot(p.slot, p.seed, dict(p.sample.decisions), p.cell) for p in planned]

    def fits(self, configuration: Configuration) -> bool:
        """Say whether a configuration keeps the space's constraints."""
        if not self.space.constraints:
            return True
        cost = cost_of(configuration.architecture, self.space.registry, context_of(self.space, configuration))
        return all(constraint.holds(cost) for constraint in self.space.constraints)

    # --- the run -------------------------------------------------------------------------------------------------------

    def run(self, *, phases: Sequence[str] = ("search", "measure"), workers: int | None = None) -> Iterator[Mapping[str, Any]]:
        """Train all that is owed, yielding the workers' events (and `{"event": "tick"}` now and then) as they come.

        Raises StudyError when a plugin fails three times in a row, and UserError when another process runs the study.
        """
        ledgers = [ledger for ledger in self.ledgers if ledger.phase in phases]
        size = workers or self.space.search.workers or default_workers()
        self._take_charge()
        deadline = self._deadline() if "search" in phases else None
        try:
            with Crew(self.storage_url, [x.name for x in ledgers], size=size, plugins=self.plugins, deadline=deadline) as crew:
                yield from _Run(self, ledgers, crew, deadline).events()
        finally:
            for ledger in ledgers:
                ledger.heal()
            self.search.study.set_user_attr("driver", None)
            self.refresh()

    def _take_charge(self) -> None:
        driver = self.search.about.get("driver")
        if driver and driver[0] == socket.gethostname() and driver[1] != os.getpid() and is_running(driver[1]):
            raise UserError(f"the study {self.title} is being run by process {driver[1]}; wait for it or end it first")
        self.search.study.set_user_attr("driver", [socket.gethostname(), os.getpid()])
        self.search.study.set_user_attr("environment", environment())
        self.search.study.set_user_attr("last_run", datetime.now(UTC).isoformat())

    def _deadline(self) -> float | None:
        """When the search has to end: what is left of its minutes, counted over every run of the study."""
        minutes = self.space.search.minutes
        return time.time() + minutes * 60 - self.search.about.get("searched_s", 0.0) if minutes else None


def studies_in(storage_url: str) -> list[dict[str, Any]]:
    """Return what the ledger says of each study in it, oldest first: title, attributes, and counts of trials by phase."""
    found: dict[str, dict[str, Any]] = {}
    storage = open_storage(storage_url)
    for study in optuna.get_all_study_summaries(storage, include_best_trial=False):
        title, _, measured = study.study_name.partition("/")
        if not measured:
            found[title] = {**study.user_attrs, "title": title, "search": Ledger(storage, title).count_told(), "measured": 0}
    for study in optuna.get_all_study_summaries(storage, include_best_trial=False):
        title, _, measured = study.study_name.partition("/")
        if measured:
            found[title]["measured"] += Ledger(storage, study.study_name).count_told()
            # The measured design's text is the newer one: it was run last with this `measure:` section.
            found[title]["space_text"] = study.user_attrs["space_text"]
    return sorted(found.values(), key=lambda about: about.get("last_run", ""))


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, ...]:
    """Say in lines how a study differs from an earlier one: `train.epochs: 10, was 5`."""
    old, new = before.get("identity", {}), now["identity"]
    lines = []
    for key in sorted(set(old) | set(new)):
        if key == "plugins":
            changed = sorted(k for k in set(old.get(key, {})) & set(new[key]) if old[key][k] != new[key][k])
            lines += [f"{name}: its source changed" for name in changed]
        elif old.get(key) != new.get(key):
            lines.append(f"{key}: {new.get(key, 'not there')}, was {old.get(key, 'not there')}")
    return tuple(lines)


class _Run:
    """One run of a study: queue what is owed, keep the crew at work, until everything is told or given up."""

    def __init__(self, study: Study, ledgers: Sequence[Ledger], crew: Crew, deadline: float | None) -> None:
        self.study, self.ledgers, self.crew, self.deadline = study, ledgers, crew, deadline
        self.broken_in_a_row, self.last_error = 0, ""
        self.measure_slots = study.measure_slots() if any(x.phase == "measure" for x in ledgers) else []
        self.searched_before, self.started = study.search.about.get("searched_s", 0.0), time.time()

    def events(self) -> Iterator[Mapping[str, Any]]:
        while self._owed():
            healed = time.time()
            self.crew.fill(self.crew.size)
            while time.time() - healed < HEAL_EVERY_S and self.crew.members:
                for event in self.crew.events(timeout=0.2):
                    self._note(event)
                    yield event
                self._check(self.crew.dismiss_dead())
                yield {"event": "tick"}
        for event in self.crew.events(timeout=0.0):
            self._note(event)
            yield event

    def _owed(self) -> bool:
        """Mend what dead workers left, queue what is missing, and say whether anything is left to train."""
        left = False
        for ledger in self.ledgers:
            ledger.heal()
            searching = ledger.phase == "search"
            if searching and self.deadline:
                ledger.study.set_user_attr("searched_s", self.searched_before + min(time.time(), self.deadline) - self.started)
            over = searching and self.deadline is not None and time.time() >= self.deadline
            if not over:
                ledger.ensure(self.study.search_slots(ahead=2 * self.crew.size) if searching else self.measure_slots)
            left |= ledger.has_open(running_only=over)
        return left

    def _note(self, event: Mapping[str, Any]) -> None:
        self.study.note(event)
        if event["event"] == "finished":
            self.broken_in_a_row = 0
        if event["event"] == "stopped":
            raise StudyError(f"a worker stopped; what is finished is kept. It said:\n{event['error']}")
        if event["event"] == "broken":
            self._broke(event["error"])

    def _broke(self, message: str) -> None:
        self.broken_in_a_row += 1
        self.last_error = message
        if self.broken_in_a_row >= MAX_BROKEN_IN_A_ROW:
            count = f"{self.broken_in_a_row} trainings in a row failed"
            raise StudyError(f"{count}; what is finished is kept. The last one said:\n{message}")

    def _check(self, dead: Sequence[Any]) -> None:
        for member in dead:
            code, said = member.process.returncode, "\n".join(member.errors)
            if code > 0 and not self.last_error:
                raise StudyError(f"a worker ended with an error:\n{said}")
            if -code in CRASHES:
                # Killed workers are replaced and their training is run again. A crash comes from the training itself:
                # it counts as broken, so that one which always crashes ends the run instead of going round for ever.
                message = f"the worker crashed with {signal.Signals(-code).name} in compiled code:\n{said}"
                if sum(ledger.close_of(member.process.pid, message) for ledger in self.ledgers):
                    self._broke(message)


def measure_key(options: MeasureOptions) -> str:
    """Hash what makes a measured design its own: all but how many replicates, and how the effect is judged."""
    plain = replace(options, replicates=0, smallest_effect=0.0)
    return key_of(repr(plain))[:8]


def _plan_of(options: MeasureOptions) -> MeasurePlan:
    return MeasurePlan(
        options.factor, options.reference, options.levels, options.by, options.replicates, options.smallest_effect, options.metric
    )
