"""Layer 4: a study's record becomes one HTML page that needs nothing but itself: no network, no library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nas.measuring.retraining import Retest
from nas.report import ablation, commands, contrasts, curve_charts, effect_charts, front_charts, retest, search_charts, tables
from nas.report.front_text import front_sentence
from nas.report.gate_text import gate_sentences
from nas.report.parallel import parallel
from nas.report.reading import STATES, factors_of, levels_of, names_of, score_of, states
from nas.report.scene import Scene
from nas.report.timeline import timeline
from nas.report.words import (
    Unit,
    by_name,
    cost_text,
    count_text,
    decisions_text,
    duration_text,
    level_text,
    listing,
    over_seeds,
    p_text,
    plural,
    tone,
)
from nas.values.effects import Effects, Estimate
from nas.values.front import cost_in
from nas.values.records import StudyRecord

Retests = Sequence[tuple[str, Retest]]
LEAST_REPLICATES = 6  # below it there is no verdict
FILE_NAME, RAW_NAME = "report.html", "replicates.csv"


def write_report(record: StudyRecord, *, effects: Effects | None, diagram: str, folder: Path, retests: Retests = ()) -> Path:
    """Write `report.html` into `folder`, which is made where it is missing, and return its path.

    Args:
        record: the study; trials, twins and text in it are escaped.
        effects: what was measured, None for a search alone or a measurement under way.
        diagram: markup of the best architecture (`draw_architecture`), put in as it stands; may be empty.
        retests: what fresh seeds gave for the best architecture, by the title of each retraining.
        folder: where the page goes; it links to `replicates.csv` beside it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE_NAME
    path.write_text(render(record, effects=effects, diagram=diagram, retests=retests), encoding="utf-8")
    return path


def render(record: StudyRecord, *, effects: Effects | None, diagram: str = "", retests: Retests = ()) -> str:
    """Return the page as HTML text."""
    names = names_of(record)
    scene = Scene.of(record, effects, names) if effects else None
    loader = PackageLoader("nas.report", "page")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("report.html").render(
        record=record,
        effects=effects,
        style=Markup(_shipped("report.css")),
        script=Markup(_shipped("report.js")),
        diagram=Markup(diagram),
        raw_name=RAW_NAME,
        header=_header(record),
        verdict=_verdict(scene) if scene else _no_verdict(record),
        hint="" if effects or record.plan else _measure_hint(record),
        measured=_measured(scene) if scene else None,
        ablation=ablation.page_table(record, effects) if effects and record.changes else None,
        search=_search(record, scene, names),
        best=_best(record, names, retests),
        run=_run(record, names),
        reproduce=_reproduce(record, scene),
    )


def _shipped(name: str) -> str:
    return resources.files("nas.report").joinpath("page", name).read_text(encoding="utf-8")


def _header(record: StudyRecord) -> Mapping[str, Any]:
    created = f"{record.created:%d %B %Y, %H:%M}" if isinstance(record.created, datetime) else ""
    told = states(record.search)
    search = plural(len(record.search), "trial") if record.has_search else ""
    shares = listing(f"{count:,} {state}" for state, count in told.items())
    measured = plural(len(record.measured), "measured training") if record.measured else ""
    facts = [f"{search} ({shares})" if shares else search, measured, f"{tables.training_time(record)} of training"]
    return {"created": created, "facts": tuple(filter(None, facts))}


def _verdict(scene: Scene) -> Mapping[str, Any]:
    effects = scene.effects
    few = effects.replicates < LEAST_REPLICATES
    reason = f"{plural(effects.replicates, 'replicate')} of the {LEAST_REPLICATES} that a verdict needs"
    untold = few and "replicate" not in effects.sentence
    first = effects.overall[0].verdict if effects.overall else ""
    alone = len(effects.overall) == 1
    kicker = "Interim, no verdict" if effects.interim else "No verdict" if few else first if alone and first else "Verdict"
    return {
        "kicker": kicker[:1].upper() + kicker[1:],
        "tone": "open" if few or not alone else tone(first),
        "sentence": effects.sentence or "No verdict.",
        "reasons": tuple(filter(None, (f"No verdict: {reason}." if untold else "", _under_way(scene.record)))),
        "notes": (*effects.notes, *ablation.remarks(scene.record)),
        "reference": scene.reference,
        # An ablation's changes stand in one table, not on a card each.
        "arms": () if scene.record.changes else tuple(_arm(scene, level) for level in effects.levels),
    }


def _under_way(record: StudyRecord) -> str:
    left = sum(t.state in ("waiting", "running") for t in record.measured)
    return f"The measurement is under way: {plural(left, 'training')} to come. Nothing here is final." if left else ""


