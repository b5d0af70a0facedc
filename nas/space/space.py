"""Layer 2: a space file as a typed value: what may vary, how it is trained, searched and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from nas.errors import SpaceError, UserError, Where, nearest
from nas.recipe import Recipe
from nas.registry.registry import Registry
from nas.registry.signature import Parameter, PluginType, ScalarType, parameters_of
from nas.space.parser import Parser
from nas.space.sections import Constraint, InputOptions, MeasureOptions, SearchOptions
from nas.space.templates import Decision, Fixed, ListTemplate, NodeTemplate, Placed, Template, decisions_in, plugins_in
from nas.space.yaml_tree import MappingTree, ScalarTree, SequenceTree, Tree, describe, read_yaml
from nas.values.architecture import key_of
from nas.values.domains import Choices, Scalar

SECTIONS = ("name", "data", "input", "architecture", "train", "search", "measure", "constraints", "shared", "seed")


@dataclass(frozen=True)
class Space:
    """One space file, parsed and checked against the plugins' signatures."""

    name: str
    file: str
    text: str
    data: Template
    architecture: Template
    train: NodeTemplate
    search: SearchOptions
    measure: MeasureOptions | None
    constraints: tuple[Constraint, ...]
    seed: int
    input: InputOptions | None
    registry: Registry

    @cached_property
    def placed(self) -> tuple[Placed, ...]:
        """Every decision with its conditions, in the order in which they are made; one that is used twice comes twice."""
        return tuple(p for root in (self.architecture, self.train, self.data) for p in decisions_in(root))

    @cached_property
    def decisions(self) -> Mapping[str, Decision]:
        """Every decision by its path."""
        return {placed.decision.path: placed.decision for placed in self.placed}

    def identity(self) -> dict[str, Any]:
        """Return what makes this a study of its own, as plain data: all but how many trials and replicates there are."""
        roots = {"architecture": self.architecture, "train": self.train, "data": self.data}
        used = {plugin for root in roots.values() for plugin in plugins_in(root)} - {("train", "train")}
        return {
            **{name: repr(root) for name, root in roots.items()},
            "constraints": [str(c) for c in self.constraints],
            "search": f"{self.search.direction} {self.search.objective}, {self.search.sampler}, {self.search.pruner}",
            "seed": self.seed,
            "plugins": dict(self.registry.sources(used)),
        }

    @property
    def key(self) -> str:
        """The hash of `identity`, 8 digits."""
        return key_of(self.identity())[:8]

    def with_settings(self, settings: Mapping[str, str]) -> dict[str, Scalar]:
        """Read `PATH=VALUE` settings as values of decisions. Raises UserError, with the nearest name, for a wrong one."""
        return {path: self.value_of(path, text, where=Where(path=path)) for path, text in settings.items()}

    def value_of(self, path: str, text: str, where: Where) -> Scalar:
        """Read `text` as a value of the decision `path`. Raises SpaceError where either does not fit."""
        decision = self.decisions.get(path)
        if decision is None:
            raise SpaceError(f"'{path}' is no decision of this space{nearest(path, self.decisions)}", where)
        value = _read_as(decision, text)
        if value is None and not decision.domain.contains(None):
            raise SpaceError(f"'{text}' is not among the values of {path}, which are {decision.domain}", where)
        return value


def _read_as(decision: Decision, text: str) -> Scalar:
    domain = decision.domain
    if isinstance(domain, Choices):
        return next((label for label in domain.labels if str(label) == text or _same_number(label, text)), None)
    for convert in (int, float):
        try:
            value = convert(text)
        except ValueError:
            continue
        if domain.contains(value):
            return value
    return None


def _same_number(label: Scalar, text: str) -> bool:
    try:
        return not isinstance(label, bool) and isinstance(label, int | float) and float(text) == label
    except ValueError:
        return False


def load_space(file: str | Path, registry: Registry) -> Space:
    """Read and check a space file. Raises SpaceError with file, line, path, rule and value for anything wrong in it."""
    path = Path(file)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise UserError(f"cannot read the space file {file}: {reason}") from None
    return parse_space(text, str(file), registry)


def parse_space(text: str, file: str, registry: Registry) -> Space:
    """Parse the text of a space file; `file` is only for messages. Raises SpaceError as `load_space` does."""
    tree = read_yaml(text, file)
    if not isinstance(tree, MappingTree):
        raise SpaceError(f"a space must be a mapping of sections, got {describe(tree)}", Where(file, tree.line))
    for entry in tree:
        if entry.key not in SECTIONS:
            raise SpaceError(f"unknown section{nearest(entry.key, SECTIONS)}", Where(file, entry.line, entry.key))
    shared = tree.get("shared")
    parser = Parser(file, registry, shared if isinstance(shared, MappingTree) else None)
    architecture = tree.get("architecture")
    if architecture is None:
        raise SpaceError(f"the section `architecture:` is missing; it names a network: {', '.join(registry.names('network'))}", Where(file))
    space = Space(
        name=_name(parser, tree.get("name"), file),
        file=file,
        text=text,
        data=parser.value(tree.get("data") or ScalarTree("digits", tree.line), PluginType("data"), "data"),
        architecture=parser.value(architecture, PluginType("network"), "architecture"),
        train=parser.section(_mapping(parser, tree, "train"), parameters_of(Recipe, "train"), "train", kind="train", name="train"),
        search=_search(parser, tree),
        measure=None,
        constraints=_constraints(parser, tree.get("constraints")),
        seed=_plain(parser, tree.get("seed"), ScalarType(int), "seed", 0),
        input=_input(parser, tree),
        registry=registry,
    )
    _refuse_clashing_paths(space)
    measure = _mapping(parser, tree, "measure")
    return replace(space, measure=_measure(parser, space, measure)) if measure else space


