"""Layer 2: a space file, section by section, read into a Space."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nas.errors import SpaceError, UserError, Where, nearest
from nas.paths import shipped
from nas.recipe import LATER, Recipe
from nas.registry.registry import Registry
from nas.registry.signature import PluginType, parameters_of
from nas.space.fitting import refuse_misfit
from nas.space.gate_section import read_gate
from nas.space.measure_section import read_measure
from nas.space.parser import Parser
from nas.space.search_section import read_search
from nas.space.section_reader import (
    read_constraints,
    read_input,
    read_mapping,
    read_name,
    read_probes,
    read_seed,
    read_shared,
    refuse_unused,
)
from nas.space.space import Space
from nas.space.start_section import read_starts
from nas.space.task_section import read_task, refuse_smoothing
from nas.space.templates import Decision, Fixed, NodeTemplate
from nas.space.yaml_tree import MappingTree, ScalarTree, describe, read_yaml

SECTIONS = ("name", "data", "task", "input", "architecture", "train", "probes", "search", "measure", "constraints", "shared", "seed")
DEFAULT_DATA = "digits"
MAX_PATH = 500  # the ledger's databases hold 512 characters


def load_space(file: str | Path, registry: Registry) -> Space:
    """Read and check a space file. Raises SpaceError with file, line, path, rule and value for anything wrong in it."""
    try:
        text = Path(file).read_text(encoding="utf-8")
    except OSError as error:
        ours = shipped("search_spaces") / Path(file).name
        hint = f"; the one that ships with nas is {ours}" if ours.is_file() else ""
        raise UserError(f"cannot read the space file {file}: {error.strerror}{hint}") from None
    except ValueError:  # not UTF-8, or a name that no file can have
        raise UserError(f"cannot read the space file {file}: it is not UTF-8 text") from None
    return parse_space(text, str(file), registry)


def parse_space(text: str, file: str, registry: Registry) -> Space:
    """Parse the text of a space file; `file` is only for messages. Raises SpaceError as `load_space` does."""
    tree = read_yaml(text, file)
    if not isinstance(tree, MappingTree):
        raise SpaceError(f"a space must be a mapping of sections, `architecture: …`, got {describe(tree)}", Where(file, tree.line))
    for entry in tree:
        if entry.key not in SECTIONS:
            raise SpaceError(f"unknown section{nearest(entry.key, SECTIONS)}", Where(file, entry.line, entry.key))
    bare = Parser(file, registry)
    parser = replace(bare, shared=read_shared(bare, tree))
    space = _read(parser, tree, text)
    refuse_unused(parser)
    _refuse_clashing_paths(parser, space)
    refuse_misfit(parser, tree, space.search, space.decisions)
    space = replace(space, starts=read_starts(parser, space, tree), gate=read_gate(parser, tree, space.probes))
    measure = tree.get("measure")
    if measure is None:
        return space
    if not isinstance(measure, MappingTree):
        raise parser.fail(f"must be a mapping with `factor:` and `reference:`, got {describe(measure)}", measure, "measure")
    return replace(space, measure=read_measure(parser, space, measure))


def _read(parser: Parser, tree: MappingTree, text: str) -> Space:
    architecture = tree.get("architecture")
    if architecture is None:
        networks = ", ".join(parser.registry.names("network"))
        raise SpaceError(f"must be given; it names a network: {networks}", Where(parser.file, tree.line, "architecture"))
    recipe = parameters_of(Recipe, "train")
    data = parser.value(tree.get("data") or ScalarTree(DEFAULT_DATA, tree.line), PluginType("data"), "data")
    task = read_task(parser, tree, data)
    train = read_mapping(parser, tree, "train")
    refuse_smoothing(parser, train, task.name)
    return Space(
        name=read_name(parser, tree.get("name")),
        file=parser.file,
        text=text,
        data=data,
        task=task,
        architecture=parser.value(architecture, PluginType("network"), "architecture"),
        train=_without_later(parser.section(train, recipe, "train", kind="train", name="train")),
        search=read_search(parser, tree, task.name),
        measure=None,
        constraints=read_constraints(parser, tree.get("constraints")),
        seed=read_seed(parser, tree.get("seed")),
        input=read_input(parser, tree),
        registry=parser.registry,
        probes=read_probes(parser, tree.get("probes")),
    )


def _without_later(train: NodeTemplate) -> NodeTemplate:
    """Leave out of a recipe what came later, where it is as it always was."""
    kept = ((name, value) for name, value in train.parameters if name not in LATER or value != Fixed(getattr(Recipe, name)))
    return replace(train, parameters=tuple(kept))


def _refuse_clashing_paths(parser: Parser, space: Space) -> None:
    """A shared decision is one decision: every use must mean the same by it. Paths must fit the ledger."""
    known: dict[str, Decision] = {}
    for placed in space.placed:
        path = placed.decision.path
        entry = parser.shared.get(path.split(".")[1]) if path.startswith("shared.") else None
        where = Where(parser.file, entry.line if entry else 0, path)
        if len(path) > MAX_PATH:
            raise SpaceError(f"a decision's path has at most {MAX_PATH} characters, this one has {len(path)}; shorten names in it", where)
        # Not by ==, which takes 1 for 1.0 and for true.
        if repr(known.setdefault(path, placed.decision)) != repr(placed.decision):
            raise SpaceError("is used where it means different things, so it cannot be one decision; write it out for each use", where)
