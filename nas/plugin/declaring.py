"""Layer 1: how a plugin is declared: the mark, the types of its parameters, the plugins that stand in them by default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, Union

from nas.values.architecture import PluginNode

T = TypeVar("T")

Factory = Callable[..., T]
"""The type of a parameter that takes another plugin: `block: Factory[Block]`. The network calls it once for each instance."""

Each = Union[T, tuple[T, ...]]
"""The type of a parameter that takes one value for all stages or a list with one value a stage."""


@dataclass(frozen=True)
class Bounds:
    """The closed range a number must lie in; None leaves a side open. Used as `Annotated[int, Bounds(1)]`."""

    low: float | None = None
    high: float | None = None


Count = Annotated[int, Bounds(1)]

Positive = Annotated[float, Bounds(0.0)]

Fraction = Annotated[float, Bounds(0.0, 1.0)]


def plugin(name: str) -> Callable[[type[T]], type[T]]:
    """Mark a class as the plugin `name` of its base's kind. Discovery finds it; nothing is registered globally."""

    def mark(cls: type[T]) -> type[T]:
        if not getattr(cls, "kind", ""):
            raise TypeError(f"@plugin({name!r}) on {cls.__name__}: inherit one of the bases of nas.plugin (Block, Shortcut, …)")
        cls.plugin_name = name  # type: ignore[attr-defined]  # the mark that discovery looks for
        return cls

    return mark


def use(name: str, **parameters: Any) -> Any:
    """Name another plugin as the default of a parameter.

    Write it as `norm: Factory[Norm] = use("batch")`.
    """
    return PluginNode(name, tuple(parameters.items()))
