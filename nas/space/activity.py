"""Layer 2: when a decision exists: always, sometimes or never, where other decisions may take only some of their values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nas.space.templates import Placed
from nas.values.domains import Choices, Scalar

Use = tuple[tuple[str, Scalar], ...]
"""What must be chosen for one use of a decision to exist: (path, label) pairs, all of them."""

Admitted = Mapping[str, Sequence[Scalar]]
"""The values that decisions may take; every label where a decision is not mentioned."""


def uses_of(path: str, placed: Iterable[Placed]) -> tuple[Use, ...]:
    """Return the conditions of each use of the decision `path`; a decision exists where one use does."""
    return tuple(p.under for p in placed if p.decision.path == path)


def always(uses: Sequence[Use], admitted: Admitted) -> bool:
    """Say whether one of the uses exists whatever admitted values the other decisions take."""
    if any(not use for use in uses):
        return True
    if not uses:
        return False
    path = uses[0][0][0]
    return all(always(_given(uses, path, label), admitted) for label in admitted[path])


def possible(uses: Sequence[Use], admitted: Admitted) -> bool:
    """Say whether one of the uses exists under some admitted values."""
    return any(all(_among(label, admitted[path]) for path, label in use) for use in uses)


def everything(placed: Iterable[Placed]) -> dict[str, Sequence[Scalar]]:
    """Return every label of every choice: what is admitted where nothing is held."""
    return {p.decision.path: p.decision.domain.labels for p in placed if isinstance(p.decision.domain, Choices)}


def _given(uses: Sequence[Use], path: str, label: Scalar) -> tuple[Use, ...]:
    """Return what is left of the uses once `path` is decided: without those that need another label of it."""
    kept = (use for use in uses if all(p != path or _among(value, [label]) for p, value in use))
    return tuple(tuple(pair for pair in use if pair[0] != path) for use in kept)


def _among(label: Scalar, labels: Sequence[Scalar]) -> bool:
    return any(label == other and type(label) is type(other) for other in labels)
