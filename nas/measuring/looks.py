"""Layer 3: looking early only at planned looks, each at its own error rate (docs/method.md, "Looking early")."""

from __future__ import annotations

from nas.values.effects import LOOKS

ALPHA = 0.05


def nominal_alpha(num_replicates: int, *, planned_looks: bool) -> float:
    """Return the error rate that a statement from `num_replicates` complete replicates is made at.

    Without planned looks always .05. With them, the rate of the first look that is not yet passed (a look counts as reached
    at exactly its number of replicates), and the last look's rate beyond it.
    """
    if not planned_looks:
        return ALPHA
    return next((alpha for at, alpha in LOOKS if num_replicates <= at), LOOKS[-1][1])


def is_look(num_replicates: int) -> bool:
    """Say whether a look is planned at this number of complete replicates."""
    return any(num_replicates == at for at, _ in LOOKS)


def later_looks(num_replicates: int) -> tuple[int, ...]:
    """Return the numbers of replicates of the looks still ahead."""
    return tuple(at for at, _ in LOOKS if at > num_replicates)
