"""Layer 5: what every plugin has to keep: a readable signature; and what every module has to: seeds, state, copies, export."""

from __future__ import annotations

import copy
import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from nas.registry.signature import (
    ListType,
    NothingType,
    OneOf,
    ParameterType,
    PluginType,
    ScalarType,
    UnionType,
)
from nas.testing.subject import Subject, broken, equal_states, perturb, weighted_sum
from nas.values.architecture import PluginNode

Build = Callable[[int], nn.Module]
"""Builds a module from a seed, the same way each time."""


def check_signature(subject: Subject) -> None:
    """The declared parameters are the constructor's own, each with a type and a default that fits; the class has a docstring."""
    if not (vars(subject.info.cls).get("__doc__") or "").strip():
        broken("the class has no docstring, which is its help")
    taken = inspect.signature(subject.info.cls).parameters.values()
    names = tuple(p.name for p in taken if p.kind is inspect.Parameter.KEYWORD_ONLY)
    declared = tuple(parameter.name for parameter in subject.info.parameters)
    if names != declared:
        broken(f"the class takes {', '.join(names) or 'no parameters'}, but a space file may set {', '.join(declared) or 'none'}")
    if loose := [str(p) for p in taken if p.kind in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)]:
        broken(f"the constructor takes {' and '.join(loose)}, of which no space file knows; name each parameter, with its type")
    for parameter in subject.info.parameters:
        if not parameter.required and not fits(parameter.default, parameter.type):
            broken(f"the default of '{parameter.name}' is {parameter.default!r}, which is not {parameter.type}")


def fits(value: Any, expected: ParameterType) -> bool:
    """Whether a space file could give `value` to a parameter of the type `expected`."""
    if isinstance(expected, UnionType):
        return any(fits(value, member) for member in expected.members)
    if isinstance(expected, NothingType):
        return value is None
    if isinstance(expected, OneOf):
        return value in expected.values
    if isinstance(expected, PluginType):
        return isinstance(value, PluginNode)
    if isinstance(expected, ListType):
        return isinstance(value, tuple) and all(fits(item, expected.item) for item in value)
    return _is_scalar(value, expected)


def _is_scalar(value: Any, expected: ScalarType) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return isinstance(value, expected.python)
    low, high = expected.bounds.low, expected.bounds.high
    inside = math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
    return inside and (expected.python is float or (expected.python is int and isinstance(value, int)))


def same_seed_same_weights(build: Build) -> None:
    """Two modules built from one seed are equal bit for bit."""
    if not equal_states(build(5), build(5)):
        broken("two builds from one seed differ; draw random values from torch's generator, in the constructor, or not at all")


def state_round_trip(build: Build, x: Tensor) -> None:
    """A second module that loads the first one's state gives the same output."""
    first, second = build(0).eval(), build(1).eval()
    perturb(first)
    second.load_state_dict(first.state_dict(), strict=True)
    with torch.no_grad():
        if not torch.equal(first(x), second(x)):
            broken("a module that loaded another's state_dict() gives other outputs; keep state in parameters and buffers")


def deep_copy(build: Build, x: Tensor) -> None:
    """A deep copy gives the same output and shares no tensor with the original."""
    module = build(0).eval()
    duplicate = copy.deepcopy(module)
    with torch.no_grad():
        before = module(x)
        if not torch.equal(before, duplicate(x)):
            broken("a deep copy gives another output")
        perturb(duplicate)
        if not torch.equal(before, module(x)):
            broken("a change of a deep copy's parameters changes the original; hold no module or tensor outside of itself")


def exports(build: Build, x: Tensor) -> None:
    """`torch.export` turns it into a graph that gives the same output."""
    module = build(0).eval()
    perturb(module)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch.export warns of its own parts
        expected = module(x)
        graph = torch.export.export(module, (x,))
        if not torch.allclose(graph.module()(x), expected, atol=1e-5):
            broken("the exported graph gives another output")


def every_parameter_learns(module: nn.Module, x: Tensor) -> None:
    """With every parameter moved off its initial value, a gradient reaches every one, and the input."""
    module.eval()
    x = x.clone().requires_grad_(True)
    for seed in range(3):  # a rectifier may be off by chance; the gradients of all three places add up
        perturb(module, seed)
        weighted_sum(module(x), seed).backward()
    dead = [path for path, p in module.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    if dead:
        broken(f"no gradient reaches {', '.join(dead)}; use every parameter, or do not create it")
    if x.grad is None or not x.grad.any():
        broken("no gradient reaches the input")
