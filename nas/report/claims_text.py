"""Layer 4: the table of claims for the terminal, and how a measured condition is written."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from nas.report.words import MINUS, POINTS, Unit, duration_text
from nas.values.claims import CONTRADICTED, SUPPORTED, Claim, Finding, Found

PLAIN = Unit(1.0, "", 3)
_BOUND = re.compile(r" (above|below|within) \S+$")
_COLOURS = {SUPPORTED: "bold blue", CONTRADICTED: "bold red"}


def unit_of(found: Found) -> Unit:
    """Return points for shares, figures as they stand for all else."""
    return POINTS if found.share else PLAIN


def measured_text(found: Found) -> str:
    """Write a condition's mean with its interval: `+28.1 [+20.3, +35.9] points`."""
    if found.mean is None:
        return "not measured"
    unit = unit_of(found)
    interval = f" {unit.interval(found.interval)}" if found.interval else ""
    return f"{_number(found.mean, unit)}{interval}{unit.suffix}"


def comparison_text(found: Found) -> str:
    """Write what a condition compares, without the bound that it asks for: `none at deepest minus none at shallowest (train_error)`."""
    bare = _BOUND.sub("", found.condition)
    return bare if "(" in bare.rpartition(" at ")[2] else f"{bare} ({found.metric})"


def claims_table(rows: Sequence[tuple[Claim, Finding]]) -> Table:
    """Return one row a claim: what was published, what was measured, the verdict, and with what depth, budget and time."""
    # With `pad_edge=False` rich wraps the last column two characters too late and cuts them off.
    table = Table(box=None, show_edge=False, padding=(0, 2, 1, 0))
    for title, width in (("claim", 17), ("published", 20), ("measured", 17), ("verdict", 12)):
        table.add_column(title, overflow="fold", min_width=width - 3, ratio=width)
    table.add_column("layers, budget, K, time", overflow="fold", ratio=14)
    for claim, finding in rows:
        published = claim.published[0] if claim.published else "no figure found"
        # A name breaks at its hyphens.
        name = claim.name.replace("-", "- ") if len(claim.name) > 17 else claim.name
        measured = measured_text(finding.first).replace(MINUS, "-")
        verdict = Text(finding.verdict, style=_COLOURS.get(finding.verdict, ""))
        table.add_row(Text(name), Text(published), Text(measured), verdict, Text(run_text(finding)))
    return table


def run_text(finding: Finding) -> str:
    """Write what a claim was settled with: depth, budget, replicates, the time of its trainings or whose study it shares."""
    taken = f" and {finding.shared} shared trainings" if finding.shared else ""
    name = finding.study.rpartition("-")[0]
    time = duration_text(finding.seconds) if name == finding.claim else f"in the study of {name}"
    return f"{finding.depth} layers, {finding.budget}, K {finding.replicates}, {time}{taken}"


def _number(value: float, unit: Unit) -> str:
    if unit is PLAIN and value and not 0.001 <= abs(value) < 1e5:
        return f"{value:+.2e}"
    return unit.signed(value)
