"""Layer 3: makes every decision of a space, through whoever chooses: a sampler, a person, or a keyed draw."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nas.errors import SpaceError, Where
from nas.space import Decision, Fixed, ListTemplate, NodeTemplate, Space, Template
from nas.values.architecture import Architecture, Configuration, PluginNode, Value
from nas.values.domains import Scalar, written
from nas.values.seeds import derive

Chooser = Callable[[Decision], Scalar]
"""Chooses a value for one decision. It is asked once for each decision that exists, outer decisions first."""


@dataclass(frozen=True)
class Sample:
    """A decided configuration with the decisions that led to it, in the order in which they were made."""

    configuration: Configuration
    decisions: tuple[tuple[str, Scalar], ...]


def sample(space: Space, choose: Chooser) -> Sample:
    """Decide the whole space. A decision that is shared is asked for once; one that does not exist is never asked for."""
    made: dict[str, Scalar] = {}

    def decide(template: Template) -> Value:
        if isinstance(template, Fixed):
            return template.value
        if isinstance(template, ListTemplate):
            return tuple(decide(item) for item in template.items)
        if isinstance(template, NodeTemplate):
            return PluginNode(template.name, tuple((name, decide(inner)) for name, inner in template.parameters))
        if template.path not in made:
            made[template.path] = choose(template)
        return decide(template.option(made[template.path]))

    architecture, train, data = decide(space.architecture), decide(space.train), decide(space.data)
    task = decide(space.task)
    assert isinstance(architecture, PluginNode), "the section takes a network"
    assert isinstance(train, PluginNode), "the section is a recipe"
    assert isinstance(data, PluginNode), "the section takes a data set"
    assert isinstance(task, PluginNode), "the section takes a task"
    return Sample(Configuration(Architecture(architecture), train, data, task), tuple(made.items()))


def keyed_draw(*keys: object) -> Chooser:
    """Return a chooser that draws each decision from a stream of its own, keyed by (`keys`, path): adding one moves no other."""
    return lambda decision: decision.domain.draw(random.Random(derive(*keys, decision.path)))


def fixing(fixed: Mapping[str, Scalar], otherwise: Chooser) -> Chooser:
    """Return a chooser that takes the values of `fixed` and asks `otherwise` for the rest."""
    return lambda decision: fixed[decision.path] if decision.path in fixed else otherwise(decision)


def first_choice(decision: Decision) -> Scalar:
    """Choose what stands first: the first label, the low end of a range."""
    return decision.domain.first


def refuse_unused(fixed: Mapping[str, Scalar], sampled: Sample, space: Space | None = None) -> None:
    """Raise SpaceError where a value was set for a decision that does not exist under the other choices made.

    With the `space`, the message says what the decision needs.
    """
    made = dict(sampled.decisions)
    for path in fixed:
        if path not in made:
            uses = [placed.under for placed in space.placed if placed.decision.path == path] if space else []
            needs = " or ".join(" and ".join(f"{outer}={written(label)}" for outer, label in use) for use in uses)
            message = f"does not exist under the choices made; it needs {needs}" if needs else "does not exist under the choices made"
            raise SpaceError(message, Where(path=path))
