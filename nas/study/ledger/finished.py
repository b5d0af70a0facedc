"""Layer 4: what the finished trials of a queue come to: each is looked at once, since it never changes again."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial

from nas.study.ledger.trials import GATE_SCORE, KILLED, TOLD
from nas.values.dominance import undominated


@dataclass
class Scores:
    """The scores that a search's gate has taken, in ascending order, and how many networks had none."""

    ordered: list[float] = field(default_factory=list)
    num_without: int = 0

    @classmethod
    def of(cls, trials: Iterable[FrozenTrial]) -> Scores:
        """Return the scores of trials."""
        scores = cls()
        scores.take_up(trials)
        return scores

    def take_up(self, trials: Iterable[FrozenTrial]) -> None:
        """Add the scores of more trials; of a training that was queued again only the last one counts."""
        for trial in trials:
            if GATE_SCORE in trial.user_attrs and trial.user_attrs.get("end") in (None, "gated"):
                self.add(trial.user_attrs[GATE_SCORE])

    def add(self, score: float | None) -> None:
        """Add one score; None is a network without."""
        if score is None:
            self.num_without += 1
        else:
            insort(self.ordered, score)

    def copy(self) -> Scores:
        """Return the same scores, to add to."""
        return Scores(self.ordered.copy(), self.num_without)

    def __len__(self) -> int:
        """Return how many networks there were."""
        return len(self.ordered) + self.num_without


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
    """How often a slot's training broke, or its worker was killed."""
    num_gated: Counter[str] = field(default_factory=Counter)
    """How many samples of a slot the gate refused."""
    gate_scores: Scores = field(default_factory=Scores)
    front: list[FrozenTrial] = field(default_factory=list)
    """The completed trials that no other beats in all objectives, the best score first: one of one objective."""

    def take_up(self, trials: Iterable[FrozenTrial]) -> None:
        """Look at trials that have finished since."""
        completed, trials = [], list(trials)
        self.gate_scores.take_up(trials)
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
            self.num_broken[slot] += (end == "broken") * (1 + trial.user_attrs.get(KILLED, 0))
            self.num_gated[slot] += end == "gated"

        if completed:
            # By number: of equal trials the first one stands for all. Whoever was beaten once stays so.
            rivals = sorted([*self.front, *completed], key=lambda trial: trial.number)
            self.front = [rivals[place] for place in undominated([self._figures(trial) for trial in rivals])]

    def _figures(self, trial: FrozenTrial) -> list[float]:
        return [sign * value for sign, value in zip(self.signs, trial.values, strict=True)]
