"""Layer 1: a plugin's signature read as its schema: which parameters a space file may set, of what type, in what range."""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from nas.errors import PluginError
from nas.plugin import Bounds
from nas.values.domains import written


@dataclass(frozen=True)
class ScalarType:
    """A bool, int, float or str, a number perhaps within bounds."""

    python: type
    bounds: Bounds = Bounds()

    def within(self, number: float) -> bool:
        """Say whether a number lies in the bounds."""
        low, high = self.bounds.low, self.bounds.high
        return (low is None or number >= low) and (high is None or number <= high)

    def __str__(self) -> str:
        low, high = self.bounds.low, self.bounds.high
        if low is None and high is None:
            return self.python.__name__
        if high is None:
            return f"{self.python.__name__} >= {low:g}"
        return f"{self.python.__name__} in {low:g}..{high:g}" if low is not None else f"{self.python.__name__} <= {high:g}"


@dataclass(frozen=True)
class OneOf:
    """One of a few written values."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return " | ".join(written(value) for value in self.values)


@dataclass(frozen=True)
class PluginType:
    """Another plugin of a kind."""

    kind: str

    def __str__(self) -> str:
        if self.kind == "data":
            return "a data set"
        return f"{'an' if self.kind[:1] in 'aeiou' else 'a'} {self.kind}"


@dataclass(frozen=True)
class ListType:
    """A list of values of one type."""

    item: ParameterType

    def __str__(self) -> str:
        return f"list of {self.item.kind}s" if isinstance(self.item, PluginType) else f"list of {self.item}"


@dataclass(frozen=True)
class NothingType:
    """The value null."""

    def __str__(self) -> str:
        return "null"


@dataclass(frozen=True)
class UnionType:
    """Any one of several types."""

    members: tuple[ParameterType, ...]

    def __str__(self) -> str:
        return " or ".join(str(member) for member in self.members)


ParameterType = Union[ScalarType, OneOf, PluginType, ListType, NothingType, UnionType]

REQUIRED = inspect.Parameter.empty
_FORMS = "bool, int, float, str, Literal[…], tuple[T, ...], Each[T], T | None or Factory[Block]"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a plugin: its name, type, and default (REQUIRED where it has none)."""

    name: str
    type: ParameterType
    default: Any = REQUIRED

    @property
    def required(self) -> bool:
        """Whether a space file has to give it."""
        return self.default is REQUIRED


def parameters_of(cls: type, where: str) -> tuple[Parameter, ...]:
    """Read the keyword-only parameters of `cls`. Raises PluginError, naming `where`, for one that no space file could set."""
    constructor = cls.__init__  # type: ignore[misc]  # the constructor of this very class is what is wanted
    if constructor is object.__init__:
        return ()
    try:
        hints = typing.get_type_hints(constructor, include_extras=True)
    except Exception as error:  # annotations are expressions: whatever they raise
        raise PluginError(
            f"{where}: a type in the signature of {cls.__name__} cannot be read: {error}; "
            "import it outside `if TYPE_CHECKING:`, since space files are checked against it"
        ) from error
    found = []
    for place, parameter in enumerate(inspect.signature(constructor).parameters.values()):
        told = f"{where}: parameter '{parameter.name}' of {cls.__name__}"
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            _refuse_positional(parameter, place, told)
        elif parameter.name not in hints:
            raise PluginError(f"{told} has no type; write it as `{parameter.name}: int = 3`, so that space files can be checked")
        else:
            found.append(Parameter(parameter.name, read_type(hints[parameter.name], told), parameter.default))
    return tuple(found)


def read_type(hint: Any, where: str) -> ParameterType:
    """Turn a type annotation into a ParameterType. Raises PluginError for one that YAML cannot express."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _with_bounds(read_type(arguments[0], where), arguments[1:])
    if hint in (bool, int, float, str):
        return ScalarType(hint)
    if hint in (None, type(None)):
        return NothingType()
    if origin is Literal:
        return OneOf(arguments)
    if origin in (Union, types.UnionType):
        return UnionType(tuple(read_type(argument, where) for argument in arguments))
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        return ListType(read_type(arguments[0], where))
    if origin is collections.abc.Callable and getattr(arguments[-1], "kind", None):
        return PluginType(arguments[-1].kind)
    raise PluginError(f"{where} has the type {_name(hint)}, which no space file can write; use {_FORMS}")


def kind_in(expected: ParameterType) -> str:
    """Return the kind of plugin that a type admits, or '' where it admits none."""
    for member in members_of(expected):
        if isinstance(member, PluginType):
            return member.kind
        if isinstance(member, ListType) and kind_in(member.item):
            return kind_in(member.item)
    return ""


def members_of(expected: ParameterType) -> tuple[ParameterType, ...]:
    """Return the members of a union, or the type itself alone."""
    return expected.members if isinstance(expected, UnionType) else (expected,)


def _refuse_positional(parameter: inspect.Parameter, place: int, told: str) -> None:
    """Beside self, a constructor takes by position only what it is injected: one context, without a default."""
    if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
        return
    if place > 1 or parameter.default is not REQUIRED:
        raise PluginError(
            f"{told} stands before the `*`, so no space file could set it; make it keyword-only: `(self, context, *, {parameter})`"
        )


def _with_bounds(read: ParameterType, extras: tuple[Any, ...]) -> ParameterType:
    bounds = next((extra for extra in extras if isinstance(extra, Bounds)), None)
    if bounds is None or not isinstance(read, ScalarType):
        return read
    return ScalarType(read.python, bounds)


def _name(hint: Any) -> str:
    return getattr(hint, "__name__", str(hint)) if isinstance(hint, type) and not get_args(hint) else str(hint)
