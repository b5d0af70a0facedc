"""Layer 4: the grammar of rules: conditions as they are written, and the places of a study that they speak of.

    - {compare: identity - none at deepest, metric: train_error, is: below -0.05}
    - {compare: none at deepest, minus: none at shallowest, metric: train_error, is: above 0}
    - {compare: identity - none per doubling, is: above 0}

A place is an arm, or an arm minus another, `at` a cell of the design: `deepest`, `shallowest`, `all` (the mean over them), the
value of `by`, or `name=value, name=value` where there are several. `per doubling` is the slope over depth (beta).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast, get_args

from nas.errors import SpaceError, Where, nearest, shown
from nas.measuring.readings import At, Cells
from nas.space.yaml_tree import MappingTree, ScalarTree, SequenceTree, Tree, describe
from nas.values.claims import Condition, Outcomes, Relation
from nas.values.domains import Scalar, written

CONDITION_KEYS = ("compare", "metric", "minus", "minus_metric", "is")
SLOPE = "per doubling"
_RELATION = re.compile(r"(\w+) ([+-]?[\d.]+(?:e[+-]?\d+)?)")


@dataclass(frozen=True)
class Place:
    """A side of a comparison: arms with their signs, and the cells they are taken at; no cells mean the slope over all."""

    arms: tuple[tuple[Scalar, float], ...]
    at: tuple[At, ...]


def read_outcomes(tree: Tree, file: str, path: str) -> Outcomes:
    """Read a list of conditions, all of which have to hold, or `{any: [...]}`. Raises SpaceError."""
    one = False
    if isinstance(tree, MappingTree) and tree.get("any") is not None:
        for entry in tree:
            if entry.key != "any":
                raise SpaceError(
                    "stands beside `any:`; a side of a rule is a list, or `any:` alone", Where(file, entry.line, f"{path}.{entry.key}")
                )
        tree, one, path = cast(Tree, tree.get("any")), True, f"{path}.any"
    items = tree.items if isinstance(tree, SequenceTree) else (tree,)
    if not items:
        raise SpaceError("must list one condition or more", Where(file, tree.line, path))
    return Outcomes(tuple(_condition(item, file, path) for item in items), one)


def _condition(tree: Tree, file: str, path: str) -> Condition:
    if not isinstance(tree, MappingTree):
        raise SpaceError(f"must be a condition `{{compare: ARM at CELL, is: above 0}}`, got {describe(tree)}", Where(file, tree.line, path))
    texts: dict[str, str] = {}
    for entry in tree:
        where = Where(file, entry.line, f"{path}.{entry.key}")
        if entry.key not in CONDITION_KEYS:
            raise SpaceError(f"unknown key of a condition{nearest(entry.key, CONDITION_KEYS)}", where)
        if not isinstance(entry.value, ScalarTree) or not entry.value.text:
            raise SpaceError(f"must be text, got {describe(entry.value)}", where)
        texts[entry.key] = " ".join(entry.value.text.split())
    for key in ("compare", "is"):
        if key not in texts:
            raise SpaceError(f"a condition needs `{key}:`", Where(file, tree.line, path))
    if "minus_metric" in texts and "minus" not in texts:
        raise SpaceError("says the metric of `minus:`, which is not given", Where(file, tree.line, f"{path}.minus_metric"))
    relation, threshold = _relation(texts.pop("is"), Where(file, tree.line, f"{path}.is"))
    return Condition(relation=relation, threshold=threshold, line=tree.line, **texts)


def _relation(text: str, where: Where) -> tuple[Relation, float]:
    match = _RELATION.fullmatch(text)
    words = get_args(Relation)
    if match is None or match[1] not in words:
        hint = nearest(text.partition(" ")[0], words)
        raise SpaceError(f"must read like `above 0`, `below -0.05` or `within 0.01`, got '{shown(text)}'{hint}", where)
    try:
        threshold = float(match[2])
    except ValueError:
        raise SpaceError(f"must end in a number, got '{match[2]}'", where) from None
    if not math.isfinite(threshold) or (match[1] == "within" and threshold <= 0):
        raise SpaceError(f"`within` needs a number above 0, the half width of what counts as nothing; got {match[2]}", where)
    return cast(Relation, match[1]), threshold


def place_of(text: str, cells: Cells, where: Where) -> Place:
    """Resolve a place against a design. Raises SpaceError, with the nearest name, for an arm or a cell that it does not have."""
    if text.endswith(f" {SLOPE}"):
        return Place(_arms(text.removesuffix(f" {SLOPE}"), cells, where), ())
    # An arm's own name may have ` at ` in it, so the longest head that is one wins.
    parts = text.split(" at ")
    for cut in range(len(parts), 0, -1):
        head, cell = " at ".join(parts[:cut]), " at ".join(parts[cut:])
        if _split(head, cells) is not None:
            return Place(_arms(head, cells, where), _at(cell, cells, where))
    return Place(_arms(parts[0], cells, where), ())


def _arms(text: str, cells: Cells, where: Where) -> tuple[tuple[Scalar, float], ...]:
    found = _split(text, cells)
    if found is None:
        wrong = next((part for part in text.split(" - ") if part not in _names(cells.arms)), text)
        raise SpaceError(f"'{shown(wrong)}' is no arm of the study{nearest(wrong, _names(cells.arms))}", where)
    return found


def _split(text: str, cells: Cells) -> tuple[tuple[Scalar, float], ...] | None:
    names = _names(cells.arms)
    if text in names:
        return ((names[text], 1.0),)
    parts = text.split(" - ")
    for cut in range(1, len(parts)):
        left, right = " - ".join(parts[:cut]), " - ".join(parts[cut:])
        if left in names and right in names:
            return ((names[left], 1.0), (names[right], -1.0))
    return None


def _at(text: str, cells: Cells, where: Where) -> tuple[At, ...]:
    if text in ("", "all"):
        if not text and len(cells.at) > 1:
            raise SpaceError("must say which cell: `at deepest`, `at shallowest`, `at all`, `at VALUE` or `per doubling`", where)
        return cells.at
    if text in ("deepest", "shallowest"):
        return (_extreme(text, cells, where),)
    wanted = dict(_setting(part.strip(), cells, where) for part in text.split(", ")) if "=" in text else _alone(text, cells, where)
    index = {path: i for i, (path, _) in enumerate(cells.by)}
    return tuple(at for at in cells.at if all(at[index[path]] == value for path, value in wanted.items()))


def _extreme(text: str, cells: Cells, where: Where) -> At:
    values = cells.by[0][1] if len(cells.by) == 1 else ()
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if not numbers or len(numbers) < len(values):
        raise SpaceError(f"`at {text}` needs one decision under `by:`, with numbers; name the cell by its value", where)
    return (max(numbers) if text == "deepest" else min(numbers),)


def _alone(text: str, cells: Cells, where: Where) -> Mapping[str, Scalar]:
    if len(cells.by) != 1:
        paths = ", ".join(path.rpartition(".")[2] for path, _ in cells.by)
        raise SpaceError(
            f"must say of which decision '{shown(text)}' is a value: NAME=VALUE, of {paths or 'none: there is no `by:`'}", where
        )
    path, values = cells.by[0]
    return {path: _value(text, path, values, where)}


def _setting(text: str, cells: Cells, where: Where) -> tuple[str, Scalar]:
    name, _, value = text.partition("=")
    found = [(path, values) for path, values in cells.by if path == name or path.endswith(f".{name}")]
    if len(found) != 1:
        raise SpaceError(f"'{shown(name)}' is no decision under `by:`{nearest(name, [path for path, _ in cells.by])}", where)
    return found[0][0], _value(value, *found[0], where)


def _value(text: str, path: str, values: Sequence[Scalar], where: Where) -> Scalar:
    names = _names(values)
    if text not in names:
        raise SpaceError(f"'{shown(text)}' is no value of {path} under `by:`{nearest(text, names)}", where)
    return names[text]


def _names(values: Sequence[Scalar]) -> dict[str, Scalar]:
    return {written(value): value for value in values}
