"""Layer 4: what the finished trials of a queue come to: each is looked at once, since it never changes again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial

from nas.study.ledger.trials import TOLD
from nas.values.dominance import undominated


@dataclass
class Finished:
    """The slots that are told, what broke and how often, and the best; `signs` are 1 for objectives of which more is better, else -1."""

    signs: tuple[float, ...]
    ended: set[int] = field(default_factory=set)
    """The numbers of the trials that were looked at: all that have ended, with an outcome or without."""
    told: set[int] = field(default_factory=set)
    """The numbers of the trials that are told."""
    told_slots: set[str] = field(default_factory=set)
    last_failed: dict[str, FrozenTrial] = field(default_factory=dict)
    """The last attempt of a slot that ended without an outcome, unless it broke a constraint."""
    num_broken: Counter[str] = field(default_factory=Counter)
    front: list[FrozenTrial] = field(default_factory=list)
    """The completed trials that no other beats in all objectives, the best score first: one of one objective."""

    def take_up(self, trials: Iterable[FrozenTrial]) -> None:
        """Look at trials that have finished since."""
        completed = []
        for trial in trials:
            self.ended.add(trial.number)
            slot, end = str(trial.user_attrs.get("slot")), trial.user_attrs.get("end")
            if trial.state in TOLD:
                self.told.add(trial.number)
                self.told_slots.add(slot)
                completed += [trial] if trial.user_attrs.get("outcome", {}).get("status") == "complete" and trial.values else []
                continue
            if end not in ("invalid", "gated") and (slot not in self.last_failed or self.last_failed[slot].number < trial.number):
                self.last_failed[slot] = trial
            self.num_broken[slot] += end == "broken"

        if completed:
            # By number: of equal trials the first one stands for all. Whoever was beaten once stays so.
            rivals = sorted([*self.front, *completed], key=lambda trial: trial.number)
            self.front = [rivals[place] for place in undominated([self._figures(trial) for trial in rivals])]

    def _figures(self, trial: FrozenTrial) -> list[float]:
        return [sign * value for sign, value in zip(self.signs, trial.values, strict=True)]
