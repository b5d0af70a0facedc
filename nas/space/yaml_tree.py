"""Layer 2: reads YAML into a tree that knows its lines and guesses no types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Union

import yaml

from nas.errors import SpaceError, Where, listed, shown

MAX_CHARACTERS = 1_000_000
MAX_VALUES = 50_000
MAX_DEPTH = 60


@dataclass(frozen=True)
class ScalarTree:
    """A written value: its text as it stands in the file; `quoted` says that it is text whatever it looks like."""

    text: str
    line: int
    quoted: bool = False

    @property
    def is_null(self) -> bool:
        """Whether it is written as null, ~ or nothing."""
        return not self.quoted and self.text in ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True)
class SequenceTree:
    """A list."""

    items: tuple[Tree, ...]
    line: int


@dataclass(frozen=True)
class Entry:
    """One `key: value` of a mapping."""

    key: str
    value: Tree
    line: int


@dataclass(frozen=True)
class MappingTree:
    """A mapping; keys are unique and in the order of the file."""

    entries: tuple[Entry, ...]
    line: int

    def get(self, key: str) -> Tree | None:
        """Return the value under `key`, or None."""
        return next((entry.value for entry in self.entries if entry.key == key), None)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)


Tree = Union[ScalarTree, SequenceTree, MappingTree]


def read_yaml(text: str, file: str) -> Tree:
    """Read one YAML document. Raises SpaceError, with the line, for what is not plain data written once.

    That is: bad syntax, equal keys, tags, merge keys, several documents, and aliases that hold themselves or multiply beyond
    reason. Anchors and aliases are fine: each use stands for itself, with decisions of its own.
    """
    if len(text) > MAX_CHARACTERS:
        raise SpaceError(f"a space file has at most {MAX_CHARACTERS:,} characters, got {len(text):,}; is it the right file?", Where(file))
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise SpaceError(f"this is not YAML: {_explain(error)}", Where(file, mark.line + 1 if mark else 0)) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SpaceError(f"this is not YAML: the character {_code(error.character)} may not stand in it", Where(file, line)) from None
    except RecursionError:
        raise SpaceError(f"nested more than {MAX_DEPTH} levels deep; is it the right file?", Where(file)) from None
    if node is None or (isinstance(node, yaml.ScalarNode) and node.style is None and not node.value):
        raise SpaceError("the file is empty; a space needs at least `architecture:`", Where(file))
    return _Converter(file).convert(node)


def describe(tree: Tree) -> str:
    """Say what a tree is, for messages: `'on'`, `a list of 3`, `a mapping with keys a, b`."""
    if isinstance(tree, ScalarTree):
        return "nothing" if tree.is_null and not tree.text else f"'{shown(tree.text)}'"
    if isinstance(tree, SequenceTree):
        return f"a list of {len(tree.items)}" if tree.items else "an empty list"
    keys = [shown(entry.key) for entry in tree]
    return f"a mapping with {'key' if len(keys) == 1 else 'keys'} {listed(keys)}" if keys else "an empty mapping"


class _Converter:
    """Turns composed YAML nodes into trees, counting values so that a small file cannot expand to a huge one."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.count = 0
        self.open: list[int] = []
        self.resolver: Any = yaml.SafeLoader("")  # its methods have no types

    def fail(self, message: str, node: yaml.Node) -> SpaceError:
        return SpaceError(message, Where(self.file, node.start_mark.line + 1))

    def convert(self, node: yaml.Node) -> Tree:
        self.count += 1
        if self.count > MAX_VALUES:
            raise self.fail(f"a space has at most {MAX_VALUES:,} values, aliases written out; this one has more", node)
        if len(self.open) > MAX_DEPTH:
            raise self.fail(f"nested more than {MAX_DEPTH} levels deep; is it the right file?", node)
        if id(node) in self.open:
            raise self.fail("an alias stands inside its own anchor, without end; write the value out", node)
        self._refuse_tag(node)
        line = node.start_mark.line + 1
        if isinstance(node, yaml.ScalarNode):
            return ScalarTree(node.value, line, quoted=node.style is not None)
        self.open.append(id(node))
        tree = self._sequence(node, line) if isinstance(node, yaml.SequenceNode) else self._mapping(node, line)
        self.open.pop()
        return tree

    def _sequence(self, node: yaml.SequenceNode, line: int) -> SequenceTree:
        return SequenceTree(tuple(self.convert(item) for item in node.value), line)

    def _mapping(self, node: yaml.Node, line: int) -> MappingTree:
        entries: dict[str, Entry] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node)
            if key in entries:
                raise self.fail(f"the key '{shown(key)}' stands here again; it was given on line {entries[key].line}", key_node)
            entries[key] = Entry(key, self.convert(value_node), key_node.start_mark.line + 1)
        return MappingTree(tuple(entries.values()), line)

    def _key(self, node: yaml.Node) -> str:
        key = self.convert(node)
        if not isinstance(key, ScalarTree) or key.is_null:
            raise self.fail(f"a key must be a plain word, got {describe(key)}", node)
        if key.text == "<<" and not key.quoted:
            raise self.fail("merge keys (<<) are not supported; write the values out", node)
        return key.text

    def _refuse_tag(self, node: yaml.Node) -> None:
        if isinstance(node, yaml.ScalarNode):
            plain = node.style is None
            usual = self.resolver.resolve(yaml.ScalarNode, node.value, (plain, not plain))
        else:
            usual = self.resolver.resolve(type(node), None, True)
        if node.tag != usual:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            raise self.fail(f"the tag {shown(tag)} is not supported: a space is plain data, read by the types that plugins declare", node)


def _code(character: int | str) -> str:
    return f"U+{character if isinstance(character, int) else ord(character):04X}"


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem or error.context or "it ends too early")
    if "'\\t'" in problem:
        return "a tab stands where YAML wants spaces; indent with spaces"
    if "another document" in problem:
        return "a second document begins here (---); one file holds one space"
    if problem == "mapping values are not allowed here":
        return "a ':' does not fit here; check the indentation, quote the text, or look for a missing ':' above"
    if problem.startswith("expected <block end>"):
        return "the indentation does not fit what stands above"
    if problem == "could not find expected ':'":
        return "a key without ':'; write `key: value`"
    if error.context and error.context_mark and error.problem_mark and error.context_mark.line != error.problem_mark.line:
        return f"{problem} ({error.context} that began on line {error.context_mark.line + 1})"
    return problem
