"""Layer 4: one study: its queues, its design, what of it is owed, and what came of it so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna

from nas.building import cost_of
from nas.measuring.ablation import Ablation
from nas.measuring.design import Design, PlannedTraining, Twins, options_from
from nas.measuring.of_record import effects_of
from nas.measuring.retraining import Retraining
from nas.plugin import NetworkContext
from nas.registry import discover
from nas.space import MeasureOptions, Space, parse_space
from nas.study.crew.room import room_of, workers_of
from nas.study.jobs.grouping import grouping_in
from nas.study.jobs.materials import context_of, describe_data, identity_of, refuse_without_data, study_key
from nas.study.jobs.memory import Room
from nas.study.jobs.seeds import first_seed
from nas.study.ledger.known import KEPT, changes, find_study, studies_in
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.results import Results
from nas.study.ledger.slots import Slot
from nas.study.ledger.storage import open_storage
from nas.study.recording import record_of
from nas.study.searching.baseline import Baseline, ask_for_baseline
from nas.study.searching.exhausting import is_exhausted, told_of_the_end
from nas.study.searching.gating import check_probes
from nas.study.searching.starts import starts_of
from nas.study.searching.tuning import Tuning
from nas.values.architecture import Configuration
from nas.values.outcome import Cost
from nas.values.plans import Winner
from nas.values.records import OPEN_STATES, StudyRecord, TrainingRecord, owed_replicates
from nas.values.seeds import derive


@dataclass
class Study:
    """A study in its ledger: its search and one measured design, or an ablation alone. `record()` is its state at any moment."""

    space: Space
    key: str
    storage: optuna.storages.BaseStorage
    storage_url: str
    search: Ledger
    measured: Ledger | None
    design: Design | None
    plugins: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    """Where this study is new: how it differs from the last one of its name."""
    tuning: Tuning | None = None
    """The searches behind a tuned effect."""
    baseline: Baseline | None = None
    """The random search beside the search, where it was asked for."""
    workers: int = 0
    """How many work on it, where that is not as its space says: they share the memory that groups find room in."""
    share: float = 1.0
    """How long a measured training takes, of what it takes alone, where that was estimated: less in groups."""
    trial_share: float = 1.0
    """The same of a seed of a search's trial."""
    driven: tuple[str, ...] = ()
    """The phases that the run in progress works on: `nas measure` leaves the search as it is."""
    results: Results = field(default_factory=Results)
    _slots: list[Slot] = field(default_factory=list)
    _costs: dict[tuple[str, NetworkContext], Cost] = field(default_factory=dict)

    @classmethod
    def open(cls, space: Space, storage_url: str, *, plugins: Sequence[str | Path] = (), new: bool = False) -> Study:
        """Open the study of a space, the newest where there are several; create it where there is none, or for `new`."""
        refuse_without_data(space)
        check_probes(space)
        known = studies_in(storage_url)
        own = study_key(space)
        same = [about["key"] for about in known if about.get("hash") == own and about["name"] == space.name]
        key = same[-1] if same else own
        if same and new:
            key = f"{own}-{len(same) + 1}"
        about = {
            "key": key, "hash": own, "name": space.name, "space_text": space.text, "space_file": space.file,
            "identity": identity_of(space), "plugins": [str(Path(p).resolve()) for p in plugins], "data": describe_data(space),
        }  # fmt: skip
        # Once: an earlier study may have grown since.
        starts = {} if same and not new else starts_of(space, storage_url)
        study = cls._opened(space, {**starts, **about}, storage_url)
        others = [a for a in known if a["name"] == space.name and a.get("hash") != own]
        if others and not same:
            study.changes = changes(others[-1], about)
        return study

    @classmethod
    def _opened(cls, space: Space, about: Mapping[str, Any], storage_url: str) -> Study:
        storage = open_storage(storage_url)
        title = f"{about['name']}-{about['key']}"
        about, sought = {**about, "phase": "search"}, space.search
        search = Ledger.create(storage, title, direction=sought.direction, costs=sought.costs, about=about)
        study = cls(space, about["key"], storage, storage_url, search, None, None, tuple(about["plugins"]))
        return study.measuring(Twins.of(space, space.measure, fits=study.fits, cost=study.cost) if space.measure else None)

    def measuring(self, design: Design | None) -> Study:
        """Return the study with another measured design, in a ledger of its own beside the search's."""
        measured, tuning = None, None
        if design:
            about = {key: self.search.about[key] for key in KEPT if key in self.search.about}
            about |= {"phase": design.phase, "metric": design.plan.metric, "beside": self._is_beside(design)}
            measured = Ledger.create(self.storage, f"{self.search.name}/{design.name}", direction=design.plan.direction, about=about)
            if isinstance(design, Twins):
                design = design.resumed(measured.about.get("design", {}))
                measured.note_looks(design.options.looks)
            measured.note(design=design.to_dict())
            if isinstance(design, Twins):
                tuning = Tuning.open(self.storage, measured.name, self.space, design.options, about)
        study = Study(self.space, self.key, self.storage, self.storage_url, self.search, measured, design, self.plugins, self.changes)
        study.tuning, study.baseline = tuning, Baseline.of(self.search, self.storage, self.space, study.fits)
        study.crown()
        study.refresh()
        return study

    def crown(self) -> tuple[Winner, ...]:
        """Take up the winners of the arms' own searches once all are done, so that the measured trainings are known; return them."""
        if self.tuning and isinstance(self.design, Twins) and self.design.waits_for_winners and (winners := self.tuning.winners()):
            self.design = replace(self.design, winners=winners)
            return winners
        return ()

    @classmethod
    def reopen(cls, title: str | None, storage_url: str, *, plugins: Sequence[str | Path] = ()) -> Study:
        """Open a study that is in the ledger already, to read it; the one that ran last for None.

        Its records are read whatever the plugins look like by now. Raises UserError, naming what there is.
        """
        chosen = find_study(title, storage_url)
        folders = [f for f in (*chosen["plugins"], *plugins) if Path(f).is_dir()]
        space = parse_space(chosen["space_text"], chosen["space_file"], discover(folders))
        if space.measure:
            # A mode may have set another number of replicates than the file does.
            replicates = chosen["replicates"].get(f"{chosen['title']}/{Twins(space.measure).name}") or space.measure.replicates
            space = replace(space, measure=replace(space.measure, replicates=replicates))
        study = cls._opened(space, {key: chosen[key] for key in KEPT if key in chosen}, storage_url)
        if title is None or title == chosen["title"]:
            return study
        design = Ledger(study.storage, title).about["design"]
        if "seeds" in design:
            return study.measuring(Retraining.from_dict(design))
        return study.measuring(Ablation.from_dict(design)) if "base" in design else study.aimed(options_from(design))

    def with_baseline(self) -> Study:
        """Return the study with a random search beside its own. Raises UserError where there is nothing to compare."""
        ask_for_baseline(self.search, self.space)
        return self.measuring(self.design)

    def aimed(self, options: MeasureOptions) -> Study:
        """Return the study with the measurement of `options`, which its space file may not ask for."""
        return self.measuring(Twins.of(self.space, options, fits=self.fits, cost=self.cost))

    @property
    def title(self) -> str:
        """Name and key of the study; what its space file does not ask for has its own name behind a slash."""
        return self.measured.name if self.measured and self.is_beside else self.search.name

    @property
    def is_beside(self) -> bool:
        """Whether the design stands beside the study: an ablation, or a measurement that the space file does not ask for."""
        return self.design is not None and self._is_beside(self.design)

    def _is_beside(self, design: Design) -> bool:
        own = self.space.measure
        return not isinstance(design, Twins) or own is None or design.name != Twins(own).name

    @property
    def ledgers(self) -> tuple[Ledger, ...]:
        """The queues in the order in which they are worked on."""
        tuned = [search.ledger for search in self.tuning.searches] if self.tuning else []
        own = (self.search, self.baseline.ledger if self.baseline else None)
        return tuple(ledger for ledger in (*(() if self.is_beside else own), *tuned, self.measured) if ledger)

    def refresh(self) -> None:
        """Read every trial of the ledger anew."""
        self.results = Results({ledger.name: {r.number: r for r in ledger.records()} for ledger in self.ledgers})

    def note(self, event: Mapping[str, Any]) -> TrainingRecord | None:
        """Take up what a worker said about a trial; return its record now."""
        ledger = next((ledger for ledger in self.ledgers if ledger.name == event.get("ledger")), None)
        if ledger is None:
            return None
        return self.results.note(ledger.name, ledger.record(event["trial"]))

    def catch_up(self) -> None:
        """Take up what ended without a word to this process: on other machines, whose workers speak to the ledger alone."""
        for ledger in self.ledgers:
            for record in ledger.newly_finished():
                self.results.note(ledger.name, record)

    def latest(self, event: Mapping[str, Any]) -> TrainingRecord | None:
        """Return the record of the trial that an event is about, as it was last noted."""
        return self.results.latest(event.get("ledger", ""), event.get("number", -1))

    def record(self) -> StudyRecord:
        """Return the study's frozen state."""
        return record_of(self)

    def with_search(self) -> StudyRecord:
        """Return the state with the search's trials, which the record of a design beside the study leaves out."""
        if not self.is_beside:
            return self.record()
        return replace(self.record(), search=self.search.records(), planned_search=self.space.search.trials or 0)

    @property
    def planned_measure(self) -> int:
        """How many trainings the measured design has, those of replacement replicates with them."""
        return self.record().planned_measured

    @property
    def is_measured(self) -> bool:
        """Whether every training of the measured design has its outcome."""
        record = self.record()
        measured = {t.cell for t in record.measured if t.state in ("complete", "failed")}
        return len(measured) >= record.planned_measured

    @property
    def is_idle(self) -> bool:
        """Whether nothing is waiting or running."""
        return not any(t.state in OPEN_STATES for ledger in self.ledgers for t in self.results.of(ledger.name))

    def read_end(self) -> str:
        """Where the search has ended before its time, say so and why; else ''."""
        return told_of_the_end(self.space, self.search) if self.has_ended_early else ""

    def read_look(self) -> str:
        """At a planned look, say what it came to, and where it did not decide plan the replicates up to the next; else ''.

        Raises UserError where the results cannot be read.
        """
        if not isinstance(self.design, Twins) or not self.design.options.looks or not self.measured:
            return ""
        self.refresh()
        if not self.is_measured:
            return ""
        effects = effects_of(self.record())
        if effects is None or effects.interim:
            return ""
        look, later = effects.looks[-1], self.design.after_look
        told = f"The planned look at {look.replicates} replicates, at alpha {look.alpha}, "
        if look.decided or later is None:
            return told + ("decided; the measurement ends here." if look.decided else "did not decide, and it was the last.")
        self.design = later
        self.measured.note(design=later.to_dict())
        return f"{told}did not decide; it goes on to {later.replicates}."

    # --- what is owed --------------------------------------------------------------------------------------------------

    def search_slots(self, *, ahead: int) -> list[Slot]:
        """Return the search's slots: as many as `trials`, or where only a time is given `ahead` of those told, while anything is new."""
        count = self.space.search.trials or self.search.count_told() + (0 if self.has_ended_early else ahead)
        fixed = dict(enumerate(self.search.starts)) if count > len(self._slots) else {}
        for i in range(len(self._slots), count):
            self._slots.append(Slot(f"t{i}", first_seed(self.space, derive(self.space.seed, "trial", i)), fixed.get(i, {})))
        return self._slots[:count]

    @property
    def has_ended_early(self) -> bool:
        """Whether a search that only a time was to end has nothing new left to train; workers read it in the ledger."""
        if self.space.search.trials:
            return False
        if not self.search.about.get("exhausted") and is_exhausted(self.space, self.search):
            self.search.note(exhausted=True)
        return bool(self.search.about.get("exhausted"))

    def baseline_slots(self) -> list[Slot]:
        """Return the slots of the search's baseline. Raises UserError where constraints refuse every draw."""
        return self.baseline.slots(self.record().planned_baseline) if self.baseline else []

    def measure_slots(self) -> list[Slot]:
        """Return the measured design's slots. Raises UserError where constraints refuse every draw."""
        return self._grouped(list(self.owed_trainings()))

    def told_groups(self) -> tuple[str, ...]:
        """Say in sentences which measured trainings are trained as one program; nothing where none is to be."""
        planned = list(self.owed_trainings())
        if self.design is None or self.design.vectorise == 1 or not planned:
            return ()
        return grouping_in(self.space, self.design.vectorise).told(planned, self._grouped(planned), self._room)

    def _grouped(self, planned: Sequence[PlannedTraining]) -> list[Slot]:
        vectorise = self.design.vectorise if self.design else 1
        known = self.measured.groups() if self.measured and vectorise != 1 else {}
        return grouping_in(self.space, vectorise).slots(planned, known, self._room if vectorise != 1 else Room())

    @cached_property
    def _room(self) -> Room:
        """What a worker may take of memory, looked at once: what is free by now is not what is free while they train."""
        return room_of(self.space, self.workers or workers_of(self.space))

    def owed_trainings(self) -> Iterator[PlannedTraining]:
        """Yield the measured design's trainings, replicate by replicate; none before the arms of a tuned effect are tuned.

        A replicate that lost a training for good is replaced by the next one, with a seed of its own (docs/method.md, "Trainings that
        fail"). Raises UserError where constraints refuse every draw.
        """
        if self.design is None or self.measured is None or (isinstance(self.design, Twins) and self.design.waits_for_winners):
            return
        owed = owed_replicates(self.design.plan.replicates, self.measured.lost())
        yield from self.design.trainings(self.space, self.fits, owed)

    def ensure_tuning(self, ledger: Ledger) -> None:
        """Queue the next trial of one arm's own search."""
        if self.tuning:
            self.tuning.ensure(ledger)

    def fits(self, configuration: Configuration) -> bool:
        """Say whether a configuration keeps the space's constraints."""
        constraints = self.space.constraints
        return not constraints or all(constraint.holds(self.cost(configuration)) for constraint in constraints)

    def cost(self, configuration: Configuration) -> Cost:
        """Return what a configuration's network costs; each network is counted once."""
        context = context_of(self.space, configuration)
        key = (configuration.architecture.key, context)
        if key not in self._costs:
            self._costs[key] = cost_of(configuration.architecture, self.space.registry, context)
        return self._costs[key]