def _arm(scene: Scene, level: Any) -> Mapping[str, Any]:
    name = scene.effects.estimand
    rows = [(f"{name} θ, over {by_name(scene.effects)}" if len(scene.effects.at) > 1 else f"{name} θ", scene.effects.overall)]
    per = "per doubling of layers" if scene.effects.slope_axis == "num_layers" else f"per doubling of {by_name(scene.effects)}"
    rows.append((f"slope β, {per}", scene.effects.slopes))
    shown = []
    for title, estimates in rows:
        found: Estimate | None = next((e for e in estimates if e.level == level), None)
        if found is not None:
            shown.append(_estimate(scene.unit, title, found))
    return {"name": level_text(level), "style": scene.style(level), "estimates": tuple(shown)}


def _estimate(unit: Unit, title: str, estimate: Estimate) -> Mapping[str, str]:
    share = f"{estimate.interval.confidence * 100:.4g}" if estimate.interval else ""
    checks = [f"Holm p\xa0{p_text(estimate.p_holm)}", f"sign\u2011flip\xa0{p_text(estimate.p_sign_flip)}", f"n\xa0{estimate.n}"]
    return {
        "title": title,
        "value": unit.signed(estimate.mean),
        "unit": unit.name,
        "interval": f"{share}% interval {unit.interval(estimate.interval)}" if estimate.interval else "no interval",
        "checks": ", ".join(checks),
        "verdict": estimate.verdict or "no verdict",
        "tone": tone(estimate.verdict),
        "reason": estimate.reason,  # says what would decide, too
    }


def _no_verdict(record: StudyRecord) -> Mapping[str, Any]:
    best = record.best(1)
    unit = Unit.of(record.objective)
    found = f"Its best trial reached {unit.level(score_of(best[0]))}{unit.mark} {record.objective}." if best else ""
    found = front_sentence(record) if best and record.costs else found
    kicker = "A search only"
    sentence = f"This search proposes architectures; it does not say what one choice is worth. {found}"
    if record.plan is not None:
        kicker = "Not measured yet"
        done = sum(t.state in ("complete", "failed") for t in record.measured)
        sentence = f"{done:,} of the planned twins are trained; there is no effect and no verdict before they all are. {found}"
    nothing: tuple[str, ...] = ()
    return {"kicker": kicker, "tone": "open", "sentence": sentence} | dict.fromkeys(("reasons", "notes", "arms"), nothing)


def _measure_hint(record: StudyRecord) -> str:
    """Return a `measure:` section for the space at hand, or the general form where no decision fits."""
    for factor in factors_of(record):
        labels = [level_text(level.level) for level in levels_of(record, factor)]
        reference = "none" if "none" in labels else labels[0]
        others = ", ".join(label for label in labels if label != reference)
        depth = _depth_of(record)
        by = f"\n  by: {{{depth[0]}: [{', '.join(depth[1])}]}}" if depth else ""
        head = f"measure:\n  factor: {factor}\n  reference: {reference}\n  levels: [{others}]"
        return f"{head}{by}\n  replicates: 10\n  smallest_effect: 0.01"
    return "measure:\n  factor: PATH OF A DECISION\n  reference: ONE OF ITS VALUES\n  replicates: 10\n  smallest_effect: 0.01"


