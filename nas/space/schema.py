"""Layer 2: a JSON Schema of space files, for editors, out of the same declarations that check them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from nas.recipe import Recipe
from nas.registry.registry import PluginInfo, Registry
from nas.registry.signature import ListType, OneOf, Parameter, ParameterType, PluginType, ScalarType, members_of, parameters_of
from nas.space.sections import QUANTITIES, GateOptions, InputOptions, SearchOptions
from nas.space.task_section import figures_of, metrics_of
from nas.values.architecture import PluginNode
from nas.values.effects import LOOKS, MATCHED
from nas.values.metrics import Direction

DRAFT = "http://json-schema.org/draft-07/schema#"
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def schema_of(registry: Registry) -> dict[str, Any]:
    """Return the schema of the space files that `registry`'s plugins admit.

    It completes and checks names, types and bounds. What hangs together over several places (the decisions that `measure:`
    names, shared entries) is left to `nas check`.
    """
    kinds = {kind: _kind(registry, kind) for kind in registry.kinds()}
    return {
        "$schema": DRAFT,
        "title": "A space file of nas",
        "type": "object",
        "additionalProperties": False,
        "required": ["architecture"],
        "properties": {
            "name": {"type": "string", "description": "The study's name; the file's name by default."},
            "data": {"$ref": "#/definitions/data"},
            "task": {"$ref": "#/definitions/task"},
            "input": _section(parameters_of(InputOptions, "input"), InputOptions, constant=True),
            "architecture": {"$ref": "#/definitions/network"},
            "train": _section(parameters_of(Recipe, "train"), Recipe),
            "probes": {"type": "array", "items": {"$ref": "#/definitions/probe"}},
            "search": _search(),
            "measure": _measure(registry),
            "constraints": {"type": "array", "items": {"type": "string", "pattern": f"^({'|'.join(QUANTITIES)})\\s*[<>]=?\\s*[0-9.]"}},
            "shared": {"type": "object", "description": "Decisions that are made once and used by name: `{shared: name}`."},
            "seed": {"type": "integer"},
        },
        "definitions": kinds,
    }


def _kind(registry: Registry, kind: str) -> dict[str, Any]:
    """Return the schema of a value that is a plugin of `kind`: a name, a name with parameters, or a choice of such."""
    infos = [registry.find(kind, name) for name in registry.names(kind)]
    bare = [info for info in infos if not any(p.required for p in info.parameters)]
    nodes = [{"const": info.name, "description": info.summary} for info in bare]
    return _decidable([*nodes, *map(_node, infos)], {"$ref": f"#/definitions/{kind}"})


def _node(info: PluginInfo) -> dict[str, Any]:
    inner = {**_section(info.parameters, info.cls), "type": ["object", "null"]}
    return {"type": "object", "additionalProperties": False, "required": [info.name], "properties": {info.name: inner}}


def _section(declared: Sequence[Parameter], cls: type, *, constant: bool = False) -> dict[str, Any]:
    make = _constant if constant else _value
    return {
        "type": "object",
        "description": (cls.__doc__ or "").strip().partition("\n")[0],
        "additionalProperties": False,
        "properties": {p.name: make(p.type) for p in declared},
        "required": [p.name for p in declared if p.required],
    }


def _search() -> dict[str, Any]:
    section = _section(parameters_of(SearchOptions, "search"), SearchOptions, constant=True)
    start = {"type": "array", "minItems": 1, "items": {"type": "object", "description": "Values of decisions, by their paths."}}
    gate = _section(parameters_of(GateOptions, "search.gate"), GateOptions, constant=True)
    return {**section, "properties": {**section["properties"], "start": start, "gate": {"anyOf": [gate, {"type": "null"}]}}}


def _value(expected: ParameterType) -> dict[str, Any]:
    """Return the schema of a value that may be a decision."""
    members = members_of(expected)
    ranges = [_range("int")] if any(isinstance(m, ScalarType) and m.python is int for m in members) else []
    ranges += [_range("float")] if any(isinstance(m, ScalarType) and m.python is float for m in members) else []
    constants = list(_constants(expected))
    return _decidable([*constants, *ranges], _any(constants))


def _constant(expected: ParameterType) -> dict[str, Any]:
    return _any(list(_constants(expected, constant=True)))


def _constants(expected: ParameterType, *, constant: bool = False) -> Iterator[dict[str, Any]]:
    for member in members_of(expected):
        if isinstance(member, ScalarType):
            bounds = {"minimum": member.bounds.low, "maximum": member.bounds.high}
            yield {"type": _TYPES[member.python], **{name: bound for name, bound in bounds.items() if bound is not None}}
        elif isinstance(member, OneOf):
            yield {"enum": list(member.values)}
        elif isinstance(member, PluginType):
            yield {"$ref": f"#/definitions/{member.kind}"}
        elif isinstance(member, ListType):
            yield {"type": "array", "items": (_constant if constant else _value)(member.item)}
        else:
            yield {"type": "null"}


def _decidable(constants: Sequence[dict[str, Any]], choice: dict[str, Any]) -> dict[str, Any]:
    choices = {"choices": {"type": "array", "minItems": 1, "items": choice}}
    shared = {"shared": {"type": "string"}}
    return _any([*constants, _exactly(choices), _exactly(shared)])


def _range(key: str) -> dict[str, Any]:
    number = {"type": "integer" if key == "int" else "number"}
    ends = {key: {"type": "array", "items": number, "minItems": 2, "maxItems": 2}, "log": {"type": "boolean"}}
    return {**_exactly({**ends, "step": {"type": "integer", "minimum": 1}} if key == "int" else ends), "required": [key]}


def _exactly(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": list(properties), "properties": properties}


def _any(schemas: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"anyOf": list(schemas)}


def _measure(registry: Registry) -> dict[str, Any]:
    metrics = {full for task in registry.names("task") for metric in metrics_of(registry, task) for full in metric.on_parts}
    metrics |= set(figures_of([PluginNode(name) for name in registry.names("probe")], registry))
    label: dict[str, Any] = {"description": "A value of the decision, as `nas check` prints it."}
    labels = {"type": "array", "minItems": 1, "items": label}
    return {
        "type": "object",
        "description": "What is measured: the effect of the factor's levels against the reference.",
        "additionalProperties": False,
        "required": ["factor", "reference"],
        "properties": {
            "factor": {"type": "string", "description": "The path of the decision that is measured."},
            "reference": label,
            "levels": labels,
            "by": {"type": "object", "additionalProperties": labels, "description": "Decisions and the values to measure at."},
            "hold": {"type": "object", "additionalProperties": label, "description": "Decisions held at one value."},
            "replicates": {"type": "integer", "minimum": 1},
            "smallest_effect": {"type": "number", "minimum": 0, "description": "In the metric's own size; of a share, 0.01 is one point."},
            "metric": {"enum": sorted(metrics)},
            "direction": {"enum": list(get_args(Direction)), "description": "Which way a probe's figure is better."},
            "tune": {
                "type": "object",
                "description": "The tuned effect: each arm searched for itself with so many trials, winners retrained and compared.",
                "additionalProperties": False,
                "required": ["trials"],
                "properties": {
                    "trials": {"type": "integer", "minimum": 1},
                    "decisions": {"type": "array", "minItems": 1, "items": {"type": "string"}},
                },
            },
            "vectorise": {
                "anyOf": [{"type": "integer", "minimum": 1}, {"enum": ["auto", "none"]}],
                "description": "Train so many replicates at most as one program, where their networks are alike.",
            },
            "match": {"type": "array", "items": {"enum": list(MATCHED)}, "description": "Train wider references of equal cost too."},
            "looks": {
                "const": [at for at, _ in LOOKS],
                "description": "Read it at these numbers of replicates, and end where that decides.",
            },
        },
    }
