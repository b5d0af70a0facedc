"""Layer 4: which measured trainings are trained together as one program: groups that the plan fixes, never what happens to be free.

A group is trainings of one arm at one place of the design, in replicates that decided alike but for the optimizer's parameters. Every arm
has the same groups, so that twins are trained in groups of one size; where the network of one arm cannot be stacked, the trainings
of all arms at that place are on their own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TypeVar

import torch

from nas.building import build, build_recipe
from nas.measuring.design import PlannedTraining
from nas.plugin import Pictures
from nas.space import Space
from nas.study.materials import context_of, load_split, load_task
from nas.study.slots import Slot
from nas.study.subjects import built_probes
from nas.training.stacking import why_not_stacked
from nas.values.architecture import Configuration, PluginNode, key_of
from nas.values.domains import written
from nas.values.records import GroupMember

TRIED_ON = 6
"""Examples of the training part on which a stack is tried, half of them for each of two networks."""

T = TypeVar("T")
WhyNot = Callable[[PlannedTraining], str]
Known = Mapping[str, tuple[GroupMember, ...]]


@dataclass
class Stackable:
    """Says why a training is not to be stacked with its like; each architecture is tried once."""

    space: Space
    _known: dict[str, str] = field(default_factory=dict)

    def why_not(self, planned: PlannedTraining) -> str:
        """Return the reason; '' where it may be stacked."""
        configuration = planned.sample.configuration
        key = key_of([configuration.architecture.to_dict(), _but_optimizer(configuration.train).to_dict(), configuration.data.to_dict()])
        if key not in self._known:
            self._known[key] = self._recipe(configuration) or self._network(configuration)
        return self._known[key]

    def _recipe(self, configuration: Configuration) -> str:
        recipe = build_recipe(configuration.train, self.space.registry)
        if recipe.devices != 1 or recipe.num_nodes != 1 or recipe.strategy != "auto":
            return "its recipe shares a training between devices"
        if recipe.precision == "16-mixed":
            return "its recipe scales gradients (precision: 16-mixed)"
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
def stackable_in(space: Space) -> Stackable:
    """Return what is known of a space's networks; one for all who ask."""
    return Stackable(space)


def slots_of(planned: Iterable[PlannedTraining], *, limit: int, known: Known, why_not: WhyNot) -> list[Slot]:
    """Return the slots of planned trainings, in groups of at most `limit`; groups that are `known` stay as they are."""
    trainings = list(planned)
    groups = dict(known)
    if limit > 1:
        for members in _groups([p for p in trainings if p.slot not in known], limit, why_not):
            group = tuple(GroupMember(p.slot, p.seed, tuple(p.sample.decisions), p.widths) for p in members)
            groups.update((p.slot, group) for p in members)
    return [Slot(p.slot, p.seed, dict(p.sample.decisions), p.cell, p.widths, groups.get(p.slot, ())) for p in trainings]


def told(planned: Sequence[PlannedTraining], slots: Sequence[Slot], why_not: WhyNot) -> tuple[str, ...]:
    """Say in sentences which trainings are to be trained as one program, and why others are not."""
    grouped, sizes = [slot for slot in slots if slot.group], sorted({len(slot.group) for slot in slots if slot.group})
    some = f"{len(grouped):,} of {len(slots):,}, in groups of {' and '.join(map(str, sizes))}"
    lines = [f"As one program are trained {some if grouped else 'none of them'}."]
    reasons: dict[str, str] = {}
    for training, slot in zip(planned, slots, strict=True):
        if not slot.group and (reason := why_not(training)):
            reasons.setdefault(reason, written(training.cell.level))
    lines += [f"Alone is trained {level}, and so is every arm where it is: {reason}." for reason, level in reasons.items()]
    alone = {slot.cell.replicate for slot in slots if slot.cell and not slot.group}
    if alone and not reasons:
        lines.append(f"Of {len(alone)} replicates none decided on the same networks as another.")
    return tuple(lines)


def _groups(planned: Sequence[PlannedTraining], limit: int, why_not: WhyNot) -> Iterator[list[PlannedTraining]]:
    """Yield groups of two and more."""
    replicates: dict[int, list[PlannedTraining]] = {}
    for training in planned:
        replicates.setdefault(training.cell.replicate, []).append(training)
    alike: dict[str, list[list[PlannedTraining]]] = {}
    for cells in replicates.values():
        alike.setdefault(key_of([_signature(p) for p in cells]), []).append(cells)
    for same in alike.values():
        alone = {p.cell.by for p in same[0] if len(same) > 1 and why_not(p)}
        for chunk in _balanced(same, limit):
            yield from (list(members) for members in zip(*chunk, strict=True) if len(members) > 1 and members[0].cell.by not in alone)


def _signature(planned: PlannedTraining) -> list[object]:
    configuration, cell = planned.sample.configuration, planned.cell
    rest = (configuration.architecture, _but_optimizer(configuration.train), configuration.data, configuration.task)
    return [cell.level, cell.by, planned.widths, *(node.to_dict() for node in rest)]


def _but_optimizer(train: PluginNode) -> PluginNode:
    """Return a recipe without its optimizer: each network of a group has its own."""
    return PluginNode(train.name, tuple((name, value) for name, value in train.parameters if name != "optimizer"))


def _balanced(items: Sequence[T], limit: int) -> Iterator[Sequence[T]]:
    """Cut into as few parts as the limit allows, of sizes as equal as can be: 10 by 8 is 5 and 5."""
    count = math.ceil(len(items) / limit)
    bounds = [len(items) * part // count for part in range(count + 1)]
    return (items[start:end] for start, end in itertools.pairwise(bounds))
