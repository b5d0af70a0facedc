"""Layer 4: a training that another study of the same ledger has made already is taken over, not made again.

Two trainings are the same where their configuration (architecture, recipe, data), their seed, the data themselves, the sources of
their plugins and the probes that are asked for agree, and their places in groups of one size where they are trained together; the
other one may have run more probes. Only measured trainings are shared: those of a search are split by another seed, and may be pruned.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.measuring.design import PlannedTraining
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.slots import attrs_of, group_of
from nas.study.ledger.trials import TOLD
from nas.study.study import Study
from nas.values.architecture import Configuration, PluginNode, Value, key_of, write
from nas.values.outcome import Outcome
from nas.values.records import SEARCHING, GroupMember

SHARED = "shared"
"""What the `worker` of a training begins with that was taken over; the study and the number it comes from follow."""

Identity = Mapping[str, Any]
Group = tuple[GroupMember, ...]


@dataclass
class Library:
    """The measured trainings of a ledger by what makes them the same. Reads each study once; `refresh` looks for new ones."""

    storage: optuna.storages.BaseStorage
    _known: dict[str, list[tuple[Identity, str, FrozenTrial]]] = field(default_factory=dict)
    _read: set[tuple[str, int]] = field(default_factory=set)

    def refresh(self) -> None:
        """Take up what has been told since the last look."""
        for name in optuna.get_all_study_names(self.storage):
            if "/" not in name:
                continue
            ledger = Ledger(self.storage, name)
            if ledger.phase in SEARCHING or ledger.phase == "train":
                continue  # split by the search's seed; the former perhaps pruned
            identity = ledger.about.get("identity", {})
            for trial in ledger.study.get_trials(deepcopy=False, states=TOLD):
                if (name, trial.number) in self._read or "outcome" not in trial.user_attrs:
                    continue
                self._read.add((name, trial.number))
                configuration = Configuration.from_dict(trial.user_attrs["configuration"])
                key = _key(configuration, trial.user_attrs["seed"], identity, group_of(trial.user_attrs))
                self._known.setdefault(key, []).append((identity, name, trial))

    def find(self, study: Study, planned: PlannedTraining, group: Group = ()) -> tuple[str, int, Outcome] | None:
        """Return the study, the number and the outcome, scored for `study`, of a training that was made already."""
        assert study.design is not None, "only a measured design takes over trainings"
        identity = study.search.about["identity"]
        for other, name, trial in self._known.get(_key(planned.sample.configuration, planned.seed, identity, group), ()):
            outcome = Outcome.from_dict(trial.user_attrs["outcome"])
            metric = Ledger(self.storage, name).about.get("metric", "")
            scored = _scored(outcome, metric, study.design.plan.metric)
            if scored is not None and _probes(identity) <= _probes(other):
                return name, trial.number, scored
        return None


def take_over(study: Study, library: Library) -> int:
    """Tell every owed training of a study's measured design that its ledger has already; return how many."""
    if study.measured is None or study.design is None:
        return 0
    library.refresh()
    told = {t.user_attrs.get("slot") for t in study.measured.study.get_trials(deepcopy=False) if t.state in TOLD}
    taken, groups = 0, {slot.name: slot.group for slot in study.measure_slots()}
    for planned in study.owed_trainings():
        group = groups[planned.slot]
        found = None if planned.slot in told else library.find(study, planned, group)
        if found:
            _tell(study.measured, planned, group, *found)
            taken += 1
    study.refresh()
    return taken


def _tell(ledger: Ledger, planned: PlannedTraining, group: Group, name: str, number: int, outcome: Outcome) -> None:
    _close_waiting(ledger, planned.slot)
    cell = planned.cell
    attrs = {
        "slot": planned.slot, "seed": planned.seed, "cell": [cell.replicate, cell.level, [list(pair) for pair in cell.by]],
        "configuration": planned.sample.configuration.to_dict(), "outcome": outcome.to_dict(), "worker": [SHARED, name, number],
        **attrs_of(group),
    }  # fmt: skip
    fixed = {"fixed_params": dict(planned.sample.decisions)}
    ledger.study.add_trial(create_trial(state=TrialState.COMPLETE, value=outcome.score, user_attrs=attrs, system_attrs=fixed))


def _close_waiting(ledger: Ledger, slot: str) -> None:
    """Take back what an interrupted run queued for a slot."""
    for trial in ledger.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        if trial.user_attrs.get("slot") == slot:
            ledger.storage.set_trial_user_attr(trial._trial_id, "end", "interrupted")
            ledger.study.tell(trial.number, state=TrialState.FAIL)


def _scored(outcome: Outcome, was: str, now: str) -> Outcome | None:
    """Return an outcome judged by another metric; None where it does not have it, or failed by a score of another kind."""
    if was == now:
        return outcome
    found = outcome.metrics.get(now)
    if found is None or not math.isfinite(found):
        return None
    if outcome.status == "failed":
        return outcome if was.endswith("_accuracy") and now.endswith("_accuracy") else None
    return replace(outcome, score=found)


def _key(configuration: Configuration, seed: int, identity: Identity, group: Group) -> str:
    names = set(_names(configuration.architecture.network)) | set(_names(configuration.train)) | set(_names(configuration.data))
    # A probe may have the name of a shortcut; probes are compared on their own.
    plugins = [(plugin.partition("/"), sha) for plugin, sha in identity.get("plugins", {}).items()]
    sources = {f"{kind}/{name}": sha for (kind, _, name), sha in plugins if kind != "probe" and name in names}
    data = [value for name, value in identity.items() if name == f"data fingerprint of {write(configuration.data)}"]
    company = [len(group), next(place for place, member in enumerate(group) if member.seed == seed)] if group else []
    return key_of([configuration.to_dict(), seed, sources, data, *company])


def _names(value: Value) -> Iterator[str]:
    if isinstance(value, PluginNode):
        yield value.name
        for _, inner in value.parameters:
            yield from _names(inner)
    elif isinstance(value, tuple):
        for inner in value:
            yield from _names(inner)


def _probes(identity: Identity) -> set[str]:
    """Return the probes of a study, each with its parameters and its source."""
    sources = identity.get("plugins", {})
    names = [name.removeprefix("probes.") for name in identity if name.startswith("probes.")]
    return {json.dumps([name, identity[f"probes.{name}"], sources.get(f"probe/{name}")], sort_keys=True) for name in names}
