"""Layer 2: what a space is made of: constants, decisions, plugin nodes and lists, still undecided."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union

from nas.values.domains import Domain, Scalar


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
        labels = self.domain.labels  # type: ignore[union-attr]  # only choices have options
        return next(o for known, o in zip(labels, self.options, strict=True) if known == label and type(known) is type(label))


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


def decisions_in(template: Template, under: tuple[tuple[str, Scalar], ...] = ()) -> Iterator[Placed]:
    """Yield every decision of a template with its conditions, outer ones first; a shared one comes once for each use."""
    if isinstance(template, Decision):
        yield Placed(template, under)
        for label, option in zip(getattr(template.domain, "labels", ()), template.options, strict=False):
            yield from decisions_in(option, (*under, (template.path, label)))
    elif isinstance(template, NodeTemplate):
        for _, inner in template.parameters:
            yield from decisions_in(inner, under)
    elif isinstance(template, ListTemplate):
        for inner in template.items:
            yield from decisions_in(inner, under)


def plugins_in(template: Template) -> Iterator[tuple[str, str]]:
    """Yield (kind, name) of every plugin that a template can use."""
    if isinstance(template, NodeTemplate):
        yield template.kind, template.name
        for _, inner in template.parameters:
            yield from plugins_in(inner)
    elif isinstance(template, Decision):
        for option in template.options:
            yield from plugins_in(option)
    elif isinstance(template, ListTemplate):
        for item in template.items:
            yield from plugins_in(item)
