"""Layer 4: what the gate of a search did, in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nas.report.words import plural
from nas.values.records import StudyRecord

LEAST = 5
"""From so many finished trials on, their rank correlation is told."""


def gate_sentences(record: StudyRecord) -> tuple[str, ...]:
    """Say how many samples the gate refused, and whether its score went with the metric; nothing where there is no gate."""
    if not record.gate:
        return ()
    refused = sum(t.state == "gated" for t in record.search)
    trained = sum(t.state in ("complete", "pruned", "failed") for t in record.search)
    told = f"The gate ({record.gate}) refused {plural(refused, 'sample')} before training; {trained:,} were trained."
    name = f"gate.{record.gate.split(',')[0]}"
    pairs = [(t.outcome.metrics[name], t.outcome.score) for t in record.finished if t.outcome and name in t.outcome.metrics]
    tau = kendall_tau(pairs) if len(pairs) >= LEAST else None
    if tau is None:
        return (told,)
    wanted = "" if record.direction == "maximize" else ", which is better when it is lower,"
    count = plural(len(pairs), "finished trial")
    of = f"Over {count} its rank correlation with {record.objective}{wanted}"
    return (told, f"{of} is {tau:+.2f} (Kendall's tau b); near 0 such a gate refuses at random.")


def kendall_tau(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Return Kendall's tau b (Kendall 1945, Biometrika 33, 239); None where one of the two does not vary."""
    agree = first = second = 0
    for i, (a, b) in enumerate(pairs):
        for c, d in pairs[:i]:
            x, y = (a > c) - (a < c), (b > d) - (b < d)
            agree, first, second = agree + x * y, first + x * x, second + y * y
    return agree / math.sqrt(first * second) if first and second else None
