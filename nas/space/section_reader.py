"""Layer 2: reads the sections that hold no decisions: `name:`, `seed:`, `probes:`, `input:`, `constraints:`, `shared:`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.errors import shown
from nas.registry import Registry
from nas.registry.signature import Parameter, ScalarType, parameters_of
from nas.space.parser import Parser
from nas.space.sections import CONSTRAINT_FORM, Constraint, InputOptions
from nas.space.templates import decided
from nas.space.yaml_tree import Entry, MappingTree, ScalarTree, SequenceTree, Tree, describe, read_yaml
from nas.values.architecture import PluginNode

MAX_NAME = 100


def read_mapping(parser: Parser, tree: MappingTree, key: str) -> MappingTree | None:
    """Return a section's mapping; None where it is not given or has nothing in it."""
    inner = tree.get(key)
    if inner is None or (isinstance(inner, ScalarTree) and inner.is_null):
        return None
    if not isinstance(inner, MappingTree):
        raise parser.fail(f"must be a mapping of parameters, got {describe(inner)}", inner, key)
    return inner


def read_name(parser: Parser, tree: Tree | None) -> str:
    """Read `name:`; the file's own name where there is none, with hyphens for what a name may not have."""
    if tree is None:
        stem = "".join(c if _fits_name(c) else "-" for c in Path(parser.file).stem)[:MAX_NAME]
        return stem or "space"
    name: str = parser.constant(tree, ScalarType(str), "name")
    if not name or not all(_fits_name(c) for c in name) or len(name) > MAX_NAME:
        raise parser.fail(f"must be a word of letters, digits, '-', '_' and '.', at most {MAX_NAME}, got '{shown(name)}'", tree, "name")
    return name


def read_seed(parser: Parser, tree: Tree | None) -> int:
    """Read `seed:`; 0 where there is none."""
    return 0 if tree is None else int(parser.constant(tree, ScalarType(int), "seed"))


def read_shared(parser: Parser, tree: MappingTree) -> Mapping[str, Entry]:
    """Return the entries of `shared:` by name."""
    inner = read_mapping(parser, tree, "shared")
    for entry in inner or ():
        if not all(_fits_name(c) and c != "." for c in entry.key):
            raise parser.fail("must be a word of letters, digits, '-' and '_'", entry, f"shared.{entry.key}")
    return {entry.key: entry for entry in inner or ()}


def refuse_unused(parser: Parser) -> None:
    """Raise SpaceError for an entry of `shared:` that nothing uses: it would be ignored."""
    for name, entry in parser.shared.items():
        if name not in parser.used:
            raise parser.fail(f"nothing uses it; write `{{shared: {name}}}` where it belongs, or remove it", entry, f"shared.{name}")


def read_input(parser: Parser, tree: MappingTree) -> InputOptions | None:
    """Read `input:`, which stands in for `data:`."""
    inner, data = tree.get("input"), tree.get("data")
    if inner is None:
        return None
    if not isinstance(inner, MappingTree):
        raise parser.fail(f"must read like `{{shape: [3, 32, 32], classes: 10}}`, got {describe(inner)}", inner, "input")
    if data is not None:
        raise parser.fail("stands in for data, and `data:` is given too; remove one of them", inner, "input")
    options = InputOptions(**read_constants(parser, inner, parameters_of(InputOptions, "input"), "input"))
    if not options.shape:
        raise parser.fail("must have at least one size, got an empty list; a picture is [channels, height, width]", inner, "input.shape")
    return options


def read_constraints(parser: Parser, tree: Tree | None) -> tuple[Constraint, ...]:
    """Read `constraints:`, a list of limits."""
    if tree is None or (isinstance(tree, ScalarTree) and tree.is_null):
        return ()
    if not isinstance(tree, SequenceTree):
        raise parser.fail(f"must be a list like `[parameters <= 1M]`, got {describe(tree)}", tree, "constraints")
    found = []
    for i, item in enumerate(tree.items):
        if not isinstance(item, ScalarTree):
            raise parser.fail(f"{CONSTRAINT_FORM}, got {describe(item)}", item, f"constraints.{i}")
        try:
            found.append(Constraint.parse(item.text))
        except ValueError as error:
            raise parser.fail(str(error), item, f"constraints.{i}") from None
    return tuple(found)


def parse_probe(text: str, registry: Registry) -> PluginNode:
    """Read a probe as a space file writes it, from elsewhere. Raises SpaceError for a wrong one."""
    return read_probe(Parser("", registry), read_yaml(text, "the probe"), "probe")


def read_probes(parser: Parser, tree: Tree | None) -> tuple[PluginNode, ...]:
    """Read `probes:`, a list of probes, each a name or `{name: {parameter: value}}` without decisions."""
    if tree is None or (isinstance(tree, ScalarTree) and tree.is_null):
        return ()
    if not isinstance(tree, SequenceTree):
        raise parser.fail(f"must be a list like `[lesion, gradients]`, got {describe(tree)}", tree, "probes")
    found: dict[str, PluginNode] = {}
    for i, item in enumerate(tree.items):
        node = read_probe(parser, item, f"probes.{i}")
        if node.name in found:
            raise parser.fail(f"the probe '{node.name}' stands here twice, and its figures would have one name", item, f"probes.{i}")
        found[node.name] = node
    return tuple(found.values())


def read_probe(parser: Parser, tree: Tree, path: str) -> PluginNode:
    """Read one probe without decisions."""
    template = parser.node(tree, "probe", path)
    try:
        node = decided(template)
    except ValueError as error:
        raise parser.fail("must be a constant; decisions stand under architecture, train and data", tree, str(error)) from None
    assert isinstance(node, PluginNode), "a node template gives a node"
    return node


def read_constants(parser: Parser, tree: MappingTree | None, declared: tuple[Parameter, ...], name: str) -> dict[str, Any]:
    """Read a section whose values are all constants; refuses decisions, unknown and missing parameters."""
    parser.section(tree, declared, name, kind=name, name=name)
    types = {parameter.name: parameter.type for parameter in declared}
    return {entry.key: parser.constant(entry.value, types[entry.key], f"{name}.{entry.key}") for entry in tree or ()}


def _fits_name(character: str) -> bool:
    return character.isalnum() or character in "-_."
