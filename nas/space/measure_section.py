"""Layer 2: reads `measure:` against the decisions of its own space, and refuses what could not be measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from nas.errors import SpaceError, Where, nearest
from nas.registry.signature import ScalarType
from nas.space.parser import Parser
from nas.space.sections import MeasureOptions
from nas.space.templates import Fixed
from nas.space.yaml_tree import Entry, MappingTree, ScalarTree, SequenceTree, Tree, describe
from nas.values.domains import Choices, Scalar

if TYPE_CHECKING:
    from nas.space.space import Space

KEYS = ("factor", "reference", "levels", "by", "hold", "replicates", "smallest_effect", "metric")


def read_measure(parser: Parser, space: Space, tree: MappingTree) -> MeasureOptions:
    """Return the section's options, every value checked to be one of its decision's. Raises SpaceError."""
    for entry in tree:
        if entry.key not in KEYS:
            raise parser.fail(f"unknown parameter of `measure:`{nearest(entry.key, KEYS)}", entry, f"measure.{entry.key}")
    factor = _path(parser, space, tree, _required(parser, tree, "factor"), "measure.factor")
    reference = _value(parser, space, factor, _required(parser, tree, "reference"), "measure.reference")
    levels = _levels(parser, space, tree, factor, reference)
    by = tuple((path, _values(parser, space, path, entry)) for path, entry in _pairs(parser, space, tree, "by"))
    hold = tuple((path, _value(parser, space, path, entry.value, f"measure.hold.{path}")) for path, entry in _pairs(parser, space, tree, "hold"))
    twice = {factor} & {p for p, _ in by + hold} | {p for p, _ in by} & {p for p, _ in hold}
    if twice:
        raise parser.fail(f"'{sorted(twice)[0]}' stands in two of factor, by and hold; a decision has one role", tree, "measure")
    options = MeasureOptions(
        factor=factor, reference=reference, levels=levels, by=by, hold=hold,
        replicates=_number(parser, tree, "replicates", int, 10, 1),
        smallest_effect=_number(parser, tree, "smallest_effect", float, 0.01, 0),
        metric=_number(parser, tree, "metric", str, "test_accuracy", 0),
    )  # fmt: skip
    _refuse_inactive(parser, space, options, tree)
    return options


def _required(parser: Parser, tree: MappingTree, key: str) -> Tree:
    inner = tree.get(key)
    if inner is None:
        raise parser.fail(f"must be given; `measure:` has no default for {key}", tree, f"measure.{key}")
    return inner


def _path(parser: Parser, space: Space, tree: MappingTree, given: Tree, where: str) -> str:
    text = given.text if isinstance(given, ScalarTree) else describe(given)
    if text not in space.decisions:
        hint = nearest(text, space.decisions) if space.decisions else "; the space has none: give one `choices`"
        raise parser.fail(f"'{text}' is no decision of this space{hint}", given, where)
    return text


def _value(parser: Parser, space: Space, path: str, tree: Tree, where: str) -> Scalar:
    if not isinstance(tree, ScalarTree):
        raise parser.fail(f"must be one value of {path}, got {describe(tree)}", tree, where)
    return space.value_of(path, tree.text, Where(parser.file, tree.line, where))


def _levels(parser: Parser, space: Space, tree: MappingTree, factor: str, reference: Scalar) -> tuple[Scalar, ...]:
    given = tree.get("levels")
    if given is None:
        domain = space.decisions[factor].domain
        if not isinstance(domain, Choices):
            raise parser.fail(f"must be given, since {factor} is a range: list the values to compare with {reference}", tree, "measure.levels")
        levels = tuple(label for label in domain.labels if label != reference)
    else:
        levels = tuple(_value(parser, space, factor, t, "measure.levels") for t in _items(parser, given, "measure.levels"))
    if reference in levels or len(set(levels)) < len(levels) or not levels:
        raise parser.fail(f"must be different values other than the reference '{reference}', got {list(levels)}", given or tree, "measure.levels")
    return levels


def _items(parser: Parser, tree: Tree, where: str) -> tuple[Tree, ...]:
    if not isinstance(tree, SequenceTree) or not tree.items:
        raise parser.fail(f"must be a list of values, got {describe(tree)}", tree, where)
    return tree.items


def _values(parser: Parser, space: Space, path: str, entry: Entry) -> tuple[Scalar, ...]:
    where = f"measure.by.{path}"
    values = tuple(_value(parser, space, path, item, where) for item in _items(parser, entry.value, where))
    if len(set(values)) < len(values):
        raise parser.fail("lists a value twice", entry, where)
    return values


def _pairs(parser: Parser, space: Space, tree: MappingTree, key: str) -> Iterator[tuple[str, Entry]]:
    inner = tree.get(key)
    if inner is None:
        return
    if not isinstance(inner, MappingTree):
        raise parser.fail(f"must be a mapping from decisions to values, got {describe(inner)}", inner, f"measure.{key}")
    for entry in inner:
        yield _path(parser, space, tree, ScalarTree(entry.key, entry.line), f"measure.{key}"), entry


def _number(parser: Parser, tree: MappingTree, key: str, python: type, default: Any, low: float) -> Any:
    given = tree.get(key)
    if given is None:
        return default
    parsed = parser.value(given, ScalarType(python), f"measure.{key}")
    if not isinstance(parsed, Fixed) or (python is not str and parsed.value < low):  # type: ignore[operator]  # a number by its type
        raise parser.fail(f"must be a constant, {low} or more", given, f"measure.{key}")
    return parsed.value


def _refuse_inactive(parser: Parser, space: Space, options: MeasureOptions, tree: MappingTree) -> None:
    """The factor and each `by` must exist in every arm: what they hang on has to be held (METHOD: complete replicates)."""
    held: Mapping[str, Scalar] = dict(options.hold)
    for path in (options.factor, *(p for p, _ in options.by)):
        uses = [p.under for p in space.placed if p.decision.path == path]
        loose = [c for c in min(uses, key=len) if held.get(c[0]) != c[1]]
        if loose and not any(all(held.get(c[0]) == c[1] for c in use) for use in uses):
            needed = ", ".join(f"{p}: {v}" for p, v in loose)
            raise SpaceError(
                f"'{path}' exists only under some choices; add `hold: {{{needed}}}` so that every arm has it",
                Where(parser.file, tree.line, "measure"),
            )
