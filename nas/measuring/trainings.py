"""Layer 3: results of trainings → arrays of replicate x cell x level, checked once, for the estimator."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.errors import UserError, nearest
from nas.measuring.statistics import Floats
from nas.values.domains import Scalar
from nas.values.effects import Result

At = tuple[Scalar, ...]


@dataclass(frozen=True)
class Trainings:
    """Results in order. Arrays have shape (K, D, L): replicates, cells of `by`, levels with the reference first.

    NaN marks what is missing. Several seeds of one replicate are averaged; `failed` then says that one of them or more did.
    """

    replicates: tuple[int | str, ...]
    at: tuple[At, ...]
    levels: tuple[Scalar, ...]
    value: Floats
    failed: NDArray[np.bool_]
    num_failed: NDArray[np.int_]
    parameters: Floats
    macs: Floats
    num_layers: tuple[int | None, ...]
    most_seeds: int
    left_out: tuple[Scalar, ...]

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Which cells have a value: (K, D, L)."""
        return ~np.isnan(self.value)


def sort_key(value: Any) -> tuple[int, float, str]:
    """Order scalars of mixed type: numbers by size, then truth values, then text, then None."""
    if isinstance(value, bool):
        return (1, float(value), "")
    if isinstance(value, int | float):
        return (0, float(value), "")
    return (3, 0.0, "") if value is None else (2, 0.0, str(value))


def arrange(results: Sequence[Result], *, reference: Scalar, by: Sequence[str], levels: Sequence[Scalar] | None) -> Trainings:
    """Check results and lay them out; the order they come in changes nothing.

    Raises:
        UserError: on no results, a reference or arm that is not there, a value that is not finite, a failed training without
            its score, or a result whose cell does not fit `by`.
    """
    _check(results, by=by)
    seen = sorted({result.level for result in results}, key=sort_key)
    arms = _arms(seen, reference=reference, levels=levels)
    ordered = (reference, *arms)
    kept = [result for result in results if result.level in ordered]
    groups: dict[tuple[Any, At, Scalar], list[Result]] = defaultdict(list)
    for result in kept:
        groups[result.replicate, result.by, result.level].append(result)
    replicates = tuple(sorted({result.replicate for result in kept}, key=sort_key))
    at = tuple(sorted({result.by for result in kept}, key=lambda cell: tuple(sort_key(value) for value in cell)))

    def grid(reduce: Any, kind: Any) -> Any:
        rows = [[[reduce(groups.get((k, d, a), [])) for a in ordered] for d in at] for k in replicates]
        return np.array(rows, dtype=kind)

    return Trainings(
        replicates=replicates,
        at=at,
        levels=ordered,
        value=grid(lambda cell: _mean(result.value for result in cell), np.float64),
        failed=grid(lambda cell: any(result.failed for result in cell), np.bool_),
        num_failed=grid(lambda cell: sum(result.failed for result in cell), np.int_),
        parameters=grid(lambda cell: _mean(result.parameters for result in cell), np.float64),
        macs=grid(lambda cell: _mean(result.macs for result in cell), np.float64),
        num_layers=tuple(_constant(result.num_layers for result in kept if result.by == cell) for cell in at),
        most_seeds=max(sum(result.value is not None for result in cell) for cell in groups.values()),
        left_out=tuple(level for level in seen if level not in ordered),
    )


def complete_replicates(groups: Sequence[Trainings]) -> tuple[int | str, ...]:
    """Return the replicates in which every cell of every group has its value, in order."""
    lacking = {k for group in groups for k, cells in zip(group.replicates, group.measured, strict=True) if not cells.all()} | {
        k for group in groups for k in groups[0].replicates if k not in group.replicates
    }
    return tuple(k for k in groups[0].replicates if k not in lacking)


def _check(results: Sequence[Result], *, by: Sequence[str]) -> None:
    if not results:
        raise UserError("effects: no results to estimate from; give one result for each training")
    for result in results:
        where = f"effects: replicate {result.replicate}, level {result.level}, by {list(result.by)}"
        if len(result.by) != len(by):
            raise UserError(f"{where}: needs one value for each of {list(by)}; got {len(result.by)}")
        if result.value is None and result.failed:
            raise UserError(f"{where}: a failed training is an outcome and needs its failure score; got no value")
        if result.value is not None and not math.isfinite(result.value):
            raise UserError(
                f"{where}: a value must be finite, got {result.value}; score a failed training at the majority class's "
                "share with failed set, and give None for one that is missing"
            )


def _arms(seen: Sequence[Scalar], *, reference: Scalar, levels: Sequence[Scalar] | None) -> tuple[Scalar, ...]:
    if reference not in seen:
        names = ", ".join(str(level) for level in seen)
        raise UserError(
            f"effects: the reference {reference!r} is not among the levels of the results ({names})"
            f"{nearest(str(reference), [str(level) for level in seen])}"
        )
    arms = tuple(dict.fromkeys(level for level in (seen if levels is None else levels) if level != reference))
    if not arms:
        raise UserError(f"effects: nothing to compare with the reference {reference!r}; give one more level or more")
    return arms


def _mean(values: Iterable[float | int | None]) -> float:
    """Average what is there; summed exactly, so that the order of seeds changes no bit."""
    there = [float(value) for value in values if value is not None]
    return math.fsum(there) / len(there) if there else math.nan


def _constant(values: Iterable[int | None]) -> int | None:
    there = {value for value in values if value is not None}
    return there.pop() if len(there) == 1 else None
