"""Layer 2: reads `search: {gate: …}`: the cheap look at a network that decides whether it is trained."""

from __future__ import annotations

from collections.abc import Sequence

from nas.errors import listed, nearest, shown
from nas.registry.signature import parameters_of
from nas.space.parser import Parser
from nas.space.section_reader import read_constants, read_probe
from nas.space.sections import Gate, GateOptions
from nas.space.task_section import figures_of
from nas.space.yaml_tree import MappingTree, ScalarTree, describe
from nas.values.architecture import PluginNode

FORM = "{score: naswot.score, keep: 0.5}"


def read_gate(parser: Parser, tree: MappingTree, probes: Sequence[PluginNode]) -> Gate | None:
    """Read the gate; its probe is that of `probes:` with its parameters, where it stands there. Raises SpaceError for no figure."""
    section = tree.get("search")
    given = section.get("gate") if isinstance(section, MappingTree) else None
    if given is None or (isinstance(given, ScalarTree) and given.is_null):
        return None
    if not isinstance(given, MappingTree):
        raise parser.fail(f"must be a mapping like `{FORM}`, got {describe(given)}", given, "search.gate")
    options = GateOptions(**read_constants(parser, given, parameters_of(GateOptions, "search.gate"), "search.gate"))
    place = given.get("score") or given
    name, _, figure = options.score.partition(".")
    known = parser.registry.names("probe")
    if name not in known:
        rule = f"must be a probe's figure, PROBE.FIGURE, got '{shown(options.score)}'{nearest(name, known)}"
        raise parser.fail(rule, place, "search.gate.score")
    figures = figures_of([PluginNode(name)], parser.registry)
    if options.score not in figures:
        rule = f"must be a figure of the probe '{name}', one of {listed(list(figures))}, got '{shown(options.score)}'"
        raise parser.fail(rule, place, "search.gate.score")
    bare = next((probe for probe in probes if probe.name == name), None)
    probe = bare or read_probe(parser, ScalarTree(name, place.line), "search.gate.score")
    return Gate(probe=probe, figure=figure, direction=figures[options.score], keep=options.keep, warm_up=options.warm_up)
