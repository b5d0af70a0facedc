"""Layer 2: another measurement than the file's: its factor, its cells, what it holds, given beside the space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from nas.errors import SpaceError, UserError, Where
from nas.space.measure_section import read_measure
from nas.space.parser import Parser
from nas.space.sections import MeasureOptions
from nas.space.space import Space
from nas.space.yaml_tree import Entry, MappingTree, ScalarTree, SequenceTree, Tree, read_yaml
from nas.values.domains import Scalar


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked for in place of the `measure:` section's own; None and empty leave it as it is. Values are texts.

    With another `factor` than the file's, its `reference` and `levels` do not count any more. What the file holds or measures
    by gives way to what is asked for here.
    """

    factor: str | None = None
    reference: str | None = None
    levels: Sequence[str] = ()
    by: Mapping[str, str] = field(default_factory=dict)
    hold: Mapping[str, str] = field(default_factory=dict)
    replicates: int | None = None
    smallest_effect: float | None = None

    @property
    def anything(self) -> bool:
        """Whether anything is asked for that makes another measurement, not only more or fewer replicates of it."""
        return bool(self.factor or self.reference or self.levels or self.by or self.hold)


def asked_measure(space: Space, asked: Asked, base: Mapping[str, Scalar]) -> MeasureOptions:
    """Return what is measured: the file's section as `asked` changes it, at the architecture that `base` decides.

    A decision of `base` is held at its value, unless it is the factor or in `by`, is held otherwise by `asked`, or exists in no
    arm. Raises SpaceError as for a section in the file, UserError where nothing names a factor.
    """
    tree = read_yaml(space.text, space.file)
    section = tree.get("measure") if isinstance(tree, MappingTree) else None
    own = {entry.key: entry.value for entry in section} if isinstance(section, MappingTree) else {}
    if not (asked.factor or own):
        raise UserError(f"{space.file} has no `measure:` section; add one, or give --factor and --reference")
    merged = _merged(space, asked, own, base)
    parser = Parser(space.file, space.registry)
    section = MappingTree(tuple(Entry(key, value, 0) for key, value in merged.items()), 0)
    return read_measure(parser, space, section, base=base)


def _merged(space: Space, asked: Asked, own: Mapping[str, Tree], base: Mapping[str, Scalar]) -> dict[str, Tree]:
    other = asked.factor is not None and _text(own.get("factor")) != asked.factor
    merged = {key: tree for key, tree in own.items() if not (other and key in ("reference", "levels"))}
    factor = asked.factor or _text(own.get("factor"))
    if asked.factor:
        merged["factor"] = ScalarTree(asked.factor, 0)
    if asked.reference is not None:
        merged["reference"] = ScalarTree(asked.reference, 0)
    if asked.levels:
        merged["levels"] = _values(space, factor, asked.levels)
    elif asked.reference is not None:
        merged.pop("levels", None)
    by = {path: _values(space, path, [text]) for path, text in asked.by.items()} or _without(own.get("by"), {factor, *asked.hold})
    hold = _without(own.get("hold"), {factor, *by, *asked.hold, *base})
    for key, entries in (("by", by), ("hold", {**hold, **{path: ScalarTree(text, 0) for path, text in asked.hold.items()}})):
        merged.pop(key, None)
        if entries:
            merged[key] = MappingTree(tuple(Entry(path, tree, 0) for path, tree in entries.items()), 0)
    if asked.smallest_effect is not None:
        merged["smallest_effect"] = ScalarTree(repr(asked.smallest_effect), 0)
    return merged


def _values(space: Space, path: str, texts: Sequence[str]) -> SequenceTree:
    """Read `1,3,9`, or a value that holds commas itself, as it stands."""
    parts = [part for text in texts for part in ([text] if _is_value(space, path, text) else text.split(","))]
    return SequenceTree(tuple(ScalarTree(part.strip(), 0) for part in parts if part.strip()), 0)


def _is_value(space: Space, path: str, text: str) -> bool:
    try:
        space.value_of(path, text, Where())
    except SpaceError:
        return False
    return True


def _without(tree: Tree | None, paths: set[str]) -> dict[str, Tree]:
    return {entry.key: entry.value for entry in tree if entry.key not in paths} if isinstance(tree, MappingTree) else {}


def _text(tree: Tree | None) -> str:
    return tree.text if isinstance(tree, ScalarTree) else ""
