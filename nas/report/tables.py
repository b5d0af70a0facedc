"""Layer 4: the tables of the page: depth × arm, decisions, accounts of what ran and what was lost, the exploratory counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas.report.front_text import MOST_OF_FRONT, front_caption
from nas.report.reading import STATES, LevelCount, score_of, sign_of, states
from nas.report.scene import Scene
from nas.report.values import Row, Table
from nas.report.words import (
    ABSENT,
    MINUS,
    Unit,
    at_each,
    cell_name,
    cost_text,
    count_text,
    decisions_text,
    duration_text,
    level_text,
    p_text,
    plural,
    short_names,
    tone,
)
from nas.values.effects import CellSummary, Effects, Estimate, Interval
from nas.values.front import cost_in
from nas.values.records import StudyRecord, TrainingRecord

MOST_LOSSES, MOST_BEST = 40, 5


def effects_table(scene: Scene) -> Table:
    """Return one row for each depth and arm, the reference first at each depth."""
    effects, unit = scene.effects, scene.unit
    rows = []
    for at in effects.at:
        for level in (effects.reference, *effects.levels):
            cell, effect = find(effects.cells, level, at), find(effects.at_each, level, at)
            if cell is not None:
                rows.append(_effect_row(scene, cell, effect))
    unit_name = f", {unit.name}" if unit.name else ""
    mean = f"mean{', ' + unit.mark if unit.mark else ''}"
    head = (cell_name(effects), scene.factor, mean, "n", "failed", f"effect{unit_name}", "simultaneous interval", "Holm p", "wins")
    caption = (
        f"Each arm against {scene.reference}{at_each(effects)}, in pairs. Failed trainings count at their failure score. "
        "n: replicates with a value. Wins: how often the arm beats its twin, a tie as half. Params and MACs: the arm's minus its twin's."
    )
    return Table((*head, "Δ params", "Δ MACs", "verdict"), tuple(rows), caption, labels=2, text_columns=(11,))


def details_table(scene: Scene) -> Table | None:
    """Return what stands beside the verdicts, a row for each depth and arm: spread, failures in pairs, wins, correlation."""
    effects, unit = scene.effects, scene.unit
    rows = []
    for at in effects.at:
        for level in effects.levels:
            cell, effect = find(effects.cells, level, at), find(effects.at_each, level, at)
            if cell is not None and effect is not None:
                cells = [scene.at(at), level_text(level), unit.level(effect.sd), p_text(effect.p), p_text(effect.p_sign_flip)]
                cells += [ABSENT if cell.correlation is None else f"{cell.correlation:+.2f}".replace("-", MINUS)]
                cells += [_share(cell.wins, cell.wins_interval), _share(cell.failure_difference, cell.failure_difference_interval)]
                rows.append(Row((*cells, p_text(cell.failure_p), unit.signed(cell.mean_where_both_trained))))
    head = (cell_name(effects), scene.factor, "sd of differences", "t p", "sign-flip p", "correlation", "wins, %", "more failures, %")
    caption = (
        "p-values before Holm's correction. Correlation: between an arm and the reference over replicates. Wins with the "
        "Clopper–Pearson interval of a win given no tie; failures of the arm minus the reference's with Newcombe's interval. "
        "Selected: the mean difference where both twins trained, which leaves out what failed."
    )
    return Table((*head, "McNemar p", "selected"), tuple(rows), caption, labels=2) if rows else None


def exploratory_table(scene: Scene | None, record: StudyRecord, levels: Sequence[LevelCount]) -> Table:
    """Return the naive reading of the search by level, without intervals or p-values: it is no effect."""
    unit, base = Unit.of(record.objective), levels[0]
    head: tuple[str, ...] = ("level", "trials", "complete", "pruned", "failed", f"mean{', ' + unit.mark if unit.mark else ''}")
    head = (*head, f"naive difference from {level_text(base.level)}")
    if scene:
        head = (*head, "measured effect θ")
    rows = []
    for level in levels:
        counts = [level.states.get(state, 0) for state in ("complete", "pruned", "failed")]
        naive = None
        if level is not base and level.mean is not None and base.mean is not None:
            naive = sign_of(record) * (level.mean - base.mean)
        mean = "unmeasured" if level.unmeasured else unit.level(level.mean)
        cells = [level_text(level.level), f"{sum(level.states.values()):,}", *(f"{n:,}" for n in counts), mean]
        cells.append(unit.signed(naive))
        if scene:
            found = next((e for e in scene.effects.overall if e.level == level.level), None)
            cells.append(unit.signed(found.mean) if found else ABSENT)
        rows.append(Row(tuple(cells), "warn" if level.unmeasured else ""))
    return Table(head, tuple(rows), "Exploratory: adaptive sampling. Means of completed trials; failed ones are counted, not scored.")


def importance_table(record: StudyRecord, names: Mapping[str, str]) -> Table | None:
    """Return what the search's trials suggest of each decision, with why that is no effect; None where there is nothing."""
    if not record.importances:
        return None
    rows = [Row((names.get(i.path, i.path), f"{i.ped_anova:.0%}", f"{i.fanova:.0%}")) for i in record.importances]
    completed = sum(t.state in ("complete", "failed") for t in record.search)
    used = record.importance_trials
    count = f"{used:,} of {completed:,} trials, spread evenly" if used < completed else plural(used, "trial")
    caption = (
        f"Exploratory: adaptive sampling; from {count}, and only of decisions that all of them have. Neither share is an effect: it has "
        "no sign and no interval. PED-ANOVA tells how much a decision sets the best trials apart, and gave a shortcut less weight the "
        "more the sampler preferred it. fANOVA is the share of a fitted forest's variance, taken evenly over the space: where the "
        "sampler hardly went, the forest guesses."
    )
    return Table(("decision", "PED-ANOVA", "fANOVA"), tuple(rows), caption)


