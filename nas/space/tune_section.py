"""Layer 2: reads `measure: tune:`, which makes the estimand the tuned effect: the budget of each arm's own search."""

from __future__ import annotations

from collections.abc import Iterator

from nas.errors import Where, nearest
from nas.plugin import Bounds
from nas.registry.signature import ScalarType
from nas.space.activity import everything, possible, uses_of
from nas.space.parser import Parser
from nas.space.sections import MeasureOptions, TuneOptions
from nas.space.space import Space
from nas.space.yaml_tree import MappingTree, ScalarTree, SequenceTree, Tree, describe

KEYS = ("trials", "decisions")


def read_tune(parser: Parser, space: Space, measure: MappingTree, options: MeasureOptions) -> TuneOptions | None:
    """Return how each arm is tuned, None without `tune:`. Raises SpaceError where nothing is open, or a decision has a role already."""
    tree = measure.get("tune")
    if tree is None:
        return None
    if not isinstance(tree, MappingTree):
        raise parser.fail(f"must be a mapping like `{{trials: 20}}`, got {describe(tree)}", tree, "measure.tune")
    for entry in tree:
        if entry.key not in KEYS:
            raise parser.fail(f"unknown parameter of `tune:`{nearest(entry.key, KEYS)}", entry, f"measure.tune.{entry.key}")
    trials, given = tree.get("trials"), tree.get("decisions")
    if trials is None:
        raise parser.fail("must be given: how many trials each arm's search has", tree, "measure.tune.trials")
    if options.match:
        message = "and `match:` ask for two estimands at once; measure them in two files, or remove one"
        raise parser.fail(message, tree, "measure.tune")
    roles = {options.factor: "the factor", **{path: "in by" for path, _ in options.by}, **{path: "held" for path, _ in options.hold}}
    admitted = {**everything(space.placed), **options.admitted}
    there = {path for path in space.decisions if possible(uses_of(path, space.placed), admitted)}
    decisions = tuple(path for path in space.decisions if path in there and path not in roles and path.partition(".")[0] != "data")
    if given is not None:
        decisions = tuple(_paths(parser, space, given, roles))
        for path in decisions:
            if path not in there:
                raise parser.fail(f"{path} exists in no arm, so there is nothing to tune; remove it", given, "measure.tune.decisions")
    if not decisions:
        raise parser.fail("finds no open decision to tune: every one is the factor, in by or held", tree, "measure.tune")
    return TuneOptions(trials=int(parser.constant(trials, ScalarType(int, Bounds(1)), "measure.tune.trials")), decisions=decisions)


def _paths(parser: Parser, space: Space, tree: Tree, roles: dict[str, str]) -> Iterator[str]:
    where = "measure.tune.decisions"
    if not isinstance(tree, SequenceTree) or not tree.items:
        raise parser.fail(f"must be a list of decisions, got {describe(tree)}; leave it out for all that are open", tree, where)
    seen = set[str]()
    for item in tree.items:
        if not isinstance(item, ScalarTree):
            raise parser.fail(f"must be the path of a decision, got {describe(item)}", item, where)
        space.decision(item.text, Where(parser.file, item.line, where))
        if item.text in roles:
            raise parser.fail(f"{item.text} is {roles[item.text]} already, so it cannot be tuned", item, where)
        if item.text in seen:
            raise parser.fail(f"{item.text} stands here twice", item, where)
        seen.add(item.text)
        yield item.text
