"""Layer 2: what a space is made of: constants, decisions, plugin nodes and lists, still undecided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Union

from nas.values.architecture import PluginNode, Value
from nas.values.domains import Choices, Domain, IntRange, Scalar


@dataclass(frozen=True)
class Fixed:
    """A constant."""

    value: Scalar


@dataclass(frozen=True)
class Decision:
    """A point where a value is chosen. `path` names it; `options` holds what each label of a choice stands for."""

    path: str
    domain: Domain
    options: tuple[Template, ...] = ()

    def option(self, label: Scalar) -> Template:
        """Return what `label` stands for: the chosen template, or the value itself for a range."""
        if not self.options:
            return Fixed(label)
        return next(o for known, o in self.labelled() if known == label and type(known) is type(label))

    def labelled(self) -> Iterator[tuple[Scalar, Template]]:
        """Yield each label with what it stands for; nothing for a range."""
        yield from zip(getattr(self.domain, "labels", ()), self.options, strict=False)


@dataclass(frozen=True)
class NodeTemplate:
    """A plugin by name, every parameter given or defaulted, in the order of its signature."""

    kind: str
    name: str
    parameters: tuple[tuple[str, Template], ...]


@dataclass(frozen=True)
class ListTemplate:
    """A list whose items may hold decisions of their own."""

    items: tuple[Template, ...]


Template = Union[Fixed, Decision, NodeTemplate, ListTemplate]


@dataclass(frozen=True)
class Placed:
    """A decision with the choices it hangs on: it exists only where each (decision path, label) of `under` was chosen."""

    decision: Decision
    under: tuple[tuple[str, Scalar], ...]


def children(template: Template) -> tuple[Template, ...]:
    """Return what stands directly inside a template: parameters, items, or the options of a choice."""
    if isinstance(template, NodeTemplate):
        return tuple(inner for _, inner in template.parameters)
    return template.items if isinstance(template, ListTemplate) else getattr(template, "options", ())


def decisions_in(template: Template, under: tuple[tuple[str, Scalar], ...] = ()) -> Iterator[Placed]:
    """Yield every decision of a template with its conditions, outer ones first; a shared one comes once for each use."""
    if not isinstance(template, Decision):
        for inner in children(template):
            yield from decisions_in(inner, under)
        return
    yield Placed(template, under)
    for label, option in template.labelled():
        yield from decisions_in(option, (*under, (template.path, label)))


def plugins_in(template: Template) -> Iterator[tuple[str, str]]:
    """Yield (kind, name) of every plugin that a template can use."""
    if isinstance(template, NodeTemplate):
        yield template.kind, template.name
    for inner in children(template):
        yield from plugins_in(inner)


def decided(template: Template) -> Value:
    """Return what a template without decisions stands for. Raises ValueError, with its path, for the first decision."""
    if isinstance(template, Fixed):
        return template.value
    if isinstance(template, ListTemplate):
        return tuple(map(decided, template.items))
    if isinstance(template, NodeTemplate):
        return PluginNode(template.name, tuple((name, decided(inner)) for name, inner in template.parameters))
    raise ValueError(template.path)


def document_of(template: Template, place: str) -> dict[str, Any]:
    """Write a template as flat plain data, place by place: what it means and nothing else.

    A constant stands as its value, a plugin as its name, a list as its length, a decision as its domain. Equal meanings give
    equal documents, whatever the comments, the order of keys or the form of numbers in the file they come from.
    """
    if isinstance(template, Fixed):
        return {place: template.value}
    if isinstance(template, NodeTemplate):
        found: dict[str, Any] = {place: template.name}
        for name, inner in template.parameters:
            found |= document_of(inner, f"{place}.{template.name}.{name}")
        return found
    if isinstance(template, ListTemplate):
        found = {place: len(template.items)}
        for i, item in enumerate(template.items):
            found |= document_of(item, f"{place}.{i}")
        return found
    found = {} if template.path == place else {place: {"shared": template.path}}
    found[template.path] = _plain(template.domain)
    for label, option in template.labelled():
        if not isinstance(option, Fixed):
            found |= document_of(option, f"{template.path}[{label}]")
    return found


def _plain(domain: Domain) -> dict[str, Any]:
    if isinstance(domain, Choices):
        return {"choices": list(domain.labels)}
    kind = "int" if isinstance(domain, IntRange) else "float"
    return {kind: [domain.low, domain.high], "step": getattr(domain, "step", None), "log": domain.log}