def best_rows(record: StudyRecord, names: Mapping[str, str]) -> Table:
    """Return the best completed trials, or the front of several objectives, with their cost and decisions."""
    unit, rows, timed = Unit.of(record.objective), [], "latency" in record.costs
    for rank, trial in enumerate(record.best(MOST_OF_FRONT if record.costs else MOST_BEST), 1):
        cost = trial.outcome.cost if trial.outcome else None
        sizes = [count_text(cost.parameters), count_text(cost.macs), str(cost.num_layers)] if cost else [ABSENT] * 3
        sizes += [cost_text(cost_in(trial, "latency"), "latency")] if timed else []
        decided = ", ".join(decisions_text(trial, names).replace("  ", " ").split("\n"))
        rows.append(Row((str(rank), str(trial.number), f"{unit.level(score_of(trial))}{unit.mark}", *sizes, decided)))
    head = ("rank", "trial", record.objective, "params", "MACs", "layers", *(["latency"] if timed else []), "decisions")
    seeds = {len(trial.outcome.seed_scores) for trial in record.best(1) if trial.outcome} - {0}
    each = f"the mean of {plural(seeds.pop(), 'training')} each" if seeds else "one training each"
    told = f"The best completed trials of the search, {each}."
    return Table(head, tuple(rows), front_caption(record) if record.costs else told, text_columns=(len(head) - 1,))


def decisions_of(training: TrainingRecord) -> Table:
    """Return the decisions of one training with their full paths."""
    rows = tuple(Row((path, level_text(value))) for path, value in training.decisions)
    return Table(("decision", "value"), rows, "", text_columns=(1,))


def accounts(record: StudyRecord) -> Table:
    """Return how many trainings were planned and what became of them, by phase."""
    design = "ablate" if record.changes else "measure"
    planned = {"search": record.planned_search, design: record.planned_measured}
    found = {"search": states(record.search), design: states(record.measured)}
    planned["tune"], found["tune"] = record.planned_tuning, states(record.tuning)
    phases = (*(("search",) if record.has_search else ()), *((design,) if record.plan or record.measured else ()))
    phases = (*phases[:-1], "tune", phases[-1]) if record.planned_tuning else phases
    planned["baseline"], found["baseline"] = record.planned_baseline, states(record.baseline)
    phases = (*phases, "baseline") if record.planned_baseline else phases
    shown = [s for s in STATES if s in ("complete", "failed") or any(s in counts for counts in found.values())]
    rows = []
    for phase in phases:
        told = sum(n for state, n in found[phase].items() if state in ("complete", "pruned", "failed"))
        left = max(planned[phase] - told, 0)
        rows.append(Row((phase, f"{planned[phase]:,}", *(f"{found[phase].get(s, 0):,}" for s in shown), f"{left:,}")))
    caption = (
        "Failed: an outcome of the training itself, scored at the failure score; so is an accuracy that an exact test at .01 does not "
        "tell from the majority class's share. Broken: lost to the machine, not to the network; such a "
        "training is asked for again. Missing: planned and without an outcome."
    )
    return Table(("phase", "planned", *shown, "missing"), tuple(rows), caption)


