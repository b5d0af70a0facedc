"""Layer 4: one page for all claims: what was published, what was measured, and the figure that a student would ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas.report.claims_figures import draw
from nas.report.claims_text import comparison_text, measured_text, run_text
from nas.report.values import Row, Table
from nas.report.words import ABSENT, duration_text, p_text, plural
from nas.values.claims import CONTRADICTED, SUPPORTED, Claim, Finding, Found
from nas.values.records import StudyRecord

FILE_NAME = "claims.html"
TONES = {SUPPORTED: "good", CONTRADICTED: "bad"}
Entry = tuple[Claim, Finding, StudyRecord]


def write_claims(entries: Sequence[Entry], *, folder: Path) -> Path:
    """Write `claims.html` into `folder`, which is made where it is missing, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    path.write_text(render_claims(entries), encoding="utf-8")
    return path


def render_claims(entries: Sequence[Entry]) -> str:
    """Return the page as HTML text; claims of one topic stand side by side in a table of their own before they are told."""
    loader = PackageLoader("nas.report", "page")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    topics: dict[str, list[Entry]] = {}
    for entry in entries:
        topics.setdefault(entry[0].topic or "Claims", []).append(entry)
    return environment.get_template("claims.html").render(
        style=Markup(_shipped("report.css")),
        script=Markup(_shipped("report.js")),
        summary=_summary(entries),
        topics=tuple(_topic(name, members) for name, members in topics.items()),
    )


def _shipped(name: str) -> str:
    return resources.files("nas.report").joinpath("page", name).read_text(encoding="utf-8")


def _summary(entries: Sequence[Entry]) -> str:
    counts: dict[str, int] = {}
    for _, finding, _ in entries:
        counts[finding.verdict] = counts.get(finding.verdict, 0) + 1
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f"{plural(len(entries), 'claim')}: {told}." if entries else "No claim was run yet: nas claims run."


def _topic(name: str, members: Sequence[Entry]) -> Mapping[str, Any]:
    anchor = "".join(c if c.isalnum() else "-" for c in name.lower())
    told = _told([finding for _, finding, _ in members])
    return {"name": name, "anchor": anchor, "told": told, "table": _side_by_side(members), "claims": tuple(_claim(*e) for e in members)}


def _told(findings: Sequence[Finding]) -> str:
    """Say what the measurement says of claims that stand side by side; '' for one alone."""
    by_verdict: dict[str, list[str]] = {}
    for finding in findings:
        by_verdict.setdefault(finding.verdict, []).append(finding.claim)
    said = ". ".join(f"{verdict[:1].upper()}{verdict[1:]}: {', '.join(names)}" for verdict, names in by_verdict.items())
    return f"{said}." if len(findings) > 1 else ""


def _side_by_side(members: Sequence[Entry]) -> Table:
    rows = []
    for claim, finding, _ in members:
        published = "; ".join(claim.published) or "no figure found"
        measured = f"{measured_text(finding.first)}: {comparison_text(finding.first)}"
        rows.append(Row((claim.statement, published, measured, run_text(finding), finding.verdict), TONES.get(finding.verdict, "")))
    return Table(("claim", "published", "measured here", "with", "verdict"), tuple(rows), "", text_columns=(1, 2, 3, 4))


def _claim(claim: Claim, finding: Finding, record: StudyRecord) -> Mapping[str, Any]:
    return {
        "claim": claim,
        "finding": finding,
        "tone": TONES.get(finding.verdict, "open"),
        "kicker": finding.verdict[:1].upper() + finding.verdict[1:],
        "facts": tuple(_facts(finding, record)),
        "measured": tuple(f"{comparison_text(found)}: {measured_text(found)}" for found in finding.supporting),
        "conditions": _conditions(finding),
        "figures": tuple(draw(claim, record)),
        "rule": claim.rule.to_dict(),
    }


def _facts(finding: Finding, record: StudyRecord) -> Iterator[tuple[str, str]]:
    yield "data", str(record.data.get("name", ABSENT))
    yield "layers", finding.depth
    yield "budget", finding.budget
    yield "replicates", f"{finding.replicates}{f' ({finding.mode})' if finding.mode else ''}"
    yield "trainings", f"{finding.trainings}, {finding.failed} failed, {finding.shared} shared with other studies"
    yield "training time", duration_text(finding.seconds)
    yield "study", finding.study


def _conditions(finding: Finding) -> Table:
    rows = [
        Row((side, found.condition, measured_text(found), str(found.n), p_text(found.p_holm), _holds(found)), "again")
        for side, members in (("supports it", finding.supporting), ("contradicts it", finding.contradicting))
        for found in members
    ]
    head = ("where it holds it", "comparison", "measured", "K", "Holm p", "holds")
    return Table(head, tuple(rows), "", labels=2, text_columns=(2, 5))


def _holds(found: Found) -> str:
    if found.holds is None:
        return found.reason or "not decided"
    word = "yes" if found.holds else "not shown" if found.reason else "no"
    return f"{word}: {found.reason}" if found.reason else word
