"""Layer 2: reads domains: `{choices: […]}`, `{int: [low, high]}`, `{float: [low, high]}` and `{shared: name}`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nas.errors import SpaceError, nearest, shown
from nas.registry.signature import ParameterType, ScalarType, members_of
from nas.space.labels import labels_of, under_label
from nas.space.templates import Decision, Template
from nas.space.yaml_tree import MappingTree, ScalarTree, SequenceTree, Tree, describe
from nas.values.domains import Choices, FloatRange, IntRange, written

if TYPE_CHECKING:
    from nas.space.parser import Parser

DOMAIN_KEYS = {"choices": {"choices"}, "int": {"int", "step", "log"}, "float": {"float", "log"}, "shared": {"shared"}}
"""What a mapping that is a domain begins with, and the keys that it may have then. No plugin may be called so."""


def domain_key(tree: MappingTree) -> str:
    """Return which kind of domain a mapping is, or '' where it is none."""
    return next((entry.key for entry in tree if entry.key in DOMAIN_KEYS), "")


def read_domain(parser: Parser, key: str, tree: MappingTree, expected: ParameterType, path: str) -> Template:
    """Read a domain of the kind `key` for a parameter of the type `expected`. Raises SpaceError for anything amiss."""
    for entry in tree:
        if entry.key in DOMAIN_KEYS and entry.key != key:
            raise parser.fail(f"must be one domain, got `{key}` and `{entry.key}`; keep one of them", entry, path)
        if entry.key not in DOMAIN_KEYS[key]:
            hint = nearest(entry.key, DOMAIN_KEYS[key] - {key}) or f"; write `{{{key}: …}}` alone"
            raise parser.fail(f"a domain of `{key}` has no '{shown(entry.key)}'{hint}", entry, path)
    inner = tree.get(key)
    assert inner is not None  # `domain_key` found it
    if key == "shared":
        return _shared(parser, inner, expected, path)
    if key == "choices":
        return _choices(parser, inner, expected, path)
    return _int_range(parser, tree, expected, path) if key == "int" else _float_range(parser, tree, expected, path)


def _shared(parser: Parser, tree: Tree, expected: ParameterType, path: str) -> Template:
    name = tree.text if isinstance(tree, ScalarTree) else ""
    if name not in parser.shared:
        hint = nearest(name, parser.shared) or "; there is none in this file"
        raise parser.fail(f"must name an entry of the section `shared:`, got {describe(tree)}{hint}", tree, path)
    if name in parser.within:
        round_trip = " → ".join((*parser.within[parser.within.index(name) :], name))
        raise parser.fail(f"shared entries use each other in a circle, {round_trip}; write one of them out", tree, path)
    parser.used.add(name)
    inside = replace(parser, within=(*parser.within, name))
    try:
        return inside.value(parser.shared[name].value, expected, f"shared.{name}")
    except SpaceError as error:
        if parser.within:  # the outermost use says it
            raise
        raise SpaceError(f"{error.message} (as it is used by {path}, line {tree.line})", error.where) from None


def _choices(parser: Parser, tree: Tree, expected: ParameterType, path: str) -> Decision:
    if not isinstance(tree, SequenceTree) or not tree.items:
        raise parser.fail(f"`choices` must be a list with at least one entry, got {describe(tree)}", tree, path)
    options = [parser.value(item, expected, path) for item in tree.items]
    for item, option in zip(tree.items, options, strict=True):
        if isinstance(option, Decision):
            raise parser.fail("a choice must be a constant, a list or a plugin, not a domain; list its values here", item, path)
    labels = labels_of(options)
    for i, label in enumerate(labels):
        if label in labels[:i]:
            first = tree.items[labels.index(label)].line
            raise parser.fail(f"the choice {written(label)} stands here twice, first on line {first}", tree.items[i], path)
    return Decision(path, Choices(labels), tuple(under_label(o, path, label) for o, label in zip(options, labels, strict=True)))


def _int_range(parser: Parser, tree: MappingTree, expected: ParameterType, path: str) -> Decision:
    kind = _number_in(expected, int)
    low_tree, high_tree, given = _ends(parser, "int", tree, path)
    if kind is None:
        values = "{float: [low, high]}" if _number_in(expected, float) else "{choices: [...]}"
        raise parser.fail(f"must be {expected}; a range `int` does not fit, write `{values}`", tree, path)
    low, high = parser.constant(low_tree, kind, path), parser.constant(high_tree, kind, path)
    _refuse_order(parser, low, high, given, path)
    log = _log(parser, tree, low, path)
    step_tree = tree.get("step")
    step = parser.constant(step_tree, ScalarType(int), f"{path}.step") if step_tree else 1
    if step < 1 or (log and step != 1):
        raise parser.fail(f"must be 1 or more, and 1 in a logarithmic range, got {step}", step_tree or tree, f"{path}.step")
    if (high - low) % step:
        reached = high - (high - low) % step
        raise parser.fail(f"steps of {step} from {low} do not reach {high}; write [{low}, {reached}]", given, path)
    return Decision(path, IntRange(low, high, step, log))


def _float_range(parser: Parser, tree: MappingTree, expected: ParameterType, path: str) -> Decision:
    kind = _number_in(expected, float)
    low_tree, high_tree, given = _ends(parser, "float", tree, path)
    if kind is None:
        values = "{int: [low, high]}" if _number_in(expected, int) else "{choices: [...]}"
        raise parser.fail(f"must be {expected}; a range `float` does not fit, write `{values}`", tree, path)
    low, high = parser.constant(low_tree, kind, path), parser.constant(high_tree, kind, path)
    _refuse_order(parser, low, high, given, path)
    return Decision(path, FloatRange(low, high, _log(parser, tree, low, path)))


def _ends(parser: Parser, key: str, tree: MappingTree, path: str) -> tuple[Tree, Tree, Tree]:
    given = tree.get(key)
    assert given is not None  # the domain is of this kind
    if not isinstance(given, SequenceTree) or len(given.items) != 2:
        raise parser.fail(f"`{key}` must be [low, high], got {describe(given)}", given, path)
    return given.items[0], given.items[1], given


def _refuse_order(parser: Parser, low: float, high: float, tree: Tree, path: str) -> None:
    if low > high:
        raise parser.fail(f"low must not be above high, got [{written(low)}, {written(high)}]; swap them", tree, path)


def _log(parser: Parser, tree: MappingTree, low: float, path: str) -> bool:
    given = tree.get("log")
    log = bool(parser.constant(given, ScalarType(bool), f"{path}.log")) if given else False
    if given and log and low <= 0:
        raise parser.fail(f"a logarithmic range must start above 0, got {written(low)}", given, path)
    return log


def _number_in(expected: ParameterType, python: type) -> ScalarType | None:
    return next((m for m in members_of(expected) if isinstance(m, ScalarType) and m.python is python), None)
