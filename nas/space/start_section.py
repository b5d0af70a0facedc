"""Layer 2: reads `search: {start: […]}`, the configurations that a search tries first, each against the space's decisions."""

from __future__ import annotations

from collections.abc import Mapping

from nas.errors import Where
from nas.space.activity import possible, uses_of
from nas.space.measure_section import text_of
from nas.space.parser import Parser
from nas.space.space import Space
from nas.space.yaml_tree import Entry, MappingTree, SequenceTree, Tree, describe
from nas.values.domains import Scalar, written

FORM = "[{architecture.staged.depth: 3, …}, …]"


def read_starts(parser: Parser, space: Space, tree: MappingTree) -> tuple[tuple[tuple[str, Scalar], ...], ...]:
    """Read the configurations to start from; what one leaves open is the sampler's. Raises SpaceError for what is not in the space."""
    section = tree.get("search")
    given = section.get("start") if isinstance(section, MappingTree) else None
    if given is None:
        return ()
    if not isinstance(given, SequenceTree) or not given.items:
        raise parser.fail(f"must be a list like `{FORM}`, got {describe(given)}", given, "search.start")
    trials = space.search.trials
    if trials and len(given.items) > trials:
        message = f"has {len(given.items)} configurations, and the search has {trials} trials; give it more, or start from fewer"
        raise parser.fail(message, given, "search.start")
    return tuple(_start(parser, space, item, f"search.start.{i}") for i, item in enumerate(given.items))


def _start(parser: Parser, space: Space, tree: Tree, place: str) -> tuple[tuple[str, Scalar], ...]:
    if not isinstance(tree, MappingTree) or not tree.entries:
        raise parser.fail(f"must be decisions by their paths, `{FORM[1:-4]}`, got {describe(tree)}", tree, place)
    found: dict[str, Scalar] = {}
    for entry in tree:
        where = Where(parser.file, entry.line, f"{place}.{entry.key}")
        space.decision(entry.key, where)
        text = text_of(entry.value)
        if text is None:
            raise parser.fail(f"must be a value of {entry.key} as `nas check` prints it, got {describe(entry.value)}", entry, where.path)
        found[entry.key] = space.value_of(entry.key, text, where)
    for entry in tree:
        _refuse_absent(parser, space, entry, found, f"{place}.{entry.key}")
    return tuple((path, found[path]) for path in space.decisions if path in found)


def _refuse_absent(parser: Parser, space: Space, entry: Entry, found: Mapping[str, Scalar], place: str) -> None:
    """A decision that hangs on others needs them beside it: the sampler could choose such that it would not exist."""
    uses = uses_of(entry.key, space.placed)
    if not possible(uses, {path: (found[path],) if path in found else () for use in uses for path, _ in use}):
        needs = " or ".join(" and ".join(f"{path}: {written(label)}" for path, label in use) for use in uses)
        raise parser.fail(f"exists only with {needs}; write that beside it, or leave it out", entry, place)
