"""Layer 4: what becomes of trials whose worker is gone: closed, so that their slots are queued again."""

from __future__ import annotations

import optuna
from optuna.trial import TrialState

from nas.study.ledger.ledger import Ledger
from nas.study.ledger.storage import heartbeat_is_meant
from nas.study.ledger.trials import is_of, is_orphaned
from nas.values.outcome import Outcome


def heal(ledger: Ledger, *, gone: tuple[str, int] | None = None) -> int:
    """Close the running trials whose worker is gone; return how many.

    A worker of this machine is gone when its process is; one of another machine once its heartbeat is older than the
    grace period, or as soon as somebody says that it is `gone`. A trial whose outcome was recorded but not told is told.
    """
    closed = 0
    with heartbeat_is_meant():
        optuna.storages.fail_stale_trials(ledger.study)
    for frozen in ledger.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not is_orphaned(frozen) and not (gone and is_of(frozen, gone)):
            continue
        closed += 1
        if "outcome" in frozen.user_attrs:
            ledger.tell(frozen.number, Outcome.from_dict(frozen.user_attrs["outcome"]))
            continue
        ledger.storage.set_trial_user_attr(frozen._trial_id, "end", "interrupted")
        ledger.study.tell(frozen.number, state=TrialState.FAIL)
    return closed


def close_of(ledger: Ledger, worker: tuple[str, int], message: str) -> list[str]:
    """Close as broken what `worker` (machine, process) was running when it died; return the slots."""
    closed = []
    for frozen in ledger.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if is_of(frozen, worker) and "outcome" not in frozen.user_attrs:
            ledger.storage.set_trial_user_attr(frozen._trial_id, "end", "broken")
            ledger.storage.set_trial_user_attr(frozen._trial_id, "error", message)
            ledger.study.tell(frozen.number, state=TrialState.FAIL)
            closed.append(str(frozen.user_attrs.get("slot")))
    return closed
