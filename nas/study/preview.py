"""Layer 4: what running a space would mean: its size, what its networks cost, how many trainings, how long."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F

from nas.building import build, build_recipe, cost_of
from nas.measuring.design import plan_replicate
from nas.measuring.power import detectable
from nas.sampling import Sample, keyed_draw, sample
from nas.space import Decision, Fixed, ListTemplate, Space, Template
from nas.study.crew import default_workers
from nas.study.materials import context_of, describe_data
from nas.training.data import SHARES
from nas.values.architecture import Configuration
from nas.values.outcome import Cost

MEASURED_FOR_TIME = 3


@dataclass(frozen=True)
class Preview:
    """What a space holds and what a run of it would take. `size` and `architectures` are None where infinite."""

    architectures: int | None
    size: int | None
    samples: int
    parameters: tuple[int, int]
    macs: tuple[int, int]
    num_layers: tuple[int, int]
    constraints: tuple[str, ...]
    violating: float
    planned_search: int | None
    planned_measure: int
    replicates: int | None
    detectable: float | None
    minutes: float
    workers: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)


def preview(space: Space, *, samples: int = 32) -> Preview:
    """Sample and build architectures without training them, and time a few steps to estimate a run.

    Raises PluginError where a sampled architecture cannot be built, UserError where constraints refuse every draw.
    """
    drawn = [sample(space, keyed_draw(space.seed, "preview", i)) for i in range(samples)]
    costs = [_cost(space, s.configuration) for s in drawn]
    holding = [all(c.holds(cost) for c in space.constraints) for cost in costs]
    options, planned = space.measure, []
    if options:
        planned = list(plan_replicate(space, options, 0, lambda c: all(x.holds(_cost(space, c)) for x in space.constraints)))
    workers = space.search.workers or default_workers()
    trials = space.search.trials
    step_s = _time_per_layer(space, drawn, costs)
    search_s = (trials or 0) * sum(_seconds(space, s, c, step_s) for s, c in zip(drawn, costs, strict=True)) / samples
    replicate_s = sum(_seconds(space, p.sample, _cost(space, p.sample.configuration), step_s) for p in planned)
    measure_s = replicate_s * (options.replicates if options else 0)
    return Preview(
        architectures=_whole(size_of(space.architecture)),
        size=_whole(size_of(space.architecture) * size_of(space.train) * size_of(space.data)),
        samples=samples,
        parameters=_ends([c.parameters for c in costs]),
        macs=_ends([c.macs for c in costs]),
        num_layers=_ends([c.num_layers for c in costs]),
        constraints=tuple(str(c) for c in space.constraints),
        violating=1 - sum(holding) / samples,
        planned_search=trials,
        planned_measure=len(planned) * (options.replicates if options else 0),
        replicates=options.replicates if options else None,
        detectable=detectable(options.replicates) if options and options.replicates > 1 else None,
        minutes=(search_s + measure_s) / workers / 60 if trials else float(space.search.minutes or 0) + measure_s / workers / 60,
        workers=workers,
    )


def size_of(template: Template) -> float:
    """Count the different decided forms of a template; a shared decision that is used n times is counted n times."""
    if isinstance(template, Fixed):
        return 1
    if isinstance(template, Decision):
        return sum(size_of(option) for option in template.options) if template.options else template.domain.size
    items = template.items if isinstance(template, ListTemplate) else (value for _, value in template.parameters)
    return math.prod(size_of(item) for item in items)


def _cost(space: Space, configuration: Configuration) -> Cost:
    return cost_of(configuration.architecture, space.registry, context_of(space, configuration))


def _time_per_layer(space: Space, drawn: Sequence[Sample], costs: Sequence[Cost]) -> float:
    """Train a few steps of a small, a middling and a large sample; return seconds a step and layer, on one thread."""
    order = sorted(range(len(drawn)), key=lambda i: costs[i].macs)
    chosen = {order[0], order[len(order) // 2], order[-1]}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return max(_step_seconds(space, drawn[i].configuration) / costs[i].num_layers for i in chosen)
    finally:
        torch.set_num_threads(threads)


def _step_seconds(space: Space, configuration: Configuration) -> float:
    context = context_of(space, configuration)
    network = build(configuration.architecture, space.registry, context)
    recipe = build_recipe(configuration.train, space.registry)
    optimizer = recipe.optimizer().build(network.parameters())
    inputs, targets = torch.randn(recipe.batch_size, *context.input_shape), torch.randint(context.num_outputs, (recipe.batch_size,))
    times = []
    for _ in range(1 + MEASURED_FOR_TIME):
        started = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(network(inputs), targets).backward()
        optimizer.step()
        times.append(time.perf_counter() - started)
    return min(times[1:])  # the first one pays for allocations; the least disturbed one is wanted


def _seconds(space: Space, decided: Sample, cost: Cost, step_s: float) -> float:
    recipe = build_recipe(decided.configuration.train, space.registry)
    examples = SHARES[0] * describe_data(space)["num_examples"]
    steps = recipe.epochs * math.ceil(examples / recipe.batch_size)
    return steps * cost.num_layers * step_s


def _ends(values: Sequence[int]) -> tuple[int, int]:
    return min(values), max(values)


def _whole(value: float) -> int | None:
    return None if math.isinf(value) else int(value)
