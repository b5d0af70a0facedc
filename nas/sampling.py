"""Layer 3: makes every decision of a space, through whoever chooses: a sampler, a person, or a keyed draw."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from nas.errors import SpaceError, Where
from nas.space import Decision, Fixed, ListTemplate, NodeTemplate, Space, Template
from nas.values.architecture import Architecture, Configuration, PluginNode, Value, write
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


def recognise(template: Template, value: Value, place: str) -> dict[str, Scalar]:
    """Return the decisions by which `template` becomes `value`: the way back from an architecture to its space.

    Where several labels stand for one value, the first of them is taken. Raises SpaceError, at the place where they differ, for a
    value that no decisions lead to.
    """
    if isinstance(template, Decision):
        return _recognise_choice(template, value, place)
    if isinstance(template, Fixed):
        if template.value == value and type(template.value) is type(value):
            return {}
        raise SpaceError(f"is {written(template.value)} in the space, and {write(value)} here", Where(path=place))
    if isinstance(template, ListTemplate):
        if not isinstance(value, tuple) or len(value) != len(template.items):
            raise SpaceError(f"is a list of {len(template.items)} in the space, and {write(value)} here", Where(path=place))
        return _agreeing((item, inner, f"{place}.{i}") for i, (item, inner) in enumerate(zip(template.items, value, strict=True)))
    if not isinstance(value, PluginNode) or value.name != template.name:
        name = value.name if isinstance(value, PluginNode) else write(value)
        raise SpaceError(f"is {template.name} in the space, and {name} here", Where(path=place))
    inner = dict(value.parameters)
    if set(inner) != {name for name, _ in template.parameters}:
        own = ", ".join(name for name, _ in template.parameters)
        raise SpaceError(f"has the parameters {own} in the space, and {', '.join(inner)} here", Where(path=place))
    return _agreeing((item, inner[name], f"{place}.{template.name}.{name}") for name, item in template.parameters)


def _recognise_choice(decision: Decision, value: Value, place: str) -> dict[str, Scalar]:
    if not decision.options:
        if not isinstance(value, PluginNode | tuple) and decision.domain.contains(value):
            return {decision.path: value}
        raise SpaceError(f"is {decision.domain} in the space, and {write(value)} here", Where(path=place))
    told = SpaceError(f"is none of the space's choices, {decision.domain}: {write(value)}", Where(path=place))
    for label, option in decision.labelled():
        try:
            return {decision.path: label, **recognise(option, value, decision.path)}
        except SpaceError as error:
            if isinstance(option, NodeTemplate) and isinstance(value, PluginNode) and option.name == value.name:
                told = error  # the right plugin, and something inside it differs
    raise told


def _agreeing(parts: Iterable[tuple[Template, Value, str]]) -> dict[str, Scalar]:
    """Recognise several parts; a decision that they share must come out the same in each."""
    found: dict[str, Scalar] = {}
    for template, value, place in parts:
        for path, label in recognise(template, value, place).items():
            if found.setdefault(path, label) != label:
                both = f"{written(found[path])} and {written(label)}"
                raise SpaceError(f"is one decision in the space, and here both {both}", Where(path=path))
    return found