def _name(parser: Parser, tree: Tree | None, file: str) -> str:
    name: str = _plain(parser, tree, ScalarType(str), "name", Path(file).stem)
    if not name or not all(c.isalnum() or c in "-_." for c in name):
        raise parser.fail(f"must be a word of letters, digits, '-', '_' and '.', got '{name}'", tree or ScalarTree("", 0), "name")
    return name


def _mapping(parser: Parser, tree: MappingTree, key: str) -> MappingTree | None:
    inner = tree.get(key)
    if inner is None or (isinstance(inner, ScalarTree) and inner.is_null):
        return None
    if not isinstance(inner, MappingTree):
        raise parser.fail(f"must be a mapping, got {describe(inner)}", inner, key)
    return inner


def _plain(parser: Parser, tree: Tree | None, expected: Any, path: str, default: Any) -> Any:
    if tree is None:
        return default
    parsed = parser.value(tree, expected, path)
    if not isinstance(parsed, Fixed):
        raise parser.fail("must be a constant here, not a decision", tree, path)
    return parsed.value


def _constants(parser: Parser, tree: MappingTree | None, declared: tuple[Parameter, ...], name: str) -> dict[str, Any]:
    node = parser.section(tree, declared, name, kind=name, name=name)
    for key, value in node.parameters:
        given = tree.get(key) if tree else None
        if not isinstance(value, Fixed) and given is not None:
            raise parser.fail("must be a constant here, not a decision", given, f"{name}.{key}")
    return {key: value.value for key, value in node.parameters if isinstance(value, Fixed)}


def _search(parser: Parser, tree: MappingTree) -> SearchOptions:
    inner = _mapping(parser, tree, "search")
    options = SearchOptions(**_constants(parser, inner, parameters_of(SearchOptions, "search"), "search"))
    if options.maximize and options.minimize:
        raise parser.fail("give one of `maximize` and `minimize`, got both", inner or tree, "search")
    if options.trials is None and options.minutes is None:
        options = replace(options, trials=30)
    return options


def _input(parser: Parser, tree: MappingTree) -> InputOptions | None:
    inner = _mapping(parser, tree, "input")
    if inner is None:
        return None
    if tree.get("data"):
        raise parser.fail("stands in for data, and `data:` is given too; remove one of them", inner, "input")
    node = parser.section(inner, parameters_of(InputOptions, "input"), "input", kind="input", name="input")
    values = {name: value for name, value in node.parameters}
    shape, classes = values["shape"], values["classes"]
    if not isinstance(shape, ListTemplate) or not isinstance(classes, Fixed) or not all(isinstance(i, Fixed) for i in shape.items):
        raise parser.fail("must be constants, like `{shape: [3, 32, 32], classes: 10}`", inner, "input")
    return InputOptions(shape=tuple(i.value for i in shape.items), classes=classes.value)  # type: ignore[union-attr, misc, arg-type]  # checked above


def _constraints(parser: Parser, tree: Tree | None) -> tuple[Constraint, ...]:
    if tree is None:
        return ()
    if not isinstance(tree, SequenceTree):
        raise parser.fail(f"must be a list like `[parameters <= 1M]`, got {describe(tree)}", tree, "constraints")
    found = []
    for i, item in enumerate(tree.items):
        try:
            found.append(Constraint.parse(item.text if isinstance(item, ScalarTree) else describe(item)))
        except ValueError as error:
            raise parser.fail(str(error), item, f"constraints.{i}") from None
    return tuple(found)


def _refuse_clashing_paths(space: Space) -> None:
    domains: dict[str, Decision] = {}
    for placed in space.placed:
        known = domains.setdefault(placed.decision.path, placed.decision)
        if known.domain != placed.decision.domain:
            raise SpaceError(
                f"is decided once but used with two domains, {known.domain} and {placed.decision.domain}; give each use its own",
                Where(space.file, 0, placed.decision.path),
            )


def _measure(parser: Parser, space: Space, tree: MappingTree) -> MeasureOptions:
    from nas.space.measure_section import read_measure  # below this module in the file's own order: needs Space

    return read_measure(parser, space, tree)


__all__ = ["NodeTemplate", "Space", "load_space", "parse_space"]
