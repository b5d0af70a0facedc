"""Layer 4: how long trainings take on this machine, alone or as one program, by timing a few steps of some of them."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import torch

from nas.building import build, build_recipe
from nas.measuring.design import CostOf, PlannedTraining
from nas.sampling import Sample
from nas.space import Space
from nas.study.jobs.materials import context_of, describe_data, load_data, load_task
from nas.study.jobs.seeds import stacks_of
from nas.study.ledger.slots import Slot
from nas.training.stacked import optimizer_over
from nas.training.stacking import Stack
from nas.values.architecture import Configuration

NUM_TIMED_STEPS = 3
EVALUATION = 1.15
"""What an epoch costs beside its steps: a pass over the validation split, forwards only, and the loop around it."""

T = TypeVar("T")


@dataclass
class Pace:
    """How long the trainings of a space take on one thread; `drawn` are samples of it, of which some are timed."""

    space: Space
    cost: CostOf
    drawn: Sequence[Sample]
    _groups: dict[int, float] = field(default_factory=dict)
    _stacks: dict[int, float] = field(default_factory=dict)

    def seconds(self, decided: Sample) -> float:
        """Estimate one training alone, in seconds."""
        return self._units(decided.configuration) * self.seconds_per_layer * EVALUATION

    def total(self, planned: Sequence[PlannedTraining], slots: Sequence[Slot]) -> float:
        """Estimate all of some planned trainings, those of a group as one program, in seconds."""
        alone = sum(self.seconds(p.sample) for p, slot in zip(planned, slots, strict=True) if not slot.group)
        units = sum(self._units(p.sample.configuration) for p, slot in zip(planned, slots, strict=True) if slot.group)
        return alone + (units * self._together(planned, slots) * EVALUATION if units else 0.0)

    def trial(self, decided: Sample) -> float:
        """Estimate one trial of a search with all its seeds, in seconds."""
        seeds, size = self.space.search.seeds, self._size_of(decided.configuration)
        if size == 1:
            return seeds * self.seconds(decided)
        return seeds * self._units(decided.configuration) * self._in_a_stack(size) * EVALUATION

    @property
    def trial_share(self) -> float:
        """How long a seed of a search's trial takes, of what it takes alone: less where trials train theirs as one program."""
        if self.space.search.together == 1:
            return 1.0
        return sum(map(self.trial, self.drawn)) / (self.space.search.seeds * sum(map(self.seconds, self.drawn)))

    def _size_of(self, configuration: Configuration) -> int:
        """Return how many seeds of a trial are trained as one program, in the largest part of them."""
        return max(map(len, stacks_of(self.space, configuration)), default=1)

    def _units(self, configuration: Configuration) -> int:
        """Return steps times layers: what the time of a training goes with."""
        recipe, num_train = build_recipe(configuration.train, self.space.registry), int(describe_data(self.space)["num_train"])
        return recipe.epochs * math.ceil(num_train / recipe.batch_size) * self.cost(configuration).num_layers

    @cached_property
    def seconds_per_layer(self) -> float:
        """Train a few steps of a small, a middling and a large sample; return seconds a step and layer, on one thread."""
        chosen = {s.configuration.key: s.configuration for s in self._spread(self.drawn, lambda s: s.configuration)}
        return statistics.fmean(_timed(_step_alone(self.space, one)) / self.cost(one).num_layers for one in chosen.values())

    def _together(self, planned: Sequence[PlannedTraining], slots: Sequence[Slot]) -> float:
        """Return seconds a step and layer of each network in a group of the commonest size, by some of those that are planned."""
        size = statistics.mode(len(slot.group) for slot in slots if slot.group)
        if size not in self._groups:
            own = {p.slot: p.sample.configuration for p in planned}
            groups = {slot.group: [own.get(m.slot, own[slot.name]) for m in slot.group] for slot in slots if len(slot.group) == size}
            self._groups[size] = self._of_groups(list(groups.values()))
        return self._groups[size]

    def _in_a_stack(self, size: int) -> float:
        """Return seconds a step and layer of each of so many seeds, by some samples whose seeds are stacked so."""
        if size not in self._stacks:
            like = [one.configuration for one in self.drawn if self._size_of(one.configuration) == size]
            self._stacks[size] = self._of_groups([[one] * size for one in like])
        return self._stacks[size]

    def _of_groups(self, groups: Sequence[Sequence[Configuration]]) -> float:
        """Train a few steps of a small, a middling and a large group; return seconds a step and layer of each network in it."""
        chosen = {one[0].architecture.key: one for one in self._spread(groups, lambda one: one[0])}
        each = (_timed(_step_together(self.space, one)) / len(one) / self.cost(one[0]).num_layers for one in chosen.values())
        return statistics.fmean(each)

    def _spread(self, of: Sequence[T], configuration: Callable[[T], Configuration]) -> tuple[T, T, T]:
        """Return the smallest, the middle one and the largest by multiply-accumulates."""
        ordered = sorted(of, key=lambda one: self.cost(configuration(one)).macs)
        return ordered[0], ordered[len(ordered) // 2], ordered[-1]


def where_timed() -> str:
    """Say, where trainings will run on a GPU, that the times told beforehand are not its own; '' where there is none."""
    return " The steps behind that were timed on the CPU; a GPU takes its own time." if torch.cuda.is_available() else ""


def _timed(step: Callable[[], None]) -> float:
    """Return how long a step takes on one thread, in seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = []
    try:
        for _ in range(1 + NUM_TIMED_STEPS):
            started = time.perf_counter()
            step()
            times.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return min(times[1:])  # the first one pays for allocations; the least disturbed one is wanted


def _step_alone(space: Space, configuration: Configuration) -> Callable[[], None]:
    """Return an optimizer step of one network on random data."""
    network = build(configuration.architecture, space.registry, context_of(space, configuration))
    recipe = build_recipe(configuration.train, space.registry)
    optimizer = recipe.optimizer().build(network.parameters())
    task, inputs, targets = load_task(configuration.task, space.registry), *_batch(space, configuration)

    def step() -> None:
        optimizer.zero_grad()
        task.loss(network(inputs[:, 0]), targets).backward()
        optimizer.step()

    return step


def _step_together(space: Space, group: Sequence[Configuration]) -> Callable[[], None]:
    """Return an optimizer step of a stack of networks on random data, one of each configuration."""
    first, registry = group[0], space.registry
    stack = Stack([build(one.architecture, registry, context_of(space, one), seed=seed) for seed, one in enumerate(group)])
    stack.bind()
    alike = len({one.train["optimizer"] for one in group}) == 1
    optimizer, views, hands_out = optimizer_over(stack, [build_recipe(one.train, registry) for one in group], alike=alike)
    task, inputs, targets = load_task(first.task, registry), *_batch(space, first, len(group))

    def step() -> None:
        stack.zero_grad()
        torch.stack([task.loss(own, targets) for own in stack(inputs)]).sum().backward()
        if hands_out:
            stack.hand_out(views)
        optimizer.step()

    return step


def _batch(space: Space, configuration: Configuration, count: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random inputs (B, K, …), and targets (B, …) as the data has them."""
    size = build_recipe(configuration.train, space.registry).batch_size
    data = load_data(configuration.data, space.registry, configuration.task)
    inputs = torch.randn(size, count, *context_of(space, configuration).input_shape)
    return inputs, data.targets[torch.arange(size) % len(data.targets)]
