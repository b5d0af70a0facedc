"""Layer 2: turns YAML trees into templates, each value checked against the type that a plugin's signature declares."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from nas.errors import PluginError, SpaceError, Where, nearest
from nas.registry.registry import Registry
from nas.registry.signature import (
    ListType,
    NothingType,
    OneOf,
    Parameter,
    ParameterType,
    PluginType,
    ScalarType,
    UnionType,
    kind_in,
    members_of,
)
from nas.space.templates import Decision, Fixed, ListTemplate, NodeTemplate, Template
from nas.space.yaml_tree import Entry, MappingTree, ScalarTree, SequenceTree, Tree, describe
from nas.values.architecture import PluginNode
from nas.values.domains import Choices, FloatRange, IntRange, Scalar

DOMAIN_KEYS = {"choices": {"choices"}, "int": {"int", "step", "log"}, "float": {"float", "log"}, "shared": {"shared"}}


@dataclass(frozen=True)
class Parser:
    """Parses the values of one file. `shared` holds the decisions that are made once and used by name."""

    file: str
    registry: Registry
    shared: MappingTree | None = None

    def fail(self, message: str, tree: Tree | Entry, path: str) -> SpaceError:
        """Return the error for a place in the file."""
        return SpaceError(message, Where(self.file, tree.line, path))

    def value(self, tree: Tree, expected: ParameterType, path: str) -> Template:
        """Parse a value of a declared type: a constant, a domain, a plugin node or a list."""
        if isinstance(tree, MappingTree):
            domain = next((key for key in DOMAIN_KEYS if tree.get(key) is not None), None)
            if domain:
                return self._domain(domain, tree, expected, path)
        members = expected.members if isinstance(expected, UnionType) else (expected,)
        return self._constant(tree, members, expected, path)

    def _constant(self, tree: Tree, members: tuple[ParameterType, ...], expected: ParameterType, path: str) -> Template:
        for member in members:
            if isinstance(member, ListType) and isinstance(tree, SequenceTree):
                items = (self.value(item, member.item, f"{path}.{i}") for i, item in enumerate(tree.items))
                return ListTemplate(tuple(items))
            if isinstance(member, PluginType) and not isinstance(tree, SequenceTree):
                return self.node(tree, member.kind, path)
        if isinstance(tree, ScalarTree):
            for member in members:
                parsed = _scalar(tree, member)
                if parsed is not None:
                    return parsed
        raise self.fail(f"must be {expected}, got {describe(tree)}{_hint(tree, members)}", tree, path)

    def node(self, tree: Tree, kind: str, path: str) -> NodeTemplate:
        """Parse a plugin node: a name, or `{name: {parameter: value, …}}`."""
        if isinstance(tree, ScalarTree):
            name, inner = tree.text, None
        elif isinstance(tree, MappingTree) and len(tree.entries) == 1:
            name, inner = tree.entries[0].key, tree.entries[0].value
        else:
            raise self.fail(
                f"must be a {kind}: a name, or `{{name: {{parameter: value}}}}`, got {describe(tree)}; "
                f"there are: {', '.join(self.registry.names(kind))}", tree, path,
            )  # fmt: skip
        try:
            info = self.registry.find(kind, name)
            declared = info.parameters
        except PluginError as error:
            raise self.fail(str(error), tree, path) from None
        if inner is not None and isinstance(inner, ScalarTree) and inner.is_null:
            inner = None
        if inner is not None and not isinstance(inner, MappingTree):
            raise self.fail(f"the parameters of {kind} '{name}' must be a mapping, got {describe(inner)}", inner, f"{path}.{name}")
        return self.section(inner, declared, f"{path}.{name}", kind=kind, name=name, line=tree)

    def section(
        self, tree: MappingTree | None, declared: tuple[Parameter, ...], path: str, *, kind: str, name: str, line: Tree | None = None
    ) -> NodeTemplate:
        """Parse `parameter: value` pairs against declared parameters; what is not given gets its default."""
        known = {parameter.name: parameter for parameter in declared}
        for entry in tree or ():
            if entry.key not in known:
                what = f"{kind} '{name}'" if kind != name else f"`{kind}:`"
                raise self.fail(f"unknown parameter of {what}{nearest(entry.key, known)}", entry, f"{path}.{entry.key}")
        parameters: list[tuple[str, Template]] = []
        for parameter in declared:
            given = tree.get(parameter.name) if tree else None
            inner = f"{path}.{parameter.name}"
            if given is not None:
                parameters.append((parameter.name, self.value(given, parameter.type, inner)))
            elif parameter.required:
                where = tree or line
                raise SpaceError(
                    f"must be given ({parameter.type}); {kind} '{name}' has no default for it",
                    Where(self.file, where.line if where else 0, inner),
                )
            else:
                parameters.append((parameter.name, self.default(parameter.default, parameter.type)))
        return NodeTemplate(kind, name, tuple(parameters))

    def default(self, value: Any, expected: ParameterType) -> Template:
        """Turn a default out of a signature into a template, nested plugins completed with their own defaults."""
        if isinstance(value, PluginNode):
            kind = kind_in(expected)
            info, given = self.registry.find(kind, value.name), dict(value.parameters)
            inner = ((p.name, self.default(given.get(p.name, p.default), p.type)) for p in info.parameters)
            return NodeTemplate(kind, value.name, tuple(inner))
        if isinstance(value, tuple):
            item = next((m.item for m in members_of(expected) if isinstance(m, ListType)), expected)
            return ListTemplate(tuple(self.default(v, item) for v in value))
        return Fixed(value)

    def _domain(self, key: str, tree: MappingTree, expected: ParameterType, path: str) -> Template:
        for entry in tree:
            if entry.key not in DOMAIN_KEYS[key]:
                raise self.fail(f"a domain of `{key}` has no '{entry.key}'{nearest(entry.key, DOMAIN_KEYS[key])}", entry, path)
        inner = tree.get(key)
        assert inner is not None  # the caller found the key
        if key == "shared":
            return self._shared(inner, expected, path)
        if key == "choices":
            return self._choices(inner, expected, path)
        return self._range(key, inner, tree, expected, path)

    def _shared(self, name: Tree, expected: ParameterType, path: str) -> Template:
        names = [entry.key for entry in self.shared or ()]
        if not isinstance(name, ScalarTree) or name.text not in names:
            raise self.fail(f"must name an entry of the section `shared:`, got {describe(name)}{nearest(describe(name), names)}", name, path)
        tree = self.shared.get(name.text) if self.shared else None
        assert tree is not None  # the name is one of the section's keys
        return replace(self, shared=None).value(tree, expected, f"shared.{name.text}")

    def _choices(self, tree: Tree, expected: ParameterType, path: str) -> Decision:
        if not isinstance(tree, SequenceTree) or not tree.items:
            raise self.fail(f"`choices` must be a list with at least one entry, got {describe(tree)}", tree, path)
        plain = [self.value(item, expected, path) for item in tree.items]
        labels = _labels(plain)
        for i, label in enumerate(labels):
            if any(label == other and type(label) is type(other) for other in labels[:i]):
                raise self.fail(f"the choice {label} stands there twice", tree.items[i], path)
        options = tuple(_under_label(o, path, label) for o, label in zip(plain, labels, strict=True))
        return Decision(path, Choices(tuple(labels)), options)

    def _range(self, key: str, tree: Tree, whole: MappingTree, expected: ParameterType, path: str) -> Decision:
        number = next(
            (m for m in members_of(expected) if isinstance(m, ScalarType) and m.python in (int, float) and (key == "float") <= (m.python is float)),
            None,
        )
        if number is None:
            raise self.fail(f"must be {expected}; a range `{key}` does not fit", whole, path)
        kind = ScalarType(int if key == "int" else float, number.bounds)
        ends = tree.items if isinstance(tree, SequenceTree) else ()
        if len(ends) != 2:
            raise self.fail(f"`{key}` must be [low, high], got {describe(tree)}", tree, path)
        low, high = (self._number(end, kind, path) for end in ends)
        if low > high:
            raise self.fail(f"low must not be above high, got [{low}, {high}]", tree, path)
        log_tree, step_tree = whole.get("log"), whole.get("step")
        log = bool(self._plain(log_tree, ScalarType(bool), f"{path}.log")) if log_tree else False
        if log and low <= 0:
            raise self.fail(f"a logarithmic range must start above 0, got {low}", tree, path)
        if key == "float":
            return Decision(path, FloatRange(float(low), float(high), log))
        step = int(self._number(step_tree, ScalarType(int), f"{path}.step")) if step_tree else 1
        if step < 1 or (log and step != 1):
            raise self.fail(f"`step` must be 1 or more, and 1 in a logarithmic range, got {step}", whole, path)
        return Decision(path, IntRange(int(low), int(high), step, log))

    def _number(self, tree: Tree, kind: ScalarType, path: str) -> float:
        return float(self._plain(tree, kind, path)) if kind.python is float else self._plain(tree, kind, path)

    def _plain(self, tree: Tree, kind: ParameterType, path: str) -> Any:
        parsed = self._constant(tree, (kind,), kind, path)
        assert isinstance(parsed, Fixed)  # a scalar type parses to nothing else
        return parsed.value


def _scalar(tree: ScalarTree, member: ParameterType) -> Fixed | None:
    """Read a scalar as `member`, or return None where it is not one."""
    if isinstance(member, NothingType):
        return Fixed(None) if tree.is_null else None
    if isinstance(member, OneOf):
        return next((Fixed(value) for value in member.values if str(value) == tree.text), None)
    if not isinstance(member, ScalarType):
        return None
    if member.python is str:
        return Fixed(tree.text) if tree.quoted or not tree.is_null else None
    if tree.quoted:
        return None
    if member.python is bool:
        return {"true": Fixed(True), "false": Fixed(False)}.get(tree.text)
    try:
        number = member.python(tree.text)
    except ValueError:
        return None
    low, high = member.bounds.low, member.bounds.high
    inside = math.isfinite(number) and (low is None or number >= low) and (high is None or number <= high)
    return Fixed(number) if inside else None


def _hint(tree: Tree, members: tuple[ParameterType, ...]) -> str:
    if isinstance(tree, ScalarTree):
        if any(m == ScalarType(bool) for m in members) and tree.text.lower() in ("on", "off", "yes", "no", "true", "false"):
            return "; write true or false"
        for member in members:
            if isinstance(member, OneOf):
                return nearest(tree.text, (str(v) for v in member.values))
    return ""


def _labels(options: list[Template]) -> list[Scalar]:
    """Name each option: scalars by themselves, nodes by their name where that is unique, else by what is written."""
    names = [option.name for option in options if isinstance(option, NodeTemplate)]
    labels: list[Scalar] = []
    for option in options:
        if isinstance(option, Fixed):
            labels.append(option.value)
        elif isinstance(option, NodeTemplate) and names.count(option.name) == 1:
            labels.append(option.name)
        else:
            labels.append(_written(option, [o for o in options if o is not option]))
    return labels


def _written(option: Template, others: list[Template]) -> str:
    """Write an option on one line; of a plugin only the parameters in which its namesakes differ."""
    if isinstance(option, ListTemplate):
        return "-".join(_written(item, []) for item in option.items)
    if isinstance(option, NodeTemplate):
        twins = [dict(o.parameters) for o in others if isinstance(o, NodeTemplate) and o.name == option.name]
        told = [(n, v) for n, v in option.parameters if any(t.get(n) != v for t in twins)]
        inner = ", ".join(f"{name}={_written(value, [])}" for name, value in told)
        return f"{option.name}({inner})" if inner else option.name
    if isinstance(option, Decision):
        return str(option.domain)
    return f"{option.value:g}" if isinstance(option.value, float) else str(option.value)


def _under_label(option: Template, path: str, label: Scalar) -> Template:
    """Two choices of one plugin: what is inside each is decided apart, under its label instead of its name."""
    if not isinstance(option, NodeTemplate) or label == option.name:
        return option
    renamed: Template = _rename(option, f"{path}.{option.name}.", f"{path}.{label}.")
    return renamed


def _rename(template: Template, old: str, new: str) -> Any:
    if isinstance(template, Decision):
        path = new + template.path[len(old) :] if template.path.startswith(old) else template.path
        return Decision(path, template.domain, tuple(_rename(o, old, new) for o in template.options))
    if isinstance(template, NodeTemplate):
        return replace(template, parameters=tuple((n, _rename(v, old, new)) for n, v in template.parameters))
    if isinstance(template, ListTemplate):
        return ListTemplate(tuple(_rename(item, old, new) for item in template.items))
    return template
