"""Layer 2: turns YAML trees into templates, each value checked against the type that a plugin's signature declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nas.errors import PluginError, SpaceError, Where, listed, nearest, shown
from nas.registry.registry import Registry
from nas.registry.signature import ListType, Parameter, ParameterType, PluginType, ScalarType, kind_in, members_of
from nas.space.domain_parser import DOMAIN_KEYS, domain_key, read_domain
from nas.space.scalars import advice, read_scalar
from nas.space.templates import Fixed, ListTemplate, NodeTemplate, Template
from nas.space.yaml_tree import Entry, MappingTree, ScalarTree, SequenceTree, Tree, describe
from nas.values.architecture import PluginNode, write
from nas.values.domains import written

MAX_NESTED_DEFAULTS = 20


@dataclass(frozen=True)
class Parser:
    """Parses the values of one file.

    `shared` holds the entries of the section `shared:`; `used` collects the names of those that something uses, and
    `within` names those that are being read just now.
    """

    file: str
    registry: Registry
    shared: Mapping[str, Entry] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    within: tuple[str, ...] = ()

    def fail(self, message: str, tree: Tree | Entry, path: str) -> SpaceError:
        """Return the error for a place in the file."""
        return SpaceError(message, Where(self.file, tree.line, path))

    def value(self, tree: Tree, expected: ParameterType, path: str) -> Template:
        """Parse a value of a declared type: a constant, a domain, a plugin node or a list."""
        if isinstance(tree, MappingTree) and (key := domain_key(tree)):
            return read_domain(self, key, tree, expected, path)
        parsed = read_scalar(tree, expected) if isinstance(tree, ScalarTree) else None
        for member in members_of(expected):
            if isinstance(member, ListType) and isinstance(tree, SequenceTree):
                return ListTemplate(tuple(self.value(item, member.item, f"{path}.{i}") for i, item in enumerate(tree.items)))
            if isinstance(member, PluginType) and not isinstance(tree, SequenceTree):
                named = isinstance(tree, ScalarTree) and tree.text in self.registry.names(member.kind)
                if named or parsed is None:
                    return self.node(tree, member.kind, path)
        if parsed is None:
            raise self.fail(f"must be {expected}, got {describe(tree)}{advice(tree, expected)}", tree, path)
        return parsed

    def constant(self, tree: Tree, expected: ParameterType, path: str) -> Any:
        """Parse a value that cannot be a decision: a scalar, or a tuple of scalars."""
        lists = any(isinstance(member, ListType) for member in members_of(expected))
        if not isinstance(tree, ScalarTree) and not lists and not (isinstance(tree, MappingTree) and domain_key(tree)):
            raise self.fail(f"must be {expected}, got {describe(tree)}", tree, path)
        parsed = self.value(tree, expected, path)
        if isinstance(parsed, ListTemplate) and all(isinstance(item, Fixed) for item in parsed.items):
            return tuple(item.value for item in parsed.items if isinstance(item, Fixed))
        if not isinstance(parsed, Fixed):
            raise self.fail("must be a constant; decisions stand under architecture, train and data", tree, path)
        return parsed.value

    def node(self, tree: Tree, kind: str, path: str) -> NodeTemplate:
        """Parse a plugin node: a name, or `{name: {parameter: value, …}}`."""
        name, inner = self._name_of(tree, kind, path)
        if name not in self.registry.names(kind):
            raise self.fail(f"unknown {kind} '{shown(name)}'{self._hint(tree, kind, name)}", tree, path)
        declared = self.registry.find(kind, name).parameters
        if inner is not None and isinstance(inner, ScalarTree) and inner.is_null:
            inner = None
        if inner is not None and not isinstance(inner, MappingTree):
            form = f"write `{name}: {{{declared[0].name}: …}}`" if declared else f"it has none: write `{name}`"
            raise self.fail(f"the parameters of {kind} '{name}' must be a mapping, got {describe(inner)}; {form}", inner, f"{path}.{name}")
        return self.section(inner, declared, f"{path}.{name}", kind=kind, name=name, line=tree.line)

    def section(
        self, tree: MappingTree | None, declared: tuple[Parameter, ...], path: str, *, kind: str, name: str, line: int = 0
    ) -> NodeTemplate:
        """Parse `parameter: value` pairs against declared parameters; what is not given gets its default.

        `kind` is that of the plugin `name`, or the name of a section of the file.
        """
        plugin = kind in self.registry.kinds()
        told = f"{kind} '{name}'" if plugin else f"`{kind}:`"
        known = {parameter.name: parameter for parameter in declared}
        for entry in tree or ():
            if entry.key not in known:
                hint = nearest(entry.key, known) or "; it has none"
                raise self.fail(f"unknown parameter of {told}{hint}", entry, f"{path}.{entry.key}")
        parameters: list[tuple[str, Template]] = []
        for parameter in declared:
            given, inner = tree.get(parameter.name) if tree else None, f"{path}.{parameter.name}"
            if given is not None:
                parsed = self.value(given, parameter.type, inner)
            elif parameter.required:
                place = Where(self.file, tree.line if tree else line, inner)
                raise SpaceError(f"must be given ({parameter.type}); {told} has no default for it", place)
            else:
                owner = f"{self.registry.find(kind, name).file}: {told}" if plugin else told
                parsed = self.default(parameter, owner)
            parameters.append((parameter.name, parsed))
        return NodeTemplate(kind, name, tuple(parameters))

    def default(self, parameter: Parameter, owner: str) -> Template:
        """Turn a default out of a signature into a template, nested plugins completed with their own defaults.

        Raises PluginError for a default that does not fit its own type: the plugin is wrong, not the file.
        """
        return self._default(parameter.default, parameter.type, f"{owner}: the default of '{parameter.name}'", 0)

    def _default(self, value: Any, expected: ParameterType, told: str, depth: int) -> Template:
        members = members_of(expected)
        if isinstance(value, PluginNode) and kind_in(expected):
            return self._default_node(value, kind_in(expected), told, depth)
        if isinstance(value, tuple | list):
            item = next((m.item for m in members if isinstance(m, ListType)), None)
            if item is not None:
                return ListTemplate(tuple(self._default(v, item, told, depth) for v in value))
        elif any(isinstance(m, ScalarType) and m.python is float for m in members) and type(value) is int:
            value = float(value)
        if isinstance(value, tuple | list | PluginNode) or read_scalar(_as_written(value), expected) != Fixed(value):
            raise PluginError(f"{told} must be {expected}, got {value!r}; mend the plugin's signature")
        return Fixed(value)

    def _default_node(self, node: PluginNode, kind: str, told: str, depth: int) -> NodeTemplate:
        if depth > MAX_NESTED_DEFAULTS:
            raise PluginError(f"{told} uses itself without end; mend the plugin's signature")
        if node.name not in self.registry.names(kind):
            raise PluginError(f"{told} is {write(node)}: unknown {kind} '{node.name}'{nearest(node.name, self.registry.names(kind))}")
        declared, given = self.registry.find(kind, node.name).parameters, dict(node.parameters)
        for name in set(given) - {p.name for p in declared}:
            raise PluginError(
                f"{told} is {write(node)}: unknown parameter '{name}' of {kind} '{node.name}'{nearest(name, (p.name for p in declared))}"
            )
        for parameter in declared:
            if parameter.required and parameter.name not in given:
                raise PluginError(f"{told} is {write(node)}: {kind} '{node.name}' needs '{parameter.name}'")
        inner = (
            (p.name, self._default(given.get(p.name, p.default), p.type, f"{told}: '{p.name}' of {kind} '{node.name}'", depth + 1))
            for p in declared
        )
        return NodeTemplate(kind, node.name, tuple(inner))

    def _name_of(self, tree: Tree, kind: str, path: str) -> tuple[str, Tree | None]:
        if isinstance(tree, ScalarTree) and not tree.is_null:
            return tree.text, None
        if isinstance(tree, MappingTree) and len(tree.entries) == 1:
            return tree.entries[0].key, tree.entries[0].value
        hint = f"; there are: {listed(self.registry.names(kind))}"
        if isinstance(tree, MappingTree) and tree.entries and tree.entries[0].key in self.registry.names(kind):
            others = [shown(entry.key) for entry in tree.entries[1:]]
            hint = f"; indent {listed(others)} under {tree.entries[0].key} to make them its parameters"
        elif "none" in self.registry.names(kind) and isinstance(tree, ScalarTree) and tree.text:
            hint = "; did you mean 'none'?"
        message = f"must be {PluginType(kind)}: a name, or `{{name: {{parameter: value}}}}`, got {describe(tree)}{hint}"
        raise self.fail(message, tree, path)

    def _hint(self, tree: Tree, kind: str, name: str) -> str:
        names = self.registry.names(kind)
        if isinstance(tree, MappingTree) and isinstance(tree.entries[0].value, SequenceTree):
            close = nearest(name, DOMAIN_KEYS)
            if "did you mean" in close:
                return close
        others = [k for k in self.registry.kinds() if name in self.registry.names(k)]
        if others and "did you mean" not in nearest(name, names):
            # A name of several kinds (identity): whoever put it into a network meant a part of one, not a probe or a data set.
            of_network = [k for k in others if k not in ("probe", "data", "task", "augmentation")]
            return f"; '{name}' is {PluginType((of_network or others)[0])}{nearest('', names)}"
        return nearest(name, names)


def _as_written(value: Any) -> ScalarTree:
    return ScalarTree(written(value), 0, quoted=isinstance(value, str))
