"""Layer 4: which trainings are trained together as one program: groups that the plan fixes, never what happens to be free.

A group is trainings of one arm at one place of the design, in replicates that decided alike but for the optimizer's parameters. Every arm
has the same groups, so that twins are trained in groups of one size; where the network of one arm cannot be stacked, or two of it do
not fit into a worker's memory, the trainings of all arms at that place are on their own. The seeds of a search's trial are cut into
stacks by the same rules, but for memory: which architectures there will be nobody knows, and a rerun has to come to the same stacks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TypeVar

import torch

from nas.building import build, build_recipe, cost_of
from nas.measuring.design import PlannedTraining
from nas.plugin import Pictures
from nas.space import Space
from nas.space.sections import Vectorise
from nas.study.jobs.materials import context_of, load_split, load_task
from nas.study.jobs.memory import Demand, Room, demand_of
from nas.study.jobs.subjects import built_probes
from nas.study.ledger.slots import Slot
from nas.training.stacking import why_not_stacked
from nas.values.architecture import Configuration, PluginNode, key_of
from nas.values.domains import written
from nas.values.records import GroupMember

AUTO_LIMIT, AUTO_MACS = 8, 8_000_000
"""With `vectorise: auto`: the size of a group, and the multiply-accumulates of a layer for one batch up to which groups pay on a CPU.

Measured in groups of five: residual networks of 1 to 5 million took 0.58 to 0.66 of the time alone, whatever their widths, depthwise ones
0.50 to 0.62, of 7 to 10 million 0.70 to 0.84, of 47 million 1.03. In groups of eight transformers and mixers
of 1 to 6 million took 0.77 to 1.03, perceptrons 0.34.
"""
AUTO_BYTES = 2_000_000_000
"""What a stack of a trial's seeds may take of memory with `vectorise: auto`, as it is counted: the same number wherever it is trained."""
TRIED_ON = 8
"""Examples of the training part on which a stack is tried, half of them for each of two networks."""

T = TypeVar("T")
Known = Mapping[str, tuple[GroupMember, ...]]


@dataclass
class Grouping:
    """How a space's measured trainings are grouped; `vectorise` is as `measure:` says it. Each architecture is tried once."""

    space: Space
    vectorise: Vectorise
    _known: dict[str, str] = field(default_factory=dict)
    _demands: dict[str, Demand] = field(default_factory=dict)

    @property
    def limit(self) -> int:
        """The most trainings of a group, whatever there is of memory."""
        return AUTO_LIMIT if self.vectorise == "auto" else self.vectorise

    def slots(self, planned: Iterable[PlannedTraining], known: Known, room: Room) -> list[Slot]:
        """Return the slots of planned trainings; groups that are `known` stay as they are, others find room in a worker's memory."""
        trainings = list(planned)
        groups = dict(known) if self.limit > 1 else {}
        if self.limit > 1:
            for members in _groups([p for p in trainings if p.slot not in groups], lambda one: self.most(one, room)):
                group = tuple(GroupMember(p.slot, p.seed, tuple(p.sample.decisions), p.widths) for p in members)
                groups.update((p.slot, group) for p in members)
        return [Slot(p.slot, p.seed, dict(p.sample.decisions), p.cell, p.widths, groups.get(p.slot, ())) for p in trainings]

    def told(self, planned: Sequence[PlannedTraining], slots: Sequence[Slot], room: Room) -> tuple[str, ...]:
        """Say in sentences which trainings are to be trained as one program, and why others are not, or in smaller groups."""
        grouped, sizes = [slot for slot in slots if slot.group], sorted({len(slot.group) for slot in slots if slot.group})
        some = f"{len(grouped):,} of {len(slots):,}, in groups of {' and '.join(map(str, sizes))}"
        lines = [f"As one program are trained {some if grouped else 'none of them'}."]
        pairs = list(zip(planned, slots, strict=True))
        company = {p.slot for same in _alike(planned) if len(same) > 1 for cells in same for p in cells}
        reasons: dict[str, str] = {}
        for training, slot in pairs:
            if (
                not slot.group
                and slot.name in company
                and (reason := self.why_not(training.sample.configuration) or self._want_of_memory(training, room))
            ):
                reasons.setdefault(reason, written(training.cell.level))
        lines += [f"The arm {level}, and what is compared with it there, is trained alone: {reason}." for reason, level in reasons.items()]
        largest = max(
            (one for one, slot in pairs if slot.group), key=lambda one: self._demand(one.sample.configuration).num_bytes, default=None
        )
        if largest and sizes[0] <= (most := self.most(largest, room)) < self.limit:
            lines.append(f"Groups of {written(largest.cell.level)} are of {most} at most: {self._taken(largest, room, 1)}.")
        alone = {slot.cell.replicate for slot in slots if slot.cell and not slot.group and slot.name not in company}
        if alone:
            one = len(alone) == 1
            who = "1 replicate decided" if one else f"{len(alone):,} replicates decided"
            lines.append(f"{who} on networks that no other did, and {'is' if one else 'are'} trained alone.")
        return tuple(lines)

    def most(self, planned: PlannedTraining, room: Room) -> int:
        """Return how many trainings like one may be trained together, at most: 1 where it is not to be stacked."""
        return self._most(planned.sample.configuration, room)

    def most_seeds(self, configuration: Configuration) -> int:
        """Return how many seeds of one architecture may be trained together, at most: by the rules alone, whatever machine asks."""
        return self._most(configuration, Room(AUTO_BYTES if self.vectorise == "auto" else None))

    def _most(self, configuration: Configuration, room: Room) -> int:
        if self.limit == 1 or self.why_not(configuration):
            return 1
        return int(max(1, min(self.limit, room.num_networks(self._demand(configuration)))))

    def why_not(self, configuration: Configuration) -> str:
        """Return why trainings of a configuration are not to be stacked, whatever there is of memory; '' where they may be."""
        if (key := _key(configuration)) not in self._known:
            self._known[key] = self._recipe(configuration) or self._size(configuration) or self._network(configuration)
        return self._known[key]

    def _demand(self, configuration: Configuration) -> Demand:
        if (key := _key(configuration)) not in self._demands:
            self._demands[key] = demand_of(self.space, configuration)
        return self._demands[key]

    def _want_of_memory(self, planned: PlannedTraining, room: Room) -> str:
        return self._taken(planned, room, 2) if self.most(planned, room) < 2 else ""

    def _taken(self, planned: PlannedTraining, room: Room, count: int) -> str:
        taken = self._demand(planned.sample.configuration).num_bytes
        networks = "a network of it takes" if count == 1 else f"{count} networks of it take"
        return f"{networks} {_gigabytes(count * taken)} while training, and a worker here has {_gigabytes(room.free or 0)} for it"

    def _size(self, configuration: Configuration) -> str:
        if self.vectorise != "auto":
            return ""
        cost = cost_of(configuration.architecture, self.space.registry, context_of(self.space, configuration))
        macs = cost.macs * build_recipe(configuration.train, self.space.registry).batch_size // max(1, cost.num_layers)
        # Without the number, so that networks of many sizes are told in one line.
        return f"a layer of it has over {AUTO_MACS / 1e6:g}M MACs a batch, with which it is as fast alone" if macs > AUTO_MACS else ""

    def _recipe(self, configuration: Configuration) -> str:
        recipe = build_recipe(configuration.train, self.space.registry)
        if recipe.devices != 1 or recipe.num_nodes != 1 or recipe.strategy != "auto":
            return "its recipe shares a training between devices"
        if recipe.precision == "16-mixed":
            return "its recipe scales gradients (precision: 16-mixed)"
        if recipe.compile != "none" or recipe.memory_format != "contiguous":
            return "its recipe compiles networks, or lays them out, one by one"
        if any(isinstance(moment, int) for _, probe in built_probes(self.space.probes, self.space.registry) for moment in probe.at):
            return "a probe looks at it in the midst of the training"
        return ""

    def _network(self, configuration: Configuration) -> str:
        space = self.space
        split = load_split(configuration.data, space.registry, space.seed, configuration.task)
        if isinstance(split.train.source, Pictures):
            return "its pictures are decoded while it trains"
        inputs, targets = split.train.take(torch.arange(TRIED_ON))
        make = partial(_make, configuration, space)
        return why_not_stacked(make, inputs, targets, load_task(configuration.task, space.registry).loss)


