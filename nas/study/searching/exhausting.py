"""Layer 4: whether a search has anything new left to propose: with several seeds a trial, a finite space is trained whole some day."""

from __future__ import annotations

import math

from optuna.trial import TrialState

from nas.space import Space
from nas.space.size import size_of
from nas.study.ledger.ledger import Ledger
from nas.values.outcome import Outcome


def is_exhausted(space: Space, search: Ledger) -> bool:
    """Say whether every configuration of a space was trained with all its seeds, refused by the constraints or lost by the machine.

    Never where a trial has one seed: what is proposed again is trained from another one then.
    """
    size = size_of(*space.roots.values()) if space.search.seeds > 1 else math.inf
    if math.isinf(size):
        return False
    trials = search.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))
    if len(trials) < size:
        return False
    known = {
        tuple(sorted(t.params.items())) for t in trials if "outcome" in t.user_attrs or t.user_attrs.get("end") in ("invalid", "broken")
    }
    return len(known) >= size


def told_of_the_end(space: Space, search: Ledger) -> str:
    """Say that a search which a time was to end has ended before it."""
    trials = search.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    count = len({tuple(sorted(trial.params.items())) for trial in trials})
    kept = " that keep its constraints" if space.constraints else ""
    tried = f"all {count:,} configurations of the space{kept} have been tried"
    return f"The search ends before its {space.search.minutes:g} minutes: {tried}, and another trial would come to what is known."


def num_repeats(search: Ledger, most: int) -> int:
    """Return how many of the trials that were told last, at most so many, in a row came to what was known, so that nothing was trained."""
    told = search.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))[-most:]
    repeats = [Outcome.from_dict(trial.user_attrs["outcome"]).is_repeat for trial in told if "outcome" in trial.user_attrs]
    return len(repeats) if all(repeats) else repeats[::-1].index(False)
