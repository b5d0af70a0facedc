"""Layer 1: fully decided values: a plugin node, an architecture, a configuration, each with a canonical form and a key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

from nas.values.domains import Scalar, written

Value = Union[Scalar, "PluginNode", tuple["Value", ...]]


@dataclass(frozen=True)
class PluginNode:
    """A plugin by name with every one of its parameters decided, defaults included, in the order of its signature."""

    name: str
    parameters: tuple[tuple[str, Value], ...] = ()

    def __getitem__(self, parameter: str) -> Value:
        return dict(self.parameters)[parameter]

    def to_dict(self) -> dict[str, Any]:
        """Return the canonical JSON form `{name: {parameter: value, …}}`."""
        return {self.name: {name: to_json(value) for name, value in self.parameters}}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> PluginNode:
        """Read the form that `to_dict` writes. Raises ValueError where it is not one name with its parameters."""
        if len(document) != 1:
            raise ValueError(f"a plugin node is {{name: {{…}}}}, got {sorted(document)}")
        ((name, parameters),) = document.items()
        return cls(name, tuple((key, from_json(value)) for key, value in (parameters or {}).items()))

    def __str__(self) -> str:
        return write(self)


def to_json(value: Value) -> Any:
    """Turn a decided value into plain JSON data."""
    if isinstance(value, PluginNode):
        return value.to_dict()
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    return value


def from_json(document: Any) -> Value:
    """Read what `to_json` wrote. The only mappings in it are plugin nodes."""
    if isinstance(document, Mapping):
        return PluginNode.from_dict(document)
    if isinstance(document, list | tuple):
        return tuple(from_json(item) for item in document)
    return document  # type: ignore[no-any-return]  # what is left in JSON is a Scalar


def write(value: Value) -> str:
    """Write a value for people on one line: `gated(bias=-6)`, `8-16-32`, `identity`."""
    if isinstance(value, PluginNode):
        inner = ", ".join(f"{name}={write(item)}" for name, item in value.parameters)
        return f"{value.name}({inner})" if inner else value.name
    if isinstance(value, tuple):
        return "-".join(write(item) for item in value)
    return written(value)


def key_of(document: Any) -> str:
    """Hash plain JSON data to 12 hexadecimal digits; equal data gives equal keys whatever its key order."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Architecture:
    """One fully decided network description."""

    network: PluginNode

    @property
    def key(self) -> str:
        """The hash of the canonical form: equal architectures have equal keys."""
        return key_of(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return the canonical JSON form `{network: {…}}`."""
        return self.network.to_dict()

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Architecture:
        """Read the form that `to_dict` writes."""
        return cls(PluginNode.from_dict(document))


@dataclass(frozen=True)
class Configuration:
    """All that one training needs but its seed: an architecture, a training recipe, a data set and its task, all decided."""

    architecture: Architecture
    train: PluginNode
    data: PluginNode
    task: PluginNode = PluginNode("classification")

    @property
    def key(self) -> str:
        """The hash of all parts: trainings of equal key and seed are the same training."""
        return key_of(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return the canonical JSON form."""
        return {
            "architecture": self.architecture.to_dict(),
            "train": self.train.to_dict(),
            "data": self.data.to_dict(),
            "task": self.task.to_dict(),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Configuration:
        """Read the form that `to_dict` writes."""
        return cls(
            Architecture.from_dict(document["architecture"]),
            PluginNode.from_dict(document["train"]),
            PluginNode.from_dict(document["data"]),
            PluginNode.from_dict(document.get("task", {"classification": {}})),
        )
