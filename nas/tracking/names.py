"""Layer 3: the short names by which people tell one run from another in MLflow's list."""

from __future__ import annotations

from collections.abc import Iterable

from nas.tracking.keys import cut
from nas.values.architecture import write
from nas.values.domains import Scalar
from nas.values.records import StudyRecord, TrainingRecord

_MOST_PARTS = 4
_MOST_CHARACTERS = 90


def run_name(training: TrainingRecord, record: StudyRecord) -> str:
    """Return `trial 7 · preact_basic · identity · depth 3`, or, measured, `replicate 3 · none · depth 9`."""
    if training.cell is not None and training.phase == "train":
        return f"retrained · seed {training.cell.replicate}"
    if training.cell is not None:
        factor = record.plan.factor if record.plan else "level"
        head = f"{'tuning' if training.phase == 'tune' else 'replicate'} {training.cell.replicate}"
        parts = [say(factor, training.cell.level), *(say(path, value) for path, value in training.cell.by)]
    else:
        head = f"{'random ' * (training.phase == 'baseline')}trial {training.number}"
        parts = _architecture_parts(training.decisions)
    shown = parts[:_MOST_PARTS] + (["…"] if len(parts) > _MOST_PARTS else [])
    return cut(" · ".join([head, *shown]), _MOST_CHARACTERS)


def say(path: str, value: Scalar) -> str:
    """Return a decision for people: a name as it stands, anything else after the last part of its path: `depth 3`."""
    if isinstance(value, str) and value[:1].isalpha():
        return value
    return f"{path.rpartition('.')[2]} {write(value)}"


def _architecture_parts(decisions: Iterable[tuple[str, Scalar]]) -> list[str]:
    # What was chosen says more than how much of it, and the recipe is in the columns beside.
    decisions = tuple(decisions)
    of_network = [decision for decision in decisions if decision[0].startswith("architecture.")] or decisions
    chosen = [say(*decision) for decision in of_network if isinstance(decision[1], str)]
    return chosen + [say(*decision) for decision in of_network if not isinstance(decision[1], str)]
