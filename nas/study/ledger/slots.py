"""Layer 4: slots: the trainings that a ledger owes, as attributes of the trials that stand for them, and which may be claimed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from nas.values.domains import Scalar
from nas.values.plans import Cell
from nas.values.records import GroupMember


@dataclass(frozen=True)
class Slot:
    """One training that is owed: its name, the values set beforehand (none for a free search trial) and its seed."""

    name: str
    seed: int
    fixed: Mapping[str, Scalar]
    cell: Cell | None = None
    widths: tuple[int, ...] = ()
    """The widths that the network is trained with in place of those decided; none for most."""
    group: tuple[GroupMember, ...] = ()
    """The trainings, itself among them, that are trained together as one program; none for most."""
    refused: int = 0
    """Of a search's slot: how many of its samples broke a constraint or failed at the gate before."""

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes of a trial that stands for it."""
        attrs: dict[str, Any] = {"slot": self.name, "seed": self.seed}
        if self.cell:
            attrs["cell"] = [self.cell.replicate, self.cell.level, [list(pair) for pair in self.cell.by]]
        if self.widths:
            attrs["widths"] = list(self.widths)
        if self.refused:
            attrs["refused"] = self.refused
        return {**attrs, **attrs_of(self.group)}


def group_of(attrs: Mapping[str, Any]) -> tuple[GroupMember, ...]:
    """Read the group of a measured trial from its attributes; () where it is on its own."""
    return tuple(GroupMember(slot, seed, tuple(decided.items()), tuple(widths)) for slot, seed, decided, widths in attrs.get("group", ()))


def attrs_of(group: Sequence[GroupMember]) -> dict[str, Any]:
    """Return the attributes that `group_of` reads."""
    return {"group": [[m.slot, m.seed, dict(m.decisions), list(m.widths)] for m in group]} if group else {}


def leading(there: Sequence[FrozenTrial]) -> Iterator[FrozenTrial]:
    """Yield those waiting trials, of all that wait or run, that may be claimed: of each group the first alone."""
    slots = {str(trial.user_attrs.get("slot")) for trial in there}
    for trial in there:
        first = next((member[0] for member in trial.user_attrs.get("group", ()) if member[0] in slots), None)
        if trial.state == TrialState.WAITING and first in (None, trial.user_attrs.get("slot")):
            yield trial
