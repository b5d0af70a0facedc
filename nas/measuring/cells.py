"""Layer 3: the depth x arm table: plain facts of each cell and its comparison with the reference (docs/method.md, "What is estimated")."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas.measuring.statistics import Floats, clopper_pearson, mcnemar_p, newcombe_paired
from nas.measuring.trainings import Trainings
from nas.values.effects import CellSummary, Interval

Flags = NDArray[np.bool_]


def summarise(trainings: Trainings, *, sign: float) -> tuple[CellSummary, ...]:
    """Return one summary a cell, the reference's first, then arm by arm. `sign` is -1 where smaller values are better."""
    return tuple(_cell(trainings, d, a, sign) for a in range(len(trainings.levels)) for d in range(len(trainings.at)))


def _cell(trainings: Trainings, d: int, a: int, sign: float) -> CellSummary:
    measured = trainings.measured[:, d, a]
    values = trainings.value[measured, d, a]
    comparison = _comparison(trainings, d, a, sign) if a else dict.fromkeys(_COMPARISON)
    return CellSummary(
        level=trainings.levels[a],
        at=trainings.at[d],
        n=int(measured.sum()),
        mean=float(values.mean()) if values.size else None,
        sd=float(values.std(ddof=1)) if values.size > 1 else None,
        failures=int(trainings.num_failed[:, d, a].sum()),
        missing=int((~measured).sum()),
        **comparison,
    )


_COMPARISON = (
    "mean_where_both_trained",
    "wins",
    "wins_interval",
    "failure_difference",
    "failure_difference_interval",
    "failure_p",
    "correlation",
    "parameter_difference",
    "mac_difference",
)


def _comparison(trainings: Trainings, d: int, a: int, sign: float) -> dict[str, Any]:
    pairs = trainings.measured[:, d, a] & trainings.measured[:, d, 0]
    arm, reference = sign * trainings.value[pairs, d, a], sign * trainings.value[pairs, d, 0]
    arm_failed, reference_failed = trainings.failed[pairs, d, a], trainings.failed[pairs, d, 0]
    both_trained = ~arm_failed & ~reference_failed
    wins, wins_interval = _wins(np.where(arm_failed, -np.inf, arm), np.where(reference_failed, -np.inf, reference))
    difference, interval, p = _failures(arm_failed, reference_failed)
    return {
        "mean_where_both_trained": float((arm - reference)[both_trained].mean()) if both_trained.any() else None,
        "wins": wins,
        "wins_interval": wins_interval,
        "failure_difference": difference,
        "failure_difference_interval": interval,
        "failure_p": p,
        "correlation": _correlation(arm, reference),
        "parameter_difference": _mean_difference(trainings.parameters[pairs, d, a], trainings.parameters[pairs, d, 0]),
        "mac_difference": _mean_difference(trainings.macs[pairs, d, a], trainings.macs[pairs, d, 0]),
    }


def _wins(arm: Floats, reference: Floats) -> tuple[float | None, Interval | None]:
    """Return pi_d with ties counted as half, and the exact interval of the share of wins among the untied pairs."""
    if not arm.size:
        return None, None
    wins, losses = int((arm > reference).sum()), int((arm < reference).sum())
    share = (wins + 0.5 * (arm.size - wins - losses)) / arm.size
    return share, clopper_pearson(wins, wins + losses) if wins + losses else None


def _failures(arm: Flags, reference: Flags) -> tuple[float | None, Interval | None, float | None]:
    """Return phi_d, its paired interval by Newcombe and the exact McNemar p."""
    if not arm.size:
        return None, None, None
    only_arm, only_reference = int((arm & ~reference).sum()), int((reference & ~arm).sum())
    interval = newcombe_paired(
        both=int((arm & reference).sum()),
        only_first=only_arm,
        only_second=only_reference,
        neither=int((~arm & ~reference).sum()),
    )
    return (only_arm - only_reference) / arm.size, interval, mcnemar_p(only_arm, only_reference)


def _correlation(arm: Floats, reference: Floats) -> float | None:
    """Return Pearson's correlation; None under three pairs (it is always 1 or -1 with two) or where an arm is constant."""
    if arm.size < 3 or np.ptp(arm) == 0 or np.ptp(reference) == 0:
        return None
    return float(np.corrcoef(arm, reference)[0, 1])


def _mean_difference(arm: Floats, reference: Floats) -> float | None:
    difference = (arm - reference)[~np.isnan(arm - reference)]
    return float(difference.mean()) if difference.size else None