def _depth_of(record: StudyRecord) -> tuple[str, list[str]] | None:
    values = {int(v) for t in record.search for p, v in t.decisions if p.endswith("depth") and isinstance(v, int)}
    path = next((p for t in record.search for p, _ in t.decisions if p.endswith("depth")), "")
    ordered = sorted(values)
    return (path, [str(v) for v in dict.fromkeys((ordered[0], ordered[len(ordered) // 2], ordered[-1]))]) if values else None


def _measured(scene: Scene) -> Mapping[str, Any]:
    seen = bool(scene.pairs)
    return {
        "by_depth": effect_charts.effect_by(scene) if scene.effects.at_each and not scene.record.changes else None,
        "table": tables.effects_table(scene),
        "details": tables.details_table(scene),
        "undecided": _undecided(scene),
        "tuning": tables.tuning_table(scene.record, scene.names),
        "contrasts": contrasts.page_table(scene.effects, scene.unit),
        "contrast_sentences": tuple((c.effects.estimand, c.effects.sentence, c.effects.notes) for c in scene.effects.contrasts),
        "forest": effect_charts.forest(scene) if seen else None,
        "curves": None if scene.record.changes else curve_charts.paired_curves(scene),
        "slopes": _slope_words(scene),
        "replicates": scene.effects.replicates,
        "factor": scene.factor,
        "by": by_name(scene.effects),
    }


def _undecided(scene: Scene) -> tuple[str, ...]:
    """Say of each row of the table why it is undecided: an interval may leave out zero there, and failures forbid to go by it."""
    rows = [row for row in scene.effects.at_each if row.verdict.startswith("undetermined") and row.reason]
    if scene.record.changes:
        return ()
    return tuple(", ".join(filter(None, (level_text(r.level), scene.at(r.at or ())))) + f": {r.verdict}; {r.reason}." for r in rows)


def _slope_words(scene: Scene) -> tuple[str, ...]:
    told = []
    what = "the number of layers" if scene.effects.slope_axis == "num_layers" else by_name(scene.effects)
    for slope in scene.effects.slopes:
        if slope.mean is None:
            told.append(f"{level_text(slope.level)}: no slope{', ' + slope.reason if slope.reason else ''}")
            continue
        numbers = f"β = {scene.unit.signed(slope.mean)}{scene.unit.suffix} {scene.unit.interval(slope.interval)}"
        p = f"Holm\xa0p\xa0{p_text(slope.p_holm)}"
        told.append(f"{level_text(slope.level)}: {numbers} for each doubling of {what}, {p}: {slope.verdict or slope.reason}")
    return tuple(told)


def _search(record: StudyRecord, scene: Scene | None, names: Mapping[str, str]) -> Mapping[str, Any]:
    panels = []
    for factor in factors_of(record):
        levels = levels_of(record, factor)
        if any(level.states for level in levels):
            chart = search_charts.exploratory(record, levels, names)
            unmeasured = [level_text(level.level) for level in levels if level.unmeasured]
            table = tables.exploratory_table(scene, record, levels)
            panels.append({"factor": factor, "chart": chart, "table": table, "unmeasured": listing(unmeasured)})
    return {
        "history": search_charts.history(record, names),
        "gate": gate_sentences(record),
        "front": front_charts.fronts(record, names),
        "parallel": parallel(record, names),
        "curves": search_charts.learning_curves(record, names),
        "exploratory": tuple(panels),
        "importances": tables.importance_table(record, names),
    }


def _best(record: StudyRecord, names: Mapping[str, str], retests: Retests) -> Mapping[str, Any] | None:
    if not record.best(1):
        return None
    trial, unit = record.best(1)[0], Unit.of(record.objective)
    cost = trial.outcome.cost if trial.outcome else None
    facts = [("trial", f"{trial.number}"), (record.objective, f"{unit.level(score_of(trial))}{unit.mark}")]
    facts += [("over", seeds)] if (seeds := over_seeds(trial.outcome, unit)) else []
    if cost and trial.outcome:
        facts += [("parameters", f"{cost.parameters:,}"), ("MACs", count_text(cost.macs)), ("weight layers", f"{cost.num_layers}")]
        facts += [("epochs", f"{trial.outcome.num_epochs}"), ("trained in", duration_text(trial.outcome.duration_s))]
    facts += [("latency", cost_text(cost_in(trial, "latency"), "latency"))] if "latency" in record.costs else []
    key = trial.configuration.architecture.key if trial.configuration else ""
    return {
        "title": f"The front's best in {record.objective}" if record.costs else "The best architecture",
        "facts": tuple(facts),
        "key": key,
        "retests": tuple((title, retest.page_table(found), tuple(retest.remarks(found))) for title, found in retests),
        "told": sum(t.state in ("complete", "pruned", "failed") for t in record.search),
        "train": f"nas train {record.title.partition('/')[0]}",
        "decisions": tables.decisions_of(trial),
        "ranking": tables.best_rows(record, names),
        "summary": decisions_text(trial, names),
    }


def _run(record: StudyRecord, names: Mapping[str, str]) -> Mapping[str, Any]:
    return {
        "accounts": tables.accounts(record),
        "losses": tables.losses(record, names),
        "timeline": timeline(record, names),
        "states": tuple(state for state in STATES if state in states(record.trainings)),
        "environment": tables.facts(record.environment),
        "data": tables.facts(record.data),
        "seeds": tables.facts(tables.seed_facts(record)),
    }


def _reproduce(record: StudyRecord, scene: Scene | None) -> Mapping[str, Any]:
    git = record.environment.get("git", "")
    commit = str(git.get("commit", "") if isinstance(git, Mapping) else git or "").split(" ")[0]
    again = commands.effects_again(record, scene.effects, RAW_NAME) if scene else ""
    return {"commit": commit, "command": commands.again(record), "again": again, "plugins": record.own_plugins}
