"""Layer 5: a plugin in a space file: the shortest whole space that uses it, with every parameter written out."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Union

from nas.authoring.facts import as_yaml, of_kind
from nas.errors import PluginError, nearest
from nas.plugin import Block, DataSet
from nas.registry import Parameter, PluginInfo, Registry
from nas.registry.signature import ListType, NothingType, OneOf, ParameterType, PluginType, ScalarType, kind_in, members_of
from nas.space.schema import schema_of

USUAL = ("staged", "basic")
"""The plugins that an example stands in where several would do."""


@dataclass(frozen=True)
class InList:
    """A list on the way to a place in a space file."""


Step = Union[str, InList, PluginInfo]
"""A key of the file, a list, or a plugin inside which the way goes on."""

Tree = Union[str, list[Any], dict[str, Any]]


def example_space(info: PluginInfo, registry: Registry) -> str:
    """Write a space file that uses a plugin with its default parameters; what has no default gets a value of its type.

    Raises PluginError where no place in a space file admits the plugin's kind.
    """
    tree = _node(info, registry)
    place = place_of(info.kind, registry)
    for outer in reversed(range(len(place))):
        tree = _around(place[outer], tree, place[outer + 1 :], registry, info)
    assert isinstance(tree, dict), "a place begins with a section"
    rest: dict[str, Tree] = {} if "architecture" in tree else {"architecture": _usual("network", registry)}
    beside = _data_for(info.name, registry) if info.kind == "task" else {}
    return "\n".join(_lines({**tree, **beside, **rest}, "")) + "\n"


def place_of(kind: str, registry: Registry) -> tuple[Step, ...]:
    """Return the shortest way from the top of a space file to where a plugin of a kind may stand, through usual plugins if it can.

    The sections are read off the schema of space files and the rest off signatures: a new section or parameter that admits
    the kind is a place by itself. Raises PluginError where there is none.
    """
    order, seen = count(), set()
    waiting = [(0, 0, next(order), place, found) for place, found in _sections(registry)]
    heapq.heapify(waiting)
    while waiting:
        length, unusual, _, place, found = heapq.heappop(waiting)
        if found == kind:
            return place
        if found in seen or found not in registry.kinds():
            continue
        seen.add(found)
        for info in of_kind(registry, found):
            for parameter in info.parameters:
                if inner := kind_in(parameter.type):
                    step = (info, parameter.name) if _direct(parameter.type) else (info, parameter.name, InList())
                    further = (length + 1, unusual + (info.name not in USUAL), next(order), (*place, *step), inner)
                    heapq.heappush(waiting, further)
    raise PluginError(f"no place in a space file admits a plugin of the kind '{kind}'{nearest(kind, registry.kinds())}")


def _data_for(task: str, registry: Registry) -> dict[str, Tree]:
    """Return a data set that a task can be set for, the sizes of one where none is there."""
    serving = (info for info in of_kind(registry, "data") if issubclass(info.cls, DataSet) and task in info.cls.tasks)
    found = next((info for info in serving if not any(p.required for p in info.parameters)), None)
    return {"data": found.name} if found else {"input": {"shape": "[3, 32, 32]", "classes": "10"}}


def _sections(registry: Registry) -> Iterator[tuple[tuple[Step, ...], str]]:
    """Yield the places in the sections of a space file that admit a plugin, each with its kind."""

    def visit(schema: Mapping[str, Any], place: tuple[Step, ...]) -> Iterator[tuple[tuple[Step, ...], str]]:
        if "$ref" in schema:
            yield place, schema["$ref"].rpartition("/")[2]
        for name, inner in schema.get("properties", {}).items():
            if name not in ("choices", "shared"):
                yield from visit(inner, (*place, name))
        for member in schema.get("anyOf", ()):
            yield from visit(member, place)
        if isinstance(schema.get("items"), Mapping):
            yield from visit(schema["items"], (*place, InList()))

    yield from visit(schema_of(registry), ())


def _direct(expected: ParameterType) -> bool:
    return any(isinstance(member, PluginType) for member in members_of(expected))


def _around(step: Step, inner: Tree, rest: tuple[Step, ...], registry: Registry, info: PluginInfo) -> Tree:
    if isinstance(step, InList):
        return [inner]
    if isinstance(step, str):
        return {step: inner}
    assert isinstance(inner, dict), "after a plugin comes the parameter"
    needed = {p.name: _value(p.type, registry) for p in step.parameters if p.required and p.name != rest[0]}
    return {step.name: {**needed, **inner, **_shortcut_for(info, step)}}


def _shortcut_for(info: PluginInfo, around: PluginInfo) -> dict[str, Tree]:
    """Return the shortcut to set beside a block that does not run with the one it would have by default."""
    declared = info.cls.shortcuts if issubclass(info.cls, Block) else None
    found = {p.name: p.default for p in around.parameters if kind_in(p.type) == "shortcut"}
    return {name: declared[0] for name, default in found.items() if declared and getattr(default, "name", "") not in declared}


def _node(info: PluginInfo, registry: Registry) -> Tree:
    """Return a plugin with all of its parameters, the lists and plugins inside them on one line each."""
    return {info.name: {p.name: _given(p, registry) for p in info.parameters}} if info.parameters else info.name


def _given(parameter: Parameter, registry: Registry) -> str:
    return _value(parameter.type, registry) if parameter.required else as_yaml(parameter.default)


def _value(expected: ParameterType, registry: Registry) -> str:
    """Return some value of a type, for a parameter that has no default."""
    member = members_of(expected)[0]
    if isinstance(member, OneOf):
        return as_yaml(member.values[0])
    if isinstance(member, ListType):
        return f"[{_value(member.item, registry)}]"
    if isinstance(member, PluginType):
        return _usual(member.kind, registry)
    if isinstance(member, NothingType):
        return "null"
    assert isinstance(member, ScalarType), "the other members of a union are no members themselves"
    return as_yaml(_scalar(member))


def _scalar(expected: ScalarType) -> bool | int | float | str:
    if expected.python in (bool, str):
        return False if expected.python is bool else "text"
    low, high = expected.bounds.low, expected.bounds.high
    number = expected.python(1 if low is None else max(low, 1))
    return number if high is None else min(number, expected.python(high))  # type: ignore[no-any-return]  # int or float


def _usual(kind: str, registry: Registry) -> str:
    """Return a plugin of a kind that needs no parameters, a usual one if there is one."""
    names = [info.name for info in of_kind(registry, kind) if not any(p.required for p in info.parameters)]
    return next((name for name in USUAL if name in names), names[0] if names else registry.names(kind)[0])


def _lines(tree: Tree, indent: str) -> Iterator[str]:
    """Yield a tree as YAML, a key a line."""
    if isinstance(tree, str):
        yield f"{indent}{tree}"
        return
    for key, inner in tree.items() if isinstance(tree, dict) else (("-", item) for item in tree):
        head = f"{indent}{key}" if key == "-" else f"{indent}{key}:"
        if isinstance(inner, str):
            yield f"{head} {inner}"
        else:
            yield head
            yield from _lines(inner, f"{indent}  ")
