"""Layer 2: reads YAML into a tree that knows its lines and guesses no types."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Union

import yaml

from nas.errors import SpaceError, Where


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
    """Read one YAML document. Raises SpaceError, with the line, for bad syntax, equal keys and tags."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise SpaceError(f"this is not YAML: {error.problem}", Where(file, line)) from None
    except yaml.YAMLError as error:
        raise SpaceError(f"this is not YAML: {error}", Where(file)) from None
    if node is None:
        raise SpaceError("the file is empty; a space needs at least `name:` and `architecture:`", Where(file))
    return _convert(node, file)


def _convert(node: yaml.Node, file: str) -> Tree:
    line = node.start_mark.line + 1
    if not node.tag.startswith("tag:yaml.org,2002:"):
        raise SpaceError(f"the tag {node.tag} is not supported; configurations are plain data", Where(file, line))
    if isinstance(node, yaml.ScalarNode):
        return ScalarTree(node.value, line, quoted=node.style in ("'", '"', "|", ">"))
    if isinstance(node, yaml.SequenceNode):
        return SequenceTree(tuple(_convert(item, file) for item in node.value), line)
    entries: dict[str, Entry] = {}
    for key_node, value_node in node.value:
        key_line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise SpaceError("a key must be a plain word", Where(file, key_line))
        key = key_node.value
        if key == "<<":
            raise SpaceError("merge keys (<<) are not supported; write the values out", Where(file, key_line))
        if key in entries:
            raise SpaceError(f"the key '{key}' stands here again; it was given on line {entries[key].line}", Where(file, key_line))
        entries[key] = Entry(key, _convert(value_node, file), key_line)
    return MappingTree(tuple(entries.values()), line)


def describe(tree: Tree) -> str:
    """Say what a tree is, for messages: `'on'`, `a list of 3`, `a mapping with keys a, b`."""
    if isinstance(tree, ScalarTree):
        return "nothing" if tree.is_null and not tree.text else f"'{tree.text}'"
    if isinstance(tree, SequenceTree):
        return f"a list of {len(tree.items)}"
    return f"a mapping with keys {', '.join(e.key for e in tree.entries)}" if tree.entries else "an empty mapping"
