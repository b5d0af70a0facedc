"""Layer 2: reads `measure:` against the decisions of its own space, and refuses what could not be measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from nas.errors import Where, nearest
from nas.plugin import Bounds
from nas.registry.signature import ListType, OneOf, ScalarType
from nas.space.activity import always, everything, possible, uses_of
from nas.space.parser import Parser
from nas.space.sections import MAX_TOGETHER, MeasureOptions, Vectorise
from nas.space.space import Space
from nas.space.task_section import figures_of, read_metric
from nas.space.tune_section import read_tune
from nas.space.yaml_tree import Entry, MappingTree, ScalarTree, SequenceTree, Tree, describe
from nas.values.domains import Choices, Scalar, written
from nas.values.effects import LOOKS, MATCHED
from nas.values.metrics import Direction

KEYS = (
    "factor", "reference", "levels", "by", "hold", "replicates", "smallest_effect", "metric", "direction", "looks", "match", "tune",
    "vectorise",
)  # fmt: skip
MAX_CELLS = 1000


def read_measure(parser: Parser, space: Space, tree: MappingTree, *, base: Mapping[str, Scalar] | None = None) -> MeasureOptions:
    """Return the section's options, every value checked to be one of its decision's; `base` is held as `held_at` says.

    Raises SpaceError.
    """
    for entry in tree:
        if entry.key not in KEYS:
            raise parser.fail(f"unknown parameter of `measure:`{nearest(entry.key, KEYS)}", entry, f"measure.{entry.key}")
    reader = _Reader(parser, space, tree)
    factor = reader.factor()
    reference = reader.value(factor, reader.required("reference"), "measure.reference")
    options = MeasureOptions(
        factor=factor,
        reference=reference,
        levels=reader.levels(factor, reference),
        by=tuple(reader.by()),
        hold=tuple(reader.hold()),
        replicates=reader.replicates(),
        smallest_effect=reader.number("smallest_effect", ScalarType(float, Bounds(0)), MeasureOptions.smallest_effect),
        metric=reader.metric(),
        direction=reader.direction(),
        looks=reader.looks(),
        match=reader.match(factor),
        vectorise=reader.vectorise(),
    )
    if base is not None:
        options = held_at(space, options, base)
    reader.refuse_effect(options)
    reader.refuse_two_roles(options)
    reader.refuse_inactive(options)
    return replace(options, tune=read_tune(parser, space, tree, options))


def held_at(space: Space, options: MeasureOptions, base: Mapping[str, Scalar]) -> MeasureOptions:
    """Hold every decision of `base` that has no role and exists in some arm; all holds in the order of the space's decisions."""
    roles = {options.factor, *(path for path, _ in options.by)}
    own = dict(options.hold)
    hold = {**{path: value for path, value in base.items() if path not in roles}, **own}
    ordered = [path for path in (*space.decisions, *roles) if path in hold]
    full = replace(options, hold=tuple((path, hold[path]) for path in ordered))
    admitted = {**everything(space.placed), **full.admitted}
    there = tuple(pair for pair in full.hold if pair[0] in own or possible(uses_of(pair[0], space.placed), admitted))
    return replace(full, hold=there)


