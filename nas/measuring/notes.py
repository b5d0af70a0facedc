"""Layer 3: what a reader must know beside the figures: what is missing, failed, averaged or left out (METHOD §4, §6)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nas.measuring.families import EXPLORATORY, Rules
from nas.measuring.looks import ALPHA, LOOKS
from nas.measuring.trainings import Trainings
from nas.values.effects import Estimate


def notes(
    trainings: Trainings, *, overall: Sequence[Estimate], slopes: Sequence[Estimate], why_no_slope: str, rules: Rules
) -> tuple[str, ...]:
    """Return one sentence for each thing to know, the gravest first."""
    return tuple(_all(trainings, overall, slopes, why_no_slope, rules))


def _all(
    trainings: Trainings, overall: Sequence[Estimate], slopes: Sequence[Estimate], why_no_slope: str, rules: Rules
) -> Iterator[str]:
    if rules.from_search:
        yield f"The results come from a search: {EXPLORATORY}."
    yield from _missing(trainings, overall)
    yield from _failed(trainings)
    if trainings.left_out:
        yield f"Left out, as the declared levels do not name them: {_list(trainings.left_out)}."
    if trainings.most_seeds > 1:
        yield (
            f"Up to {trainings.most_seeds} trainings of one replicate, level and cell were averaged first; such an average "
            "counts as failed where one of them failed."
        )
    if rules.planned_looks:
        yield "Planned looks: " + ", ".join(f"{n} replicates at alpha {alpha}" for n, alpha in LOOKS) + "; no verdict between."
    yield from _disagreements((*overall, *slopes))
    if why_no_slope:
        yield f"No slope: {why_no_slope}."


def _missing(trainings: Trainings, overall: Sequence[Estimate]) -> Iterator[str]:
    measured = trainings.measured
    for a, found in enumerate(overall, start=1):
        if not measured[:, :, a].any():
            yield f"{found.level} is unmeasured: none of its trainings finished."
            continue
        pairs = measured[:, :, a] & measured[:, :, 0]
        absent = int((~pairs).sum())
        if absent:
            yield (
                f"{found.level}: {absent} of {pairs.size} pairs are missing and leave theta_d; "
                f"{len(trainings.replicates) - found.n} of {len(trainings.replicates)} replicates leave theta and beta."
            )


def _failed(trainings: Trainings) -> Iterator[str]:
    failures = trainings.num_failed.sum(axis=(0, 1))
    if failures.any():
        counts = _list([f"{count} of {level}" for level, count in zip(trainings.levels, failures, strict=True) if count])
        yield (
            f"{int(failures.sum())} trainings failed ({counts}). They are outcomes and stay in theta at their failure score; "
            "the mean where both arms trained is given beside it, selected."
        )


def _disagreements(estimates: Sequence[Estimate]) -> Iterator[str]:
    for found in estimates:
        if found.p is None or found.p_sign_flip is None or found.n < 6:  # 2^-5 two-sided: fewer signs cannot fall below .05
            continue
        if (found.p < ALPHA) != (found.p_sign_flip < ALPHA):
            yield (
                f"{found.estimand} of {found.level}: the t test (p = {found.p:.3f}) and the sign-flip check "
                f"(p = {found.p_sign_flip:.3f}) fall on different sides of {ALPHA}; the data are near the line or not near normal."
            )


def _list(items: Sequence[object]) -> str:
    return ", ".join(str(item) for item in items)
