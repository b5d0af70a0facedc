"""Layer 4: the random baseline of a search: as many trials, drawn at random from the same space, in a queue of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import optuna

from nas.errors import UserError
from nas.sampling import Sample, keyed_draw, sample
from nas.space import Space
from nas.study.jobs.seeds import first_seed
from nas.study.ledger.known import KEPT
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.slots import Slot
from nas.values.architecture import Configuration
from nas.values.records import TrainingRecord
from nas.values.seeds import derive

MAX_DRAWS = 1000
Fits = Callable[[Configuration], bool]


@dataclass(frozen=True)
class Baseline:
    """The trials of a baseline. Trial i is the same draw in every run: it depends on the space's seed and i alone."""

    ledger: Ledger
    space: Space
    fits: Fits
    _drawn: list[Slot] = field(default_factory=list, compare=False, repr=False)

    @classmethod
    def of(cls, search: Ledger, storage: optuna.storages.BaseStorage, space: Space, fits: Fits) -> Baseline | None:
        """Open the ledger `STUDY/search/random` where a baseline was asked for once; None where it was not."""
        told = search.about
        if not told.get("baseline"):
            return None
        about = {**{key: told[key] for key in KEPT if key in told}, "phase": "baseline"}
        name = f"{search.name}/search/random"
        return cls(Ledger.create(storage, name, direction=space.search.direction, about=about), space, fits)

    def size(self, search: Sequence[TrainingRecord]) -> int:
        """Return how many trials it has: as many as the search, or as many as that had where a time ended it."""
        told = sum(training.state in ("complete", "pruned", "failed") for training in search)
        return told if self.space.search.minutes else self.space.search.trials or told

    def slots(self, count: int) -> list[Slot]:
        """Return its first trials. Raises UserError where constraints refuse every draw."""
        for i in range(len(self._drawn), count):
            seed = first_seed(self.space, derive(self.space.seed, "baseline", i))
            self._drawn.append(Slot(f"t{i}", seed, dict(self._draw(i).decisions)))
        return self._drawn[:count]

    def _draw(self, trial: int) -> Sample:
        for attempt in range(MAX_DRAWS):
            drawn = sample(self.space, keyed_draw(self.space.seed, "baseline", trial, attempt))
            if self.fits(drawn.configuration):
                return drawn
        limits = ", ".join(map(str, self.space.constraints))
        raise UserError(f"{self.space.file}: {MAX_DRAWS} random architectures break {limits}; loosen the constraints")


def ask_for_baseline(search: Ledger, space: Space) -> None:
    """Note that a search is to have a baseline. Raises UserError where there is nothing to compare."""
    if space.search.sampler == "random":
        raise UserError(f"{space.file}: --baseline: the search's own sampler is random; give it another, or leave the baseline out")
    if space.search.costs:
        raise UserError(f"{space.file}: --baseline: with several objectives there is no single best so far to compare; leave it out")
    search.note(baseline=True)
