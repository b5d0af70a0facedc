"""Layer 3: an estimate's figures → a verdict, first match wins (docs/method.md, "What the verdicts mean")."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from nas.measuring.statistics import clopper_pearson_low, half_width

HELPS_MATERIALLY = "helps materially"
HARMS_MATERIALLY = "harms materially"
EQUIVALENT = "practically equivalent"
EQUIVALENT_NOT_ZERO = "practically equivalent, not zero"
HELPS = "helps, size unclear"
HARMS = "harms, size unclear"
UNDETERMINED = "undetermined"
UNDETERMINED_CORRECTED = "undetermined after correction"
NO_VERDICT = "no verdict"
UNMEASURED = "unmeasured"
GROWS = "grows"
SHRINKS = "shrinks"
NO_CHANGE = "no change shown"

MIN_REPLICATES = 6
"""Below this many replicates there is no verdict."""

MAX_REPLICATES = 200
"""Up to this many replicates are offered as what would decide."""

_DECIDED = (HELPS_MATERIALLY, HARMS_MATERIALLY, EQUIVALENT, EQUIVALENT_NOT_ZERO, HELPS, HARMS)


@dataclass(frozen=True)
class Evidence:
    """All that a verdict is read from.

    `alpha` is the error rate of the interval shown (smaller where several intervals hold at once), `family_alpha` what Holm's
    p must stay below. `better` and `worse` count the replicates on either side of zero; they may be fractions where today's
    shares are carried over to another `n`. `any_failed` says that one training or more behind the estimate failed.
    """

    mean: float
    sd: float
    n: int
    alpha: float
    family_alpha: float
    p_holm: float
    smallest_effect: float
    better: float
    worse: float
    any_failed: bool

    @property
    def significant(self) -> bool:
        """Whether Holm's p is below the family's error rate."""
        return self.p_holm < self.family_alpha

    @property
    def one_sided(self) -> bool:
        """Whether failures leave the sign standing: the share of replicates on the mean's side is above half."""
        if not self.any_failed:
            return True
        side = self.better if self.mean > 0 else self.worse
        return clopper_pearson_low(side, self.better + self.worse, alpha=self.alpha) > 0.5

    def interval(self, *, times: float = 1.0) -> tuple[float, float]:
        """Return the t interval at `times` the error rate."""
        half = float(half_width(self.sd, self.n, alpha=self.alpha * times))
        return self.mean - half, self.mean + half

    def at(self, num_replicates: int, p_holm: float, *, alpha: float, family_alpha: float) -> Evidence:
        """Return what another number of replicates would show at today's mean, spread and shares."""
        scale = num_replicates / self.n
        return replace(
            self,
            n=num_replicates,
            p_holm=p_holm,
            alpha=alpha,
            family_alpha=family_alpha,
            better=self.better * scale,
            worse=self.worse * scale,
        )


def verdict(evidence: Evidence) -> str:
    """Return the word for theta or theta_d (docs/method.md, "What the verdicts mean")."""
    unconditional = _by_interval(evidence)
    if unconditional not in (HELPS_MATERIALLY, HARMS_MATERIALLY, HELPS, HARMS):
        return unconditional
    if not evidence.one_sided:
        return UNDETERMINED
    return unconditional if evidence.significant else UNDETERMINED_CORRECTED


def _by_interval(evidence: Evidence) -> str:
    low, high = evidence.interval()
    narrow_low, narrow_high = evidence.interval(times=2)
    delta = evidence.smallest_effect
    if low > delta:
        return HELPS_MATERIALLY
    if high < -delta:
        return HARMS_MATERIALLY
    if -delta < narrow_low and narrow_high < delta:
        return EQUIVALENT if low <= 0 <= high else EQUIVALENT_NOT_ZERO
    if low > 0:
        return HELPS
    return HARMS if high < 0 else UNDETERMINED


def slope_verdict(evidence: Evidence) -> str:
    """Return the word for beta: by the interval's sign and Holm's p."""
    low, high = evidence.interval()
    if evidence.significant and (low > 0 or high < 0):
        return GROWS if low > 0 else SHRINKS
    return NO_CHANGE


def is_undetermined(words: str) -> bool:
    """Say whether more replicates might decide."""
    return words in (UNDETERMINED, UNDETERMINED_CORRECTED)


def replicates_to_decide(projections: Iterable[Evidence]) -> int | None:
    """Return the smallest `n` among projections, given in order, at which a verdict is reached; None where none does."""
    return next((projected.n for projected in projections if verdict(projected) in _DECIDED), None)


def undetermined_reason(evidence: Evidence, needed: int | None, *, looks: tuple[int, ...] | None) -> str:
    """Say what would decide, and where failed trainings alone stood in the way. `looks` are the planned ones still ahead."""
    if looks is None:
        some, none = f"{needed} replicates would decide it", f"no number of replicates up to {MAX_REPLICATES} would decide it"
    else:
        some, none = f"the look at {needed} replicates would decide it", "no planned look still ahead would decide it"
    outlook = f"{none if needed is None else some} at today's mean and spread"
    if verdict(replace(evidence, any_failed=False)) == verdict(evidence):
        return outlook
    side, other = (evidence.better, evidence.worse) if evidence.mean > 0 else (evidence.worse, evidence.better)
    return f"trainings failed, and {side:.0f} replicates against {other:.0f} do not show the sign on their own; {outlook}"