def _make(configuration: Configuration, space: Space, seed: int) -> torch.nn.Module:
    return build(configuration.architecture, space.registry, context_of(space, configuration), seed=seed)


@lru_cache(maxsize=4)
def grouping_in(space: Space, vectorise: Vectorise) -> Grouping:
    """Return how a space's trainings are grouped; one for all who ask, since it remembers what it has tried."""
    return Grouping(space, vectorise)


def _key(configuration: Configuration) -> str:
    return key_of([configuration.architecture.to_dict(), _but_optimizer(configuration.train).to_dict(), configuration.data.to_dict()])


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.3g} MB"


def _groups(planned: Sequence[PlannedTraining], most: Callable[[PlannedTraining], int]) -> Iterator[list[PlannedTraining]]:
    """Yield groups of two and more: at each place of the design so many as the arm with the fewest may have."""
    for same in _alike(planned):
        for place in dict.fromkeys(p.cell.by for p in same[0]) if len(same) > 1 else ():
            limit = min(most(p) for p in same[0] if p.cell.by == place)
            for chunk in balanced(same, limit) if limit > 1 else ():
                yield from (list(members) for members in zip(*chunk, strict=True) if len(members) > 1 and members[0].cell.by == place)


def _alike(planned: Sequence[PlannedTraining]) -> list[list[list[PlannedTraining]]]:
    """Return replicates with their trainings, those that decided on the same networks together."""
    replicates: dict[int, list[PlannedTraining]] = {}
    for training in planned:
        replicates.setdefault(training.cell.replicate, []).append(training)
    alike: dict[str, list[list[PlannedTraining]]] = {}
    for cells in replicates.values():
        alike.setdefault(key_of([_signature(p) for p in cells]), []).append(cells)
    return list(alike.values())


def _signature(planned: PlannedTraining) -> list[object]:
    configuration, cell = planned.sample.configuration, planned.cell
    rest = (configuration.architecture, _but_optimizer(configuration.train), configuration.data, configuration.task)
    return [cell.level, cell.by, planned.widths, *(node.to_dict() for node in rest)]


def _but_optimizer(train: PluginNode) -> PluginNode:
    """Return a recipe without its optimizer: each network of a group has its own."""
    return PluginNode(train.name, tuple((name, value) for name, value in train.parameters if name != "optimizer"))


def balanced(items: Sequence[T], limit: int) -> Iterator[Sequence[T]]:
    """Cut into as few parts as the limit allows, of sizes as equal as can be: 10 by 8 is 5 and 5."""
    count = math.ceil(len(items) / limit)
    bounds = [len(items) * part // count for part in range(count + 1)]
    return (items[start:end] for start, end in itertools.pairwise(bounds))