def tuning_table(record: StudyRecord, names: Mapping[str, str]) -> Table | None:
    """Return the winner of each arm's own search, None where no effect of tuned arms is measured."""
    if not record.winners or record.plan is None:
        return None
    unit, rows = Unit.of(record.objective), []
    for winner in record.winners:
        at = ", ".join(f"{names.get(path, path)} {level_text(value)}" for path, value in winner.by) or "all"
        decided = ", ".join(f"{names.get(path, path)} {level_text(value)}" for path, value in winner.decisions)
        rows.append(Row((level_text(winner.level), at, f"{winner.trials}", f"{unit.level(winner.score)}{unit.mark}", decided)))
    caption = (
        f"The tuned effect: every arm has its own search of {plural(record.plan.tune_trials, 'trial')}, with the same sampler, pruner "
        "and seeds. "
        "Its winner is retrained with fresh seeds and splits in every replicate; only those trainings are in the effect. The score of a "
        "winner in its own search is the best of many and looks better than it is."
    )
    return Table(("arm", "at", "trials", f"its {record.objective}", "decided"), tuple(rows), caption, text_columns=(4,))


def losses(record: StudyRecord, names: Mapping[str, str]) -> Table | None:
    """Return every failed or broken training with its reason, the first forty of them; None where there is none."""
    lost = [t for t in record.trainings if t.state in ("failed", "broken")]
    rows = []
    for training in lost[:MOST_LOSSES]:
        why = (training.outcome.failure if training.outcome else "") or training.error.strip().split("\n")[-1] or ABSENT
        cell = training.cell
        where = f"replicate {cell.replicate}, " if cell else ""
        decided = decisions_text(training, names).replace("  ", " ").replace("\n", ", ")
        rows.append(Row((f"{training.phase} {training.number}", training.state, why[:240], where + decided)))
    if not rows:
        return None
    more = f"The first {MOST_LOSSES} of {plural(len(lost), 'training')}." if len(lost) > MOST_LOSSES else ""
    return Table(("training", "state", "reason", "what it was"), tuple(rows), more, text_columns=(1, 2, 3))


def facts(document: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Flatten nested plain data to lines of name and value: `git.commit`, `packages.torch`."""
    lines: list[tuple[str, str]] = []
    for name, value in document.items():
        if isinstance(value, Mapping):
            lines += [(f"{name}.{inner}", text) for inner, text in facts(value)]
        elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value):
            lines += [line for i, item in enumerate(value) for line in facts({f"{name}.{i}": item})]
        else:
            text = ", ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)
            lines.append((str(name), text or ABSENT))
    return tuple(lines)


def seed_facts(record: StudyRecord) -> dict[str, str]:
    """Return the seeds that were used: the list where it is short, else how many there are and their range."""
    told = {}
    for phase, trainings in (("search", record.search), ("ablate" if record.changes else "measure", record.measured)):
        seeds = sorted({t.seed for t in trainings})
        if seeds:
            short = ", ".join(str(seed) for seed in seeds)
            told[phase] = short if len(seeds) <= 12 else f"{len(seeds):,} seeds, from {seeds[0]} to {seeds[-1]}"
    return told


def training_time(record: StudyRecord) -> str:
    """Return the time that all trainings took together."""
    return duration_text(sum(t.outcome.duration_s for t in record.trainings if t.outcome))


def find(rows: Sequence[Any], level: Any, at: Any) -> Any:
    """Return the row of a level at a depth, None where there is none."""
    return next((row for row in rows if row.level == level and row.at == at), None)


def factor_names(effects: Effects) -> Mapping[str, str]:
    """Return the short names of what was measured and of what it was measured by."""
    return short_names((effects.factor, *effects.by))


def _effect_row(scene: Scene, cell: CellSummary, effect: Estimate | None) -> Row:
    unit, reference = scene.unit, cell.level == scene.effects.reference
    count = f"{cell.n} of {cell.n + cell.missing}" if cell.missing else f"{cell.n}"
    cells = [scene.at(cell.at), level_text(cell.level), unit.level(cell.mean), count, str(cell.failures)]
    if reference or effect is None:
        return Row((*cells, *[ABSENT] * 6, "reference" if reference else ABSENT), "reference" if reference else "again")
    wins = ABSENT if cell.wins is None else f"{cell.wins:.0%}"
    cells += [unit.signed(effect.mean), unit.interval(effect.interval), p_text(effect.p_holm), wins]
    cells += [count_text(cell.parameter_difference, sign=True), count_text(cell.mac_difference, sign=True)]
    return Row((*cells, effect.verdict or effect.reason), f"again {tone(effect.verdict)}")


def _share(share: float | None, interval: Interval | None) -> str:
    if share is None:
        return ABSENT
    percent = Unit(100.0, "", 0)
    return f"{percent.level(share)} {percent.interval(interval).replace('+', '')}" if interval else percent.level(share)
