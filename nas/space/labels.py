"""Layer 2: names the options of a choice, so that a label says what is chosen and nothing more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar, cast

from nas.space.templates import Decision, Fixed, ListTemplate, NodeTemplate, Template
from nas.values.domains import Scalar, written

T = TypeVar("T", bound=Template)
Differ = Callable[[Template, Template], bool]


def labels_of(options: Sequence[Template]) -> tuple[Scalar, ...]:
    """Name each option: scalars by themselves, plugins by name, namesakes by what they differ in: `gated(bias=-6)`.

    Constants tell namesakes apart where they can; decisions inside are written out only where nothing else would.
    """
    for compared in (_constants_differ, _differ):
        labels = tuple(
            option.value if isinstance(option, Fixed) else _written(option, [o for o in options if o is not option], compared)
            for option in options
        )
        if len(set(labels)) == len(labels):
            break
    return labels


def under_label(option: Template, path: str, label: Scalar) -> Template:
    """Return an option with the decisions inside it named by its label, where its plugin's name would not tell it apart."""
    if isinstance(option, NodeTemplate):
        return option if label == option.name else _rename(option, f"{path}.{option.name}.", f"{path}.{label}.")
    return _rename(option, f"{path}.", f"{path}.{label}.")


def _written(option: Template, others: Sequence[Template], differ: Differ) -> str:
    """Write an option on one line; of a plugin only the parameters in which its namesakes among `others` differ."""
    if isinstance(option, ListTemplate):
        lists = [o.items for o in others if isinstance(o, ListTemplate)]
        return "-".join(_written(item, [t[i] for t in lists if i < len(t)], differ) for i, item in enumerate(option.items))
    if isinstance(option, NodeTemplate):
        twins = [dict(o.parameters) for o in others if isinstance(o, NodeTemplate) and o.name == option.name]
        told = [(n, v, [t[n] for t in twins]) for n, v in option.parameters if any(differ(t[n], v) for t in twins)]
        inner = ", ".join(f"{name}={_written(value, values, differ)}" for name, value, values in told)
        return f"{option.name}({inner})" if inner else option.name
    if isinstance(option, Decision):
        decisions = [dict(o.labelled()) for o in others if isinstance(o, Decision)]
        told_labels = (_labelled(label, chosen, [d[label] for d in decisions if label in d]) for label, chosen in option.labelled())
        return "{" + ", ".join(told_labels) + "}" if option.options else str(option.domain)
    return written(option.value)


def _labelled(label: Scalar, chosen: Template, twins: Sequence[Template]) -> str:
    return written(label) if all(twin == chosen for twin in twins) else _written(chosen, twins, _differ)


def _differ(one: Template, other: Template) -> bool:
    return one != other


def _constants_differ(one: Template, other: Template) -> bool:
    return one != other and not isinstance(one, Decision) and not isinstance(other, Decision)


def _rename(template: T, old: str, new: str) -> T:
    """Return a template in which every decision whose path begins with `old` begins with `new`."""
    renamed: Template = template
    if isinstance(template, Decision):
        path = new + template.path[len(old) :] if template.path.startswith(old) else template.path
        renamed = Decision(path, template.domain, tuple(_rename(o, old, new) for o in template.options))
    elif isinstance(template, NodeTemplate):
        renamed = replace(template, parameters=tuple((n, _rename(v, old, new)) for n, v in template.parameters))
    elif isinstance(template, ListTemplate):
        renamed = ListTemplate(tuple(_rename(item, old, new) for item in template.items))
    return cast(T, renamed)