@dataclass(frozen=True)
class _Reader:
    """Reads the parts of one `measure:` section."""

    parser: Parser
    space: Space
    tree: MappingTree

    def required(self, key: str) -> Tree:
        inner = self.tree.get(key)
        if inner is None:
            raise self.parser.fail(f"must be given; `measure:` has no default for {key}", self.tree, f"measure.{key}")
        return inner

    def factor(self) -> str:
        tree = self.required("factor")
        if not isinstance(tree, ScalarTree):
            raise self.parser.fail(f"must be the path of a decision, got {describe(tree)}", tree, "measure.factor")
        self.space.decision(tree.text, Where(self.parser.file, tree.line, "measure.factor"))
        return tree.text

    def value(self, path: str, tree: Tree, where: str) -> Scalar:
        text = text_of(tree)
        if text is None:
            raise self.parser.fail(f"must be a value of {path} as `nas check` prints it, got {describe(tree)}", tree, where)
        return self.space.value_of(path, text, Where(self.parser.file, tree.line, where))

    def values(self, path: str, tree: Tree, where: str) -> tuple[Scalar, ...]:
        if not isinstance(tree, SequenceTree) or not tree.items:
            raise self.parser.fail(f"must be a list of values of {path}, got {describe(tree)}", tree, where)
        found: list[Scalar] = []
        for item in tree.items:
            value = self.value(path, item, where)
            if value in found:
                raise self.parser.fail(f"the value {written(value)} stands here twice", item, where)
            found.append(value)
        return tuple(found)

    def levels(self, factor: str, reference: Scalar) -> tuple[Scalar, ...]:
        given, domain = self.tree.get("levels"), self.space.decisions[factor].domain
        if given is not None:
            levels = self.values(factor, given, "measure.levels")
            if reference in levels:
                raise self.parser.fail(
                    f"must leave out the reference, {written(reference)}: they are compared with it", given, "measure.levels"
                )
            return levels
        if not isinstance(domain, Choices):
            message = f"must be given, since {factor} is a range: list the values to compare with {written(reference)}"
            raise self.parser.fail(message, self.tree, "measure.levels")
        levels = tuple(label for label in domain.labels if label != reference)
        if not levels:
            message = f"{factor} has one value only, {written(reference)}, so there is nothing to compare; give it a second one"
            raise self.parser.fail(message, self.tree, "measure.levels")
        return levels

    def by(self) -> Iterator[tuple[str, tuple[Scalar, ...]]]:
        cells = 1
        for entry in self.entries("by"):
            values = self.values(entry.key, entry.value, f"measure.by.{entry.key}")
            cells *= len(values)
            if cells > MAX_CELLS:
                raise self.parser.fail(f"makes more than {MAX_CELLS} combinations; choose fewer values", entry, f"measure.by.{entry.key}")
            yield entry.key, values

    def hold(self) -> Iterator[tuple[str, Scalar]]:
        for entry in self.entries("hold"):
            yield entry.key, self.value(entry.key, entry.value, f"measure.hold.{entry.key}")

    def entries(self, key: str) -> Iterator[Entry]:
        inner = self.tree.get(key)
        if inner is None:
            return
        if not isinstance(inner, MappingTree):
            form = "{path: [value, …]}" if key == "by" else "{path: value}"
            raise self.parser.fail(f"must be a mapping `{form}`, got {describe(inner)}", inner, f"measure.{key}")
        for entry in inner:
            self.space.decision(entry.key, Where(self.parser.file, entry.line, f"measure.{key}"))
            yield entry

    def number(self, key: str, kind: ScalarType, default: float) -> float:
        given = self.tree.get(key)
        return default if given is None else float(self.parser.constant(given, kind, f"measure.{key}"))

    def metric(self) -> str:
        given = self.tree.get("metric")
        if given is None:
            return f"test_{self.space.metrics[0].name}"
        return read_metric(self.parser, given, "measure.metric", self.space.task.name, self._probed())

    def direction(self) -> Direction:
        """Return the way in which the metric is better: as given for a probe's figure, else as its probe or task declares it."""
        given, metric = self.tree.get("direction"), self.metric()
        declared = self._probed().get(metric)
        if given is None:
            return declared or self.space.metric(metric).direction
        direction: Direction = self.parser.constant(given, OneOf(get_args(Direction)), "measure.direction")
        if declared is None and direction != self.space.metric(metric).direction:
            raise self.parser.fail(f"would take the worst {metric} for the best; remove it", given, "measure.direction")
        return direction

    def looks(self) -> tuple[int, ...]:
        given = self.tree.get("looks")
        if given is None:
            return ()
        looks: tuple[int, ...] = self.parser.constant(given, ListType(ScalarType(int, Bounds(1))), "measure.looks")
        if looks != tuple(at for at, _ in LOOKS):
            rates = " and ".join(f"{alpha:g} at {at}" for at, alpha in LOOKS)
            message = f"must be {[at for at, _ in LOOKS]}, the one schedule whose error rates are known ({rates}), got {list(looks)}"
            raise self.parser.fail(message, given, "measure.looks")
        return looks

    def match(self, factor: str) -> tuple[str, ...]:
        given = self.tree.get("match")
        if given is None:
            return ()
        quantities: tuple[str, ...] = self.parser.constant(given, ListType(OneOf(tuple(MATCHED))), "measure.match")
        if not quantities or len(set(quantities)) < len(quantities):
            raise self.parser.fail(f"must name {' or '.join(MATCHED)}, each once, got {describe(given)}", given, "measure.match")
        if factor.rpartition(".")[2] in ("width", "widths"):
            raise self.parser.fail(f"matches by widening the reference, and the factor, {factor}, is a width", given, "measure.match")
        return quantities

    def replicates(self) -> int:
        looks, given = self.looks(), self.tree.get("replicates")
        found = int(self.number("replicates", ScalarType(int, Bounds(1)), looks[-1] if looks else MeasureOptions.replicates))
        if looks and found != looks[-1]:
            message = f"must be {looks[-1]}, the last of the looks, got {found}; leave it out"
            raise self.parser.fail(message, given or self.tree, "measure.replicates")
        return found

    def vectorise(self) -> Vectorise:
        given = self.tree.get("vectorise")
        if given is None or text_of(given) == "none":
            return 1
        if text_of(given) == "auto":
            return "auto"
        limit: int = self.parser.constant(given, ScalarType(int, Bounds(1, MAX_TOGETHER)), "measure.vectorise")
        return limit

    def _probed(self) -> dict[str, Direction]:
        return figures_of(self.space.probes, self.space.registry)

    def refuse_effect(self, options: MeasureOptions) -> None:
        given = self.tree.get("smallest_effect")
        if given is not None and self.space.metric(options.metric).is_share and options.smallest_effect >= 1:
            points = written(options.smallest_effect / 100)
            message = f"must be a fraction below 1, got {written(options.smallest_effect)}; if points are meant, write {points}"
            raise self.parser.fail(message, given, "measure.smallest_effect")

    def refuse_two_roles(self, options: MeasureOptions) -> None:
        roles = {options.factor: "factor"}
        for role, pairs in (("by", options.by), ("hold", options.hold)):
            for path, _ in pairs:
                other = roles.setdefault(path, role)
                if other != role:
                    message = f"is {other} already; a decision has one role of factor, by and hold"
                    raise self.parser.fail(message, self._line_of(role, path), f"measure.{role}.{path}")

    def refuse_inactive(self, options: MeasureOptions) -> None:
        """Factor and `by` must exist in every arm (docs/method.md, "Replicates and twins"); what is held must exist in one at least."""
        placed = self.space.placed
        admitted = {**everything(placed), **options.admitted}
        for role, paths in (("factor", [options.factor]), ("by", [path for path, _ in options.by])):
            for path in paths:
                uses = uses_of(path, placed)
                if not always(uses, admitted):
                    message = f"{path} does not exist in every arm: it {_needs(uses)}; {_remedy(uses, options)}"
                    raise self.parser.fail(message, self._line_of(role, path), f"measure.{role}")
        for path, _ in options.hold:
            uses = uses_of(path, placed)
            if not possible(uses, admitted):
                raise self.parser.fail(
                    f"holds what exists in no arm: it {_needs(uses)}; remove it", self._line_of("hold", path), f"measure.hold.{path}"
                )

    def _line_of(self, role: str, path: str) -> Tree | Entry:
        inner = self.tree.get(role)
        found = next((entry for entry in inner if entry.key == path), None) if isinstance(inner, MappingTree) else inner
        return found or self.tree


