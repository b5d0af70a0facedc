"""Layer 4: what becomes of trials whose worker is gone: a search's wait again, others are closed, so that their slots are queued again."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from nas.study.ledger.ledger import Ledger
from nas.study.ledger.trials import KILLED, is_of, is_orphaned
from nas.values.outcome import Outcome
from nas.values.records import MAX_ATTEMPTS, SEARCHING


def heal(ledger: Ledger, *, gone: tuple[str, int] | None = None, own: Collection[tuple[str, int] | None] = ()) -> int:
    """Settle the running trials whose worker is gone; return how many.

    A worker of this machine is gone when its process is; one of another machine once its heartbeat is older than the
    grace period, or as soon as somebody says that it is `gone`. A trial whose outcome was recorded but not told is told.
    Those of the caller's `own` workers are left to it, who will hear how they ended: `settle_lost` counts that, which this does not.
    """
    settled, silent = 0, ledger.silent()
    for frozen in ledger.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not (frozen._trial_id in silent or is_orphaned(frozen, but=own) or (gone and is_of(frozen, gone))):
            continue
        settled += 1
        with suppress(UpdateFinishedTrialError):  # its worker was only silent, or another process has settled it
            if "outcome" in frozen.user_attrs:
                ledger.tell(frozen.number, Outcome.from_dict(frozen.user_attrs["outcome"]))
            elif not _gave_back(ledger, frozen):
                _close(ledger, frozen, "interrupted")
    return settled


def settle_lost(ledger: Ledger, worker: tuple[str, int], message: str, *, by_no_fault: bool) -> list[str]:
    """Settle what `worker` (machine, process) was running when it died, as broken; return the slots.

    What was lost `by_no_fault` of its own may wait again instead, where it is a search's, until it was lost too often.
    """
    slots = []
    for frozen in ledger.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if is_of(frozen, worker) and "outcome" not in frozen.user_attrs:
            killed = frozen.user_attrs.get(KILLED, 0) + 1
            with suppress(UpdateFinishedTrialError):  # another process has settled it
                if not (by_no_fault and killed < MAX_ATTEMPTS and _gave_back(ledger, frozen, killed=killed)):
                    _close(ledger, frozen, "broken", error=message)
            slots.append(str(frozen.user_attrs.get("slot")))
    return slots


def _gave_back(ledger: Ledger, frozen: FrozenTrial, **attributes: int) -> bool:
    """Let a search's trial wait again, unless another process has settled it; False where it is to be closed instead.

    It keeps its number, and with that its place: it is the next to be claimed, samplers see the trials in the order in which they would
    have seen them, and what is known of it stays, its decisions and what its seeds came to. So the search proposes what it would have.
    """
    if ledger.phase not in SEARCHING or ledger.is_open_beside(frozen):
        return False
    ledger.release(frozen._trial_id, attributes, held_by=frozen.user_attrs.get("worker"))
    return True


def _close(ledger: Ledger, frozen: FrozenTrial, end: str, **attributes: str) -> None:
    for key, value in {"end": end, **attributes}.items():
        ledger.storage.set_trial_user_attr(frozen._trial_id, key, value)
    ledger.study.tell(frozen.number, state=TrialState.FAIL, skip_if_finished=True)
