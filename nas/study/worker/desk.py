"""Layer 4: what a worker has at hand for one ledger: the space by its own plugins, the sampler and the pruner, what it keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.trial import Trial

from nas.errors import StudyError, listed
from nas.registry import Registry
from nas.sampling import sample
from nas.space import Space, parse_space
from nas.space.sections import Gate
from nas.study.jobs.materials import identity_of, study_key
from nas.study.jobs.seeds import seeds_of
from nas.study.ledger.known import changes
from nas.study.ledger.ledger import Ledger
from nas.study.searching.exhausting import num_repeats
from nas.study.searching.samplers import MOST_REFUSED, for_slot, make_pruner, make_sampler
from nas.study.searching.tuning import num_refused, sampler_seed
from nas.values.domains import Scalar
from nas.values.records import SEARCHING
from nas.values.seeds import derive


@dataclass(frozen=True)
class Desk:
    """What a worker has at hand for one ledger: its space, parsed by this process's own plugins."""

    ledger: Ledger
    space: Space
    plugins: tuple[str, ...]
    deadline: float | None
    networks: Path | None = None
    """The store's folder of kept networks; None where none are to be kept."""

    epochs: int | None = None
    """Of a retraining: how long it trains, where that is not as the space says."""

    @property
    def keeps(self) -> bool:
        """Whether completed trainings keep their networks: of a search the best one, of a measurement all where asked for."""
        return self.networks is not None and (self.ledger.phase in ("search", "train") or bool(self.ledger.about.get("keep")))

    @property
    def is_open_ended(self) -> bool:
        """Whether only the clock ends the queue, so that an empty one is about to be filled again."""
        return self.deadline is not None and self.space.search.trials is None and not self.ledger.about.get("exhausted")

    @property
    def metric(self) -> str:
        """The metric that a training is judged by: the objective in a search, the design's metric in a measurement."""
        return str(self.ledger.about["metric"]) if self.is_measuring else self.space.search.objective

    def claim(self) -> Trial | None:
        """Take the next waiting trial, or None.

        One whose worker was killed between two of its decisions is sampled from the start: samplers draw one after the other from one
        stream, so behind those that are there the next would be another than it would have been.
        """
        trial = self.ledger.claim()
        decided = trial.params if trial else {}
        return self.ledger.opened_anew(trial) if trial and decided and not self._is_whole(decided) else trial

    def _is_whole(self, decided: Mapping[str, Scalar]) -> bool:
        try:
            sample(self.space, lambda decision: decided[decision.path])
        except KeyError:
            return False
        return True

    @property
    def gate(self) -> Gate | None:
        """What looks at a sample before it is trained: in the search alone, never in what is measured or tuned."""
        return self.space.gate if self.ledger.phase == "search" else None

    @property
    def prunes(self) -> bool:
        """Whether a poor training may be ended early; Optuna's pruners judge by one objective."""
        return not self.is_measuring and not self.ledger.costs

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of every trial; () where a trial is one training, as all that is measured is."""
        return () if self.is_measuring else seeds_of(self.space)

    @property
    def is_measuring(self) -> bool:
        """Whether the trainings are a design's: nothing is pruned, and the test split is scored once."""
        return self.ledger.phase not in SEARCHING


def open_desk(storage: optuna.storages.BaseStorage, name: str, registry: Registry, plugins: Sequence[str], deadline: float | None) -> Desk:
    """Open one ledger. Raises StudyError where this process finds other plugins or data than the study was made with."""
    bare = Ledger(storage, name)
    about = bare.about
    space = parse_space(about["space_text"], about["space_file"], registry)
    if study_key(space) != about["hash"]:
        same_plugins = space.identity()["plugins"] == about["identity"].get("plugins")
        what, mend = ("data", "the same files") if same_plugins else ("plugins", "the same --plugins folders and the same version")
        differs = listed(changes(about, {"identity": identity_of(space)}))
        raise StudyError(
            f"{name}: this process finds other {what} than the study was made with{f' ({differs})' if differs else ''}, so its trainings "
            f"would not be comparable; give the worker {mend}, or start a study with what is there by the command that started this one"
        )
    if bare.phase == "tune":
        tuning = Ledger(storage, name, pruner=make_pruner(space))
        shared = derive(space.seed, "sampler")
        tuning.sampler_of = lambda waiting: for_slot(
            make_sampler(space.search, shared, shared_seed=shared),
            sampler_seed(space, waiting, tuning),
            refused=num_refused(waiting, tuning),
        )
        return Desk(tuning, space, tuple(plugins), None)
    if bare.phase == "baseline":
        return Desk(Ledger(storage, name, pruner=make_pruner(space)), space, tuple(plugins), None)
    if bare.phase != "search":
        return Desk(bare, space, tuple(plugins), None, epochs=about.get("design", {}).get("epochs"))
    seed = derive(space.seed, "sampler")
    sampler = make_sampler(space.search, seed, shared_seed=seed)
    ledger = Ledger(storage, name, sampler=sampler, pruner=make_pruner(space))

    def sampler_of(waiting: optuna.trial.FrozenTrial) -> optuna.samplers.BaseSampler:
        # With several seeds a sampler that is sure of where the best lies may propose what is known for ever.
        repeats = num_repeats(ledger, MOST_REFUSED) if space.search.seeds > 1 else 0
        # By the slot, not by who takes it: one worker alone comes to the same search each time, and no two draw the same numbers.
        return for_slot(sampler, derive(seed, waiting.user_attrs["slot"]), refused=waiting.user_attrs.get("refused", 0) + repeats)

    ledger.sampler_of = sampler_of
    return Desk(ledger, space, tuple(plugins), deadline)
