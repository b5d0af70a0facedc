"""Layer 2: another data set in a space file's text: the `data:` of the file, or what takes its place, with options changed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from nas.errors import SpaceError, UserError, Where
from nas.registry.registry import Registry
from nas.registry.signature import PluginType
from nas.space.parser import Parser
from nas.space.reading import DEFAULT_DATA, load_space, parse_space
from nas.space.space import Space
from nas.space.yaml_tree import Entry, MappingTree, ScalarTree, SequenceTree, Tree, describe, read_yaml

FLAG = "--data"


def load_space_with(file: str | Path, registry: Registry, *, data: str | None = None, options: Mapping[str, str] | None = None) -> Space:
    """Read a space file, its data set replaced by `data`, and that one's `options` set to other values.

    `data` is what could stand behind `data:`, a name or YAML. Everything else of the file, its line numbers too, stays.
    Raises SpaceError as `load_space` does, at `--data` for what is wrong with that.
    """
    return with_data(load_space(file, registry), data=data, options=options)


def with_data(space: Space, *, data: str | None = None, options: Mapping[str, str] | None = None) -> Space:
    """Return a space on another data set, as `load_space_with` reads one. Raises SpaceError."""
    if data is None and not options:
        return space
    registry, tree = space.registry, read_yaml(space.text, space.file)
    assert isinstance(tree, MappingTree)  # the file was read
    if data is not None:
        node = read_yaml(data, FLAG)
    elif space.input:
        raise UserError(f"{space.file}: `input:` stands in for data, so there are no options to set; name a data set with {FLAG}")
    else:
        node = tree.get("data") or ScalarTree(DEFAULT_DATA, 0)
    for key, text in (options or {}).items():
        node = _with_option(node, key, text)
    parser = Parser(FLAG, registry, shared={entry.key: entry for entry in _shared(tree)})
    parser.value(node, PluginType("data"), "data")
    return parse_space(_replaced(space.text, f"data: {_written(node)}"), space.file, registry)


def name_of_data(data: str) -> str:
    """Return the name of the data set in what could stand behind `data:`; '' where that is no name and no `{name: …}`."""
    node = read_yaml(data, FLAG)
    if isinstance(node, MappingTree):
        return node.entries[0].key if len(node.entries) == 1 else ""
    return node.text if isinstance(node, ScalarTree) else ""


def _with_option(node: Tree, key: str, text: str) -> Tree:
    value = read_yaml(text, f"{FLAG}-option {key}") if text else ScalarTree("", 0, quoted=True)
    if isinstance(node, ScalarTree):
        return MappingTree((Entry(node.text, MappingTree((Entry(key, value, 0),), 0), 0),), 0)
    if not isinstance(node, MappingTree) or len(node.entries) != 1 or node.entries[0].key in ("choices", "shared"):
        raise SpaceError(f"options can be set for one data set, got {describe(node)}; name it with {FLAG}", Where(FLAG, 0, "data"))
    name, inner = node.entries[0].key, node.entries[0].value
    kept = tuple(entry for entry in inner if entry.key != key) if isinstance(inner, MappingTree) else ()
    return MappingTree((Entry(name, MappingTree((*kept, Entry(key, value, 0)), 0), 0),), 0)


def _shared(tree: MappingTree) -> MappingTree:
    inner = tree.get("shared")
    return inner if isinstance(inner, MappingTree) else MappingTree((), 0)


def _replaced(text: str, line: str) -> str:
    """Put `line` where `data:` or `input:` stood; line breaks that it replaces are kept, so that later lines keep their numbers."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)  # the file was read
    for key, value in root.value:
        if key.value in ("data", "input"):
            start, end = key.start_mark.index, value.end_mark.index
            return text[:start] + line + "\n" * text.count("\n", start, end) + text[end:]
    if root.flow_style:
        start = root.start_mark.index + 1
        return f"{text[:start]}{line}, {text[start:]}"
    return f"{text.rstrip()}\n{line}\n"


def _written(tree: Tree) -> str:
    """Write a tree on one line."""
    if isinstance(tree, ScalarTree):
        return json.dumps(tree.text) if tree.quoted or not re.fullmatch(r"[\w./~$+-]+", tree.text) else tree.text
    if isinstance(tree, SequenceTree):
        return f"[{', '.join(map(_written, tree.items))}]"
    return f"{{{', '.join(f'{_written(ScalarTree(entry.key, 0))}: {_written(entry.value)}' for entry in tree)}}}"
