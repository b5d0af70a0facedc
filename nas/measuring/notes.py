"""Layer 3: what a reader must know beside the figures: what is missing, failed, averaged or left out.

See docs/method.md, "What the verdicts mean".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from nas.measuring.families import BETA, EXPLORATORY, Rules
from nas.measuring.looks import ALPHA
from nas.measuring.trainings import Trainings
from nas.values.domains import written
from nas.values.effects import LOOKS, Estimate, Look


def notes(
    trainings: Trainings,
    *,
    overall: Sequence[Estimate],
    slopes: Sequence[Estimate],
    why_no_slope: str,
    rules: Rules,
    looks: Sequence[Look] = (),
) -> tuple[str, ...]:
    """Return one sentence for each thing to know, the gravest first."""
    return tuple(_all(trainings, overall, slopes, why_no_slope, rules, looks))


def _all(
    trainings: Trainings,
    overall: Sequence[Estimate],
    slopes: Sequence[Estimate],
    why_no_slope: str,
    rules: Rules,
    looks: Sequence[Look],
) -> Iterator[str]:
    if rules.from_search:
        yield f"The results come from a search: {EXPLORATORY}."
    yield from _missing(trainings, overall, has_slope=bool(slopes))
    yield from _failed(trainings)
    if trainings.left_out:
        yield f"Left out, as the declared levels do not name them: {_list([written(level) for level in trainings.left_out])}."
    if trainings.most_seeds > 1:
        yield (
            f"Up to {trainings.most_seeds} trainings of one replicate, level and cell were averaged first; such an average "
            "counts as failed where one of them failed."
        )
    if rules.planned_looks:
        yield "Planned looks: " + ", ".join(f"{n} replicates at alpha {alpha}" for n, alpha in LOOKS) + "; no verdict between."
        if rules.interim:
            yield "The figures are interim: they belong to no planned look, and deciding by them would find effects that are not there."
        yield from map(_look, looks)
    yield from _disagreements((*overall, *slopes))
    if why_no_slope:
        yield f"No slope: {why_no_slope}."


def _look(look: Look) -> str:
    told = _list([f"{written(level)}: {verdict}" for level, verdict in look.verdicts])
    decided = "decided" if look.decided else "did not decide"
    return f"The planned look at {look.replicates} replicates, at alpha {look.alpha}, {decided} ({told})."


def _missing(trainings: Trainings, overall: Sequence[Estimate], *, has_slope: bool) -> Iterator[str]:
    measured = trainings.measured
    for a, found in enumerate(overall, start=1):
        if not measured[:, :, a].any():
            yield f"{written(found.level)} is unmeasured: none of its trainings finished."
            continue
        pairs = measured[:, :, a] & measured[:, :, 0]
        absent = int((~pairs).sum())
        if not absent:
            continue
        leave = _agree(absent, "is missing and leaves", "are missing and leave")
        told = f"{written(found.level)}: {_of(absent, pairs.size, 'pair')} {leave}"
        if len(trainings.at) == 1:
            yield f"{told} the effect."
            continue
        lost, whole = len(trainings.replicates) - found.n, "the overall effect (θ)" + (" and the slope (β)" if has_slope else "")
        rest = f"{_of(lost, len(trainings.replicates), 'replicate')} {_agree(lost, 'leaves', 'leave')}"
        yield f"{told} the effect of {_agree(absent, 'its cell', 'their cells')} (θ_d); {rest} {whole}."


def _failed(trainings: Trainings) -> Iterator[str]:
    failures = trainings.num_failed.sum(axis=(0, 1))
    total = int(failures.sum())
    if not total:
        return
    counts = _list([f"{count} of {written(level)}" for level, count in zip(trainings.levels, failures, strict=True) if count])
    stays = _agree(total, "It is an outcome and stays in the effect at its", "They are outcomes and stay in the effect at their")
    yield (
        f"{total} {_agree(total, 'training', 'trainings')} failed ({counts}). {stays} failure score; "
        "the mean of the pairs in which both trained, called selected, is in the report and the JSON."
    )


def _disagreements(estimates: Sequence[Estimate]) -> Iterator[str]:
    for found in estimates:
        if found.p is None or found.p_sign_flip is None or found.n < 6:  # 2^-5 two-sided: fewer signs cannot fall below .05
            continue
        if (found.p < ALPHA) != (found.p_sign_flip < ALPHA):
            what = "Slope" if found.estimand == BETA else "Effect"
            yield (
                f"{what} of {written(found.level)}: the t test (p = {found.p:.3f}) and the sign-flip check "
                f"(p = {found.p_sign_flip:.3f}) fall on different sides of {ALPHA}; the data are near the line or not near normal."
            )


def _agree(count: int, one: str, many: str) -> str:
    return one if count == 1 else many


def _of(count: int, total: int, noun: str) -> str:
    return f"{count} of {total} {_agree(total, noun, noun + 's')}"


def _list(items: Sequence[str]) -> str:
    return ", ".join(items)
