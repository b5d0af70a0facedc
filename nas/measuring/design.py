"""Layer 3: which twins to train: complete replicates of every arm at every value of the `by` decisions.

See docs/method.md, "Replicates and twins".
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from nas.errors import UserError
from nas.measuring.capacity import matched_configuration
from nas.sampling import Sample, fixing, keyed_draw, sample
from nas.space import Space
from nas.space.sections import MeasureOptions, TuneOptions, Vectorise
from nas.values.architecture import Configuration, key_of
from nas.values.domains import Scalar, written
from nas.values.effects import EFFECT, TUNED
from nas.values.outcome import Cost
from nas.values.plans import Cell, MatchedReference, MeasurePlan, Winner
from nas.values.records import Phase
from nas.values.seeds import derive

MAX_REDRAWS = 200
Fits = Callable[[Configuration], bool]
CostOf = Callable[[Configuration], Cost]
_NAMES = {"parameters": "parameters", "macs": "MACs"}


@dataclass(frozen=True)
class PlannedTraining:
    """One training of the design: its cell, its decided configuration and its seed. Twins share the seed and all but the factor."""

    cell: Cell
    sample: Sample
    seed: int
    widths: tuple[int, ...] = ()
    """Of a matched reference: the widths that its network is trained with, in place of those decided."""
    name: str = ""
    """What its slot, and so the files of its training, are called; '' for the place in the design."""

    @property
    def slot(self) -> str:
        """A name that is unique in the design and stays when the design grows."""
        if self.name:
            return self.name
        by = ",".join(str(value) for _, value in self.cell.by)
        return f"r{self.cell.replicate}|{self.cell.level}|{by}"


class Design(Protocol):
    """A measured design: which trainings it is made of, and how its effect is read from them."""

    @property
    def phase(self) -> Phase:
        """The phase its trainings belong to."""

    @property
    def name(self) -> str:
        """What tells it from other designs of its study; it stays when replicates are added."""

    @property
    def plan(self) -> MeasurePlan:
        """What is compared with what."""

    @property
    def num_trainings(self) -> int:
        """How many trainings it has."""

    @property
    def vectorise(self) -> Vectorise:
        """How many of its trainings may be trained as one program, at most; `auto` decides by their size."""

    def trainings(self, space: Space, fits: Fits, replicates: Iterable[int]) -> Iterator[PlannedTraining]:
        """Yield the trainings of some replicates, one replicate after the other."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data, kept beside the trainings."""


