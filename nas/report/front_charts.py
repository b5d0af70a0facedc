"""Layer 4: the figure of score against cost: every finished trial, and the Pareto front among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nas.report.front_text import front_sentence
from nas.report.reading import thin
from nas.report.search_charts import score_axis, trial_tip
from nas.report.svg import Plot, cost_axis
from nas.report.values import Figure, Key, Panel
from nas.report.words import Unit, cost_text, listing, objective_name, plural
from nas.values.front import cost_in, costs_of, front_of, score_in
from nas.values.outcome import CostName
from nas.values.records import StudyRecord, TrainingRecord

MOST_MARKS = 400  # a panel; the front is always among them
WARNING = (
    "Whatever is off the front is matched or beaten by a trial that costs no more. Each trial is one seed, and the front is made of the "
    "lucky ones: it looks better than what fresh seeds give."
)


def fronts(record: StudyRecord, names: Mapping[str, str]) -> Figure | None:
    """Draw score against each cost, the front marked; None where no two finished trials differ in cost.

    Where the search had several objectives, the front is that of all of them.
    """
    done = record.finished
    varied = [cost for cost in costs_of(record) if len({cost_in(t, cost) for t in done}) > 1]
    if not varied:
        return None
    panels = tuple(_panel(record, cost, done, names) for cost in varied)
    keys = (Key("c1", "diamond", "on the Pareto front"), Key("best", "line", "the best score at no more cost"))
    others = (Key("hollow c0", "circle", "other finished trials"),)
    seen = [front_sentence(record)] if record.costs else [_seen(record, cost, len(done)) for cost in varied]
    return Figure(panels, (*keys, *others), f"{' '.join(seen)} {WARNING}", wide=len(panels) == 1)


def _panel(record: StudyRecord, cost: CostName, done: Sequence[TrainingRecord], names: Mapping[str, str]) -> Panel:
    unit, alone = Unit.of(record.metric(record.objective)), front_of(record, cost)
    front = record.front if record.costs else alone
    score = {t.number: score_in(t) * unit.scale for t in done}
    least = min(cost_in(t, cost) for t in done if cost_in(t, cost) > 0)
    at = {t.number: cost_in(t, cost) or least for t in done}
    x = cost_axis(list(at.values()), lambda value: cost_text(value, cost).removesuffix(" ms"), least=0.0 if cost == "latency" else 1.0)
    y = score_axis(list(score.values()), unit, record, keep=[score[t.number] for t in front])
    title = f"{record.objective}{', ' + unit.mark if unit.mark else ''}"
    told = objective_name(cost)
    plot = Plot(x, y, height=300, x_title=f"{told}, ms" if cost == "latency" else told, y_title=title)
    steps = [(at[t.number], score[t.number]) for t in alone]
    plot.steps([*steps, (x.high, steps[-1][1])], "best")
    marked = {t.number for t in front}
    for training in sorted(thin(done, MOST_MARKS, keep=front), key=lambda t: t.number in marked):
        style, shape = ("c1", "diamond") if training.number in marked else ("trial hollow c0", "circle")
        tip = _tip(training, names, unit, record)
        plot.mark((at[training.number], score[training.number]), style, tip=tip, shape=shape, r=2.6)
    return Panel(f"against {told}", plot.render(f"{record.objective} against {told}, with the Pareto front"))


def _tip(training: TrainingRecord, names: Mapping[str, str], unit: Unit, record: StudyRecord) -> str:
    assert training.outcome is not None, "a finished training has its outcome"
    cost = training.outcome.cost
    sizes = f"{cost.parameters:,} parameters · {cost_text(cost.macs, 'macs')} MACs · {cost.num_layers} layers"
    if "latency" in record.costs:
        sizes += f" · {cost_text(cost_in(training, 'latency'), 'latency')}"
    head, _, decided = trial_tip(training, names, unit).partition("\n\n")
    return f"{head}\n{sizes}\n\n{decided}"


def _seen(record: StudyRecord, cost: CostName, count: int) -> str:
    """Say in a sentence or two what the panel shows."""
    unit, front = Unit.of(record.metric(record.objective)), front_of(record, cost)
    first, last, told = front[0], front[-1], objective_name(cost)
    if len(front) == 1:
        return f"Of {plural(count, 'finished trial')} trial {last.number} is the best and has the fewest {told}."
    ends = [f"{unit.level(score_in(t))}{unit.mark} at {cost_text(cost_in(t, cost), cost)}" for t in (first, last)]
    ratio = cost_in(last, cost) / max(cost_in(first, cost), 1)
    more = f", {ratio:.2g} times as many" if ratio >= 1.5 else ""
    where = (
        f"trials {listing(str(t.number) for t in front)}"
        if len(front) <= 8
        else f"from trial {front[0].number} to trial {front[-1].number}"
    )
    return f"In {told}, {len(front)} of {plural(count, 'finished trial')} are on the front ({where}): from {ends[0]} to {ends[1]}{more}."