def text_of(tree: Tree) -> str | None:
    """Return the written form of a value: a scalar's text, a list's as its label reads, or None for a mapping."""
    if isinstance(tree, ScalarTree):
        return tree.text or "null"
    parts = [text_of(item) for item in tree.items] if isinstance(tree, SequenceTree) else [None]
    return "-".join(part for part in parts if part) if all(parts) else None


def _needs(uses: Sequence[tuple[tuple[str, Scalar], ...]]) -> str:
    chains = (" and ".join(f"{path} = {written(label)}" for path, label in use) for use in uses)
    return f"needs {' or '.join(chains)}"


def _remedy(uses: Sequence[tuple[tuple[str, Scalar], ...]], options: MeasureOptions) -> str:
    """Say what would make a decision exist in every arm."""
    hold, varied = dict(options.hold), {options.factor: "the factor", **{path: "in by" for path, _ in options.by}}
    for use in sorted(uses, key=len):
        if not any(path in varied for path, _ in use):
            wrong = {path: label for path, label in use if path not in hold or hold[path] != label}
            pairs = ", ".join(f"{path}: {written(label)}" for path, label in wrong.items())
            instead = [f"{path}: {written(hold[path])}" for path in wrong if path in hold]
            return f"write `hold: {{{pairs}}}`" + (f" in place of {', '.join(instead)}" if instead else "")
    path = next(path for use in uses for path, _ in use if path in varied)
    return f"{path} is {varied[path]}, so its other values leave it out; compare values that all have it, or another decision"
