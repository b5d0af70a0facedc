"""Layer 2: reads written scalars by the type that is declared for them, and says what to write where they do not fit."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from nas.errors import nearest
from nas.registry.signature import ListType, NothingType, OneOf, ParameterType, ScalarType, members_of
from nas.space.templates import Fixed
from nas.space.yaml_tree import ScalarTree, SequenceTree, Tree
from nas.values.domains import written

INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*(_[0-9]+)*)")
NUMBER = re.compile(r"[-+]?(?=\.?[0-9])([0-9]+(_[0-9]+)*)?(\.[0-9]*)?([eE][-+]?[0-9]+)?")
MOST = 2**53  # databases keep numbers as doubles: a larger integer would come back as another one
TRUE, FALSE = ("true", "yes", "on", "y"), ("false", "no", "off", "n")


def read_int(text: str) -> int | None:
    """Read an integer as it is written in decimal, or return None."""
    if len(text) > 30 or not INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if abs(number) <= MOST else None


def read_float(text: str) -> float | None:
    """Read a finite number (`0.1`, `1e-3`, `3`), or return None."""
    if not NUMBER.fullmatch(text):
        return None
    number = float(text) + 0.0  # −0 is 0: equal values have one key
    return number if math.isfinite(number) else None


def read_scalar(tree: ScalarTree, expected: ParameterType) -> Fixed | None:
    """Read a scalar as `expected`, or return None where it is not one. Text is the last of several types to be tried."""
    members = members_of(expected)
    for member in sorted(members, key=lambda m: isinstance(m, ScalarType) and m.python is str):
        found = _read(tree, member)
        if found is not None:
            return found
    return None


def advice(tree: Tree, expected: ParameterType) -> str:
    """Say what to write in place of a value that does not fit `expected`: `; write true`, or nothing."""
    members = members_of(expected)
    if isinstance(tree, ScalarTree):
        return _advice_for_scalar(tree, members)
    if isinstance(tree, SequenceTree):
        return "; to search over several values write `{choices: [...]}`"
    if not tree.entries:
        return ""
    close = nearest(tree.entries[0].key, ("choices", "int", "float", "shared"))
    forms = "; a value to be searched is `{choices: [...]}`, `{int: [low, high]}` or `{float: [low, high]}`"
    return close if "did you mean" in close else forms


def _read(tree: ScalarTree, member: ParameterType) -> Fixed | None:
    if isinstance(member, NothingType):
        return Fixed(None) if tree.is_null and tree.text else None
    if isinstance(member, OneOf):
        return next((Fixed(value) for value in member.values if written(value) == tree.text), None)
    if not isinstance(member, ScalarType):
        return None
    if member.python is str:
        return None if tree.is_null else Fixed(tree.text)
    if tree.quoted:
        return None
    if member.python is bool:
        return {"true": Fixed(True), "false": Fixed(False)}.get(tree.text)
    number = read_int(tree.text) if member.python is int else read_float(tree.text)
    return Fixed(number) if number is not None and member.within(number) else None


def _advice_for_scalar(tree: ScalarTree, members: Sequence[ParameterType]) -> str:
    text = tree.text
    pythons = [m.python for m in members if isinstance(m, ScalarType)]
    if bool in pythons and text.lower() in (*TRUE, *FALSE):
        return f"; write {'true' if text.lower() in TRUE else 'false'}"
    if int in pythons or float in pythons:
        return _advice_for_number(tree, pythons)
    for member in members:
        if isinstance(member, OneOf):
            return nearest(text, (written(value) for value in member.values))
        if isinstance(member, ListType):
            return f"; write a list: [{text}]" if text else "; write a list"
    return "; put it in quotes if this text is meant" if tree.is_null and text else ""


def _advice_for_number(tree: ScalarTree, pythons: Sequence[type]) -> str:
    text, number = tree.text, read_float(tree.text)
    if number is not None and tree.quoted:
        return f"; the quotes make it text: write {text}"
    if text.lstrip("+-.").lower() in ("nan", "inf", "infinity") or (number is None and NUMBER.fullmatch(text)):
        return "; it must be finite"
    if text[:2].lower() in ("0x", "0o", "0b"):
        return "; write it as a decimal number"
    if number is not None and abs(number) > MOST and int in pythons:
        return f"; integers go up to {MOST:,}"
    if number is not None and float not in pythons and read_int(text) is None:
        return f"; write {int(number)}" if number == int(number) else "; it must be a whole number"
    if number is None and read_float(text.replace(",", ".")) is not None:
        return f"; write {text.replace(',', '.')}, with a point"
    return ""