@dataclass(frozen=True)
class Twins:
    """The design of a `measure:` section: every arm at every value of `by`, nuisance decisions drawn anew for each replicate."""

    options: MeasureOptions
    stage: int = 0
    """With planned looks, the look that is trained for now, as a number of replicates; the first one for 0."""
    matched: tuple[MatchedReference, ...] = ()
    winners: tuple[Winner, ...] = ()
    """Of a tuned effect, once every arm was searched: what each arm trains with."""
    cost: CostOf | None = field(default=None, compare=False, repr=False)
    """What a configuration costs; needed where references are to be matched."""

    @classmethod
    def of(cls, space: Space, options: MeasureOptions, *, fits: Fits, cost: CostOf) -> Twins:
        """Return the design, with a matched reference for each arm that costs more than the reference in a cell of replicate 0.

        Raises UserError where constraints refuse every draw, or the network has no width.
        """
        if not options.match:
            return cls(options)
        planned = {(p.cell.level, p.cell.by): cost(p.sample.configuration) for p in plan_replicate(space, options, 0, fits)}
        matched = tuple(
            MatchedReference(level, quantity, f"{written(options.reference)} with the {_NAMES[quantity]} of {written(level)}")
            for quantity in options.match
            for level in options.levels
            if any(getattr(planned[level, by], quantity) > getattr(planned[options.reference, by], quantity) for _, by in planned)
        )
        return cls(options, matched=matched, cost=cost)

    @property
    def phase(self) -> Phase:
        """`measure`."""
        return "measure"

    @property
    def replicates(self) -> int:
        """How many replicates are to be trained: all of them, or those of the look that is trained for now."""
        o = self.options
        return min(o.replicates, self.stage or o.looks[0]) if o.looks else o.replicates

    @property
    def after_look(self) -> Twins | None:
        """The design that goes on to the next planned look; None where none is left."""
        later = [look for look in self.options.looks if self.replicates < look <= self.options.replicates]
        return replace(self, stage=later[0]) if later else None

    def resumed(self, before: Mapping[str, Any]) -> Twins:
        """Return the design at the look that the ledger says, in what `to_dict` wrote, it had come to."""
        return replace(self, stage=before.get("stage", 0)) if self.options.looks else self

    @property
    def name(self) -> str:
        """`measure-HASH` or `tuned-HASH`, over all but how many replicates there are and how the effect is judged."""
        asked = repr(replace(self.options, replicates=0, smallest_effect=0.0))
        if self.vectorise != 1:
            # Together, figures differ from those of trainings alone in their last digits: the two are never mixed in one design.
            asked += f", vectorise={self.vectorise}"
        return f"tuned-{key_of([asked, repr(self.options.tune)])[:8]}" if self.options.tune else f"measure-{key_of(asked)[:8]}"

    @property
    def vectorise(self) -> Vectorise:
        """As `measure:` says."""
        return self.options.vectorise

    @property
    def waits_for_winners(self) -> bool:
        """Whether its trainings are not known yet, since the arms are to be tuned first."""
        return bool(self.options.tune and not self.winners)

    @property
    def plan(self) -> MeasurePlan:
        """What is compared with what."""
        o = self.options
        return MeasurePlan(
            o.factor, o.reference, o.levels, o.by, self.replicates, o.smallest_effect, o.metric, o.direction, looks=o.looks, held=o.hold,
            match=o.match, matched=self.matched,
            estimand=TUNED if o.tune else EFFECT, tune_trials=o.tune.trials if o.tune else 0, tuned=o.tune.decisions if o.tune else (),
        )  # fmt: skip

    @property
    def num_trainings(self) -> int:
        """Replicates x arms, matched references among them, x values of `by`."""
        return self.replicates * len(self.plan.trained_levels) * math.prod(len(values) for _, values in self.options.by)

    def trainings(self, space: Space, fits: Fits, replicates: Iterable[int]) -> Iterator[PlannedTraining]:
        """Yield the trainings of some replicates. Raises UserError where constraints refuse every draw."""
        for replicate in replicates:
            planned = plan_replicate(space, self.options, replicate, fits, winners=self.winners)
            yield from planned
            yield from self._widened(planned)

    def _widened(self, planned: Sequence[PlannedTraining]) -> Iterator[PlannedTraining]:
        """Yield the matched references of one replicate: twins of the rest, with the widths that cost what the arm does."""
        cells, of = {(p.cell.level, p.cell.by): p for p in planned}, self.cost
        assert of is not None or not self.matched, "a design with matched references has what they are matched by"
        for matched, own in itertools.product(self.matched, [p for p in planned if p.cell.level == self.options.reference]):
            arm, quantity = cells[matched.level, own.cell.by].sample.configuration, matched.quantity

            def count(configuration: Configuration, quantity: str = quantity) -> int:
                return int(getattr(of(configuration), quantity)) if of else 0

            found = matched_configuration(own.sample.configuration, count(arm), cost=count)
            decided = replace(own.sample, configuration=found.configuration)
            yield replace(own, cell=replace(own.cell, level=matched.label), sample=decided, widths=found.widths)

    def to_dict(self) -> dict[str, Any]:
        """Return what is asked for, and the look that is trained for, as plain JSON data."""
        looks = {"stage": self.replicates, "looks": list(self.options.looks)} if self.options.looks else {}
        options: dict[str, Any] = json.loads(json.dumps(asdict(self.options)))
        return {"replicates": self.options.replicates, "options": options, **looks}


def options_from(document: Mapping[str, Any]) -> MeasureOptions:
    """Read what is asked for from what `Twins.to_dict` wrote."""

    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value

    options = {name: frozen(value) for name, value in document["options"].items()}
    tune = options.get("tune")
    return MeasureOptions(**{**options, "tune": TuneOptions(trials=tune["trials"], decisions=frozen(tune["decisions"])) if tune else None})


def plan_replicate(
    space: Space, options: MeasureOptions, replicate: int, fits: Fits, *, winners: Sequence[Winner] = ()
) -> tuple[PlannedTraining, ...]:
    """Plan one replicate: a nuisance configuration, seed and split of its own, and every cell of the design.

    Nuisance draws are keyed by (space seed, replicate, path). If `fits` refuses any cell, the whole replicate is drawn
    again. `winners` decide for their own arm what was tuned. Raises UserError where 200 draws all break the constraints.
    """
    seed = derive(space.seed, "replicate", replicate)
    tuned = {(winner.level, winner.by): dict(winner.decisions) for winner in winners}
    cells = [(cell, {**tuned.get((cell.level, cell.by), {}), **fixed}) for cell, fixed in cells_of(options, replicate)]
    for draw in range(MAX_REDRAWS):
        chooser = keyed_draw(space.seed, "replicate", replicate, *([draw] if draw else []))
        planned = tuple(PlannedTraining(cell, sample(space, fixing(fixed, chooser)), seed) for cell, fixed in cells)
        if all(fits(p.sample.configuration) for p in planned):
            return planned
    raise UserError(
        f"replicate {replicate}: {MAX_REDRAWS} draws of the other decisions all break the constraints in some arm; "
        "loosen `constraints:` or hold decisions under `measure: hold:`"
    )


def cells_of(options: MeasureOptions, replicate: int) -> Iterator[tuple[Cell, dict[str, Scalar]]]:
    """Yield the cells of a replicate, each with the decisions that are fixed in it."""
    paths = [path for path, _ in options.by]
    # Deep networks first: they take longest, and what is left for the end should be short.
    for values in reversed(list(itertools.product(*(values for _, values in options.by)))):
        for level in options.arms:
            by = tuple(zip(paths, values, strict=True))
            yield Cell(replicate, level, by), {**dict(options.hold), **dict(by), options.factor: level}
