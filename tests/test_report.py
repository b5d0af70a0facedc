"""The report: what a reader finds on the page, in the figures and in the terminal, from records made up here."""

from __future__ import annotations

import io
import math
import random
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean, stdev

import pytest
from rich.console import Console
from scipy import stats

from nas.measuring.of_record import effects_of
from nas.report import best_table, draw_architecture, effects_table, verdict_text, write_figures, write_report
from nas.report.diagram import collapse
from nas.report.page import render
from nas.report.reading import levels_of, pairs, score_of, thin
from nas.report.scene import Scene, by_replicate, layout, trend
from nas.report.svg import Axis, Plot, nice_axis
from nas.report.tables import accounts, exploratory_table
from nas.report.timeline import timeline
from nas.report.unfolding import Unfolding
from nas.report.words import POINTS, Unit, count_text, duration_text, p_text, short_names
from nas.values.architecture import Architecture, Configuration, PluginNode
from nas.values.domains import Scalar
from nas.values.effects import CellSummary, Effects, Estimate, Interval
from nas.values.outcome import Cost, Outcome
from nas.values.outline import LayerRow
from nas.values.plans import Cell, MeasurePlan
from nas.values.records import State, StudyRecord, TrainingRecord

NETWORK = "architecture.staged"
FACTOR, DEPTH = f"{NETWORK}.shortcut", f"{NETWORK}.depth"
REFERENCE, ARMS, DEPTHS, LAYERS = "none", ("identity", "projection"), (1, 3, 9), (8, 20, 56)
GAIN = {"none": (0.0, 0.0, 0.0), "identity": (0.001, 0.012, 0.05), "projection": (-0.001, 0.006, 0.031)}
START = datetime(2025, 3, 4, 9, 30)
SPACE = """name: residual-digits
data: digits
architecture:
  staged:
    stem: {conv3x3: {width: 8}}
    widths: [8, 16, 32]
    depth: {int: [1, 9]}                       # units per stage
    block: {choices: [basic, bottleneck, preact_basic]}
    shortcut: {choices: [none, identity, projection, gated]}
train:
  epochs: 12
  optimizer: {sgd: {lr: {float: [0.02, 0.3], log: true}, momentum: 0.9, weight_decay: 5.0e-4}}
search: {trials: 60, maximize: val_accuracy}
measure:
  factor: architecture.staged.shortcut
  reference: none
  levels: [identity, projection]
  by: {architecture.staged.depth: [1, 3, 9]}
  replicates: 10
  smallest_effect: 0.01
"""


def fake_outcome(rng: random.Random, *, score: float, status: str, depth: int, metric: str, failure: str = "") -> Outcome:
    """Make one outcome whose curve climbs to the score, or stops early where it was pruned."""
    epochs = 4 if status == "pruned" else 12
    climb = [0.1 + (score - 0.1) * (1 - math.exp(-0.45 * e)) + rng.gauss(0, 0.006) for e in range(1, epochs + 1)]
    loss = [2.3 * (1 - value) + rng.gauss(0, 0.01) for value in climb]
    if failure:
        loss[5:] = [math.nan] * len(loss[5:])
    curves = {"val_accuracy": tuple(climb), "train_loss": tuple(loss)}
    cost = Cost(12_000 + 9_000 * depth, 400_000 + 2_600_000 * depth, 6 * depth + 2)
    return Outcome(status, score, {metric: score}, curves, cost, epochs, 3.0 + depth, "cpu", failure)  # type: ignore[arg-type]


def fake_configuration(decisions: tuple[tuple[str, Scalar], ...]) -> Configuration:
    """Make a configuration that holds the decisions."""
    node = PluginNode("staged", tuple((path.rsplit(".", 1)[-1], value) for path, value in decisions))
    return Configuration(Architecture(node), PluginNode("sgd"), PluginNode("digits"))


def fake_trial(number: int, rng: random.Random) -> TrainingRecord:
    """Make a search trial: later ones visit `identity` more often, `gated` is always pruned, some fail or break."""
    keen = rng.random() < min(number / 60, 0.75)
    shortcut = "identity" if keen else rng.choice(["none", "identity", "projection", "gated"])
    depth, block = rng.randint(1, 9), rng.choice(["basic", "bottleneck", "preact_basic"])
    rate = round(10 ** rng.uniform(-1.7, -0.5), 4)
    decisions: tuple[tuple[str, Scalar], ...] = (
        (DEPTH, depth), (f"{NETWORK}.block", block), (FACTOR, shortcut), ("train.sgd.lr", rate)
    )  # fmt: skip
    score = 0.93 + 0.03 * keen - 0.012 * (shortcut == "none") * depth + 0.02 * (block == "preact_basic") + rng.gauss(0, 0.012)
    state: State = "complete"
    if shortcut == "gated" or rng.random() < 0.22:
        state, score = "pruned", score - 0.18 - 0.1 * rng.random()
    elif number % 17 == 9:
        state, score = "failed", 0.1
    elif number % 23 == 11:
        state = "broken"
    started = START + timedelta(seconds=20 * (number // 2) + (6 * 3600 if number > 40 else 0))
    failure = "loss is not finite at epoch 6" if state == "failed" else ""
    outcome = fake_outcome(rng, score=min(score, 0.995), status=state, depth=depth, metric="val_accuracy", failure=failure)
    return TrainingRecord(
        number=number, phase="search", state=state, decisions=decisions, configuration=fake_configuration(decisions),
        seed=1000 + number, outcome=None if state == "broken" else outcome, started=started,
        finished=started + timedelta(seconds=10 + depth), worker=f"worker-{number % 2}",
        error="Traceback …\nMemoryError: <script>alert('error')</script>" if state == "broken" else "",
    )  # fmt: skip


def fake_twins(replicates: int, rng: random.Random) -> list[TrainingRecord]:
    """Make complete replicates; the deepest plain network fails in two of them, and one training is missing."""
    twins: list[TrainingRecord] = []
    for replicate in range(1, replicates + 1):
        shift, rate = rng.gauss(0, 0.008), round(10 ** rng.uniform(-1.7, -0.5), 4)
        for i, depth in enumerate(DEPTHS):
            for level in (REFERENCE, *ARMS):
                decisions: tuple[tuple[str, Scalar], ...] = (
                    (DEPTH, depth), (f"{NETWORK}.block", "basic"), (FACTOR, level), ("train.sgd.lr", rate)
                )  # fmt: skip
                score = 0.93 - 0.006 * i + shift + GAIN[level][i] + rng.gauss(0, 0.006)
                lost = level == REFERENCE and depth == 9 and replicate in (4, 8)
                missing = level == "projection" and depth == 3 and replicate == 6
                state: State = "failed" if lost else "broken" if missing else "complete"
                outcome = fake_outcome(
                    rng, score=0.1 if lost else score, status="failed" if lost else "complete", depth=depth,
                    metric="test_accuracy", failure="not above chance: 11.2% of 360, p = .31" if lost else "",
                )  # fmt: skip
                started = START + timedelta(seconds=26_000 + 9 * len(twins))
                twins.append(TrainingRecord(
                    number=len(twins), phase="measure", state=state, decisions=decisions,
                    configuration=fake_configuration(decisions), seed=replicate,
                    cell=Cell(replicate, level, ((DEPTH, depth),)), outcome=None if missing else outcome, started=started,
                    finished=started + timedelta(seconds=14), worker=f"worker-{len(twins) % 2}", error="killed" if missing else "",
                ))  # fmt: skip
    return twins


@cache
def fake_record(trials: int = 60, replicates: int = 10, *, planned: bool = True) -> StudyRecord:
    """Make a study: a search, and twins where it is planned to measure."""
    rng = random.Random(7)
    plan = MeasurePlan(FACTOR, REFERENCE, ARMS, ((DEPTH, DEPTHS),), replicates, 0.01) if planned else None
    environment = {
        "python": "3.11.2", "devices": ["cpu"], "cores": 2, "git": "40994e0a1b2c with uncommitted changes",
        "packages": {"torch": "2.13.0", "pytorch-lightning": "2.6.6", "optuna": "5.0.0", "<i>odd</i>": "1"},
    }  # fmt: skip
    return StudyRecord(
        name="residual-digits", key="1a2b3c4d", space_file="space.yaml", space_text=SPACE, objective="val_accuracy",
        direction="maximize", search=tuple(fake_trial(n, rng) for n in range(trials)),
        measured=tuple(fake_twins(replicates, rng)) if planned else (), planned_search=trials, plan=plan,
        environment=environment, data={"name": "digits", "fingerprint": "9f2c11d0", "images": 1797, "classes": 10}, created=START,
    )  # fmt: skip


def fake_effects(record: StudyRecord) -> Effects:
    """Estimate from the record as plainly as a figure needs it: t intervals, Bonferroni p-values."""
    found = pairs(record)
    at = tuple((depth,) for depth in DEPTHS)
    at_each, cells, overall, slopes = [], [], [], []
    for place in at:
        for level in (REFERENCE, *ARMS):
            cells.append(_cell(record, level, place))
        for level in ARMS:
            values = [p.difference for p in found if p.level == level and p.at == place]
            at_each.append(_estimate("theta_d", level, place, values, len(ARMS) * len(at)))
    logs = [math.log2(n) for n in LAYERS]
    weights = [(x - fmean(logs)) / sum((z - fmean(logs)) ** 2 for z in logs) for x in logs]
    for level in ARMS:
        rows: dict[int, dict[tuple[Scalar, ...], float]] = {}
        for pair in found:
            if pair.level == level:
                rows.setdefault(pair.replicate, {})[pair.at] = pair.difference
        full = [row for row in rows.values() if len(row) == len(at)]
        overall.append(_estimate("theta", level, None, [fmean(row.values()) for row in full], 1))
        slope = _estimate("beta", level, None, [sum(c * row[a] for c, a in zip(weights, at, strict=True)) for row in full], 1)
        slopes.append(replace(slope, verdict="grows" if slope.interval and slope.interval.low > 0 else "no change shown"))
    few = len({pair.replicate for pair in found}) < 6
    sentence = (
        "On digits, trained for 12 epochs, the identity shortcut helps materially: +3.5 points of test accuracy over the plain "
        "network, averaged over 8, 20 and 56 layers; the projection shortcut helps, size unclear."
    )
    return Effects(
        factor=FACTOR, reference=REFERENCE, levels=ARMS, by=(DEPTH,), at=at, num_layers=LAYERS, slope_axis="num_layers",
        smallest_effect=0.01, replicates=len({p.replicate for p in found}), cells=tuple(cells), overall=tuple(overall),
        slopes=tuple(slopes), at_each=tuple(at_each), notes=("1 pair is missing at depth 3 of projection.",),
        sentence="No verdict: 4 replicates were measured, and at least 6 are needed." if few else sentence,
    )  # fmt: skip


def _estimate(name: str, level: Scalar, at: tuple[Scalar, ...] | None, values: list[float], family: int) -> Estimate:
    n, mean, sd = len(values), fmean(values), stdev(values)
    half = float(stats.t.ppf(1 - 0.025 / family, n - 1)) * sd / math.sqrt(n)
    p = float(2 * stats.t.sf(abs(mean) / (sd / math.sqrt(n)), n - 1))
    low, high = mean - half, mean + half
    verdict = "helps materially" if low > 0.01 else "helps, size unclear" if low > 0 else "undetermined"
    if abs(low) < 0.01 and abs(high) < 0.01:
        verdict = "practically equivalent"
    interval = Interval(low, high, 1 - 0.05 / family)
    if n < 6:
        return Estimate(name, level, at, n, mean, sd, interval, p, p, None, "no verdict", f"{n} replicates, 6 are needed")
    return Estimate(name, level, at, n, mean, sd, interval, p, p, min(p * family, 1.0), verdict)


def _cell(record: StudyRecord, level: Scalar, at: tuple[Scalar, ...]) -> CellSummary:
    here = [t for t in record.measured if t.cell and t.cell.level == level and t.cell.by == ((DEPTH, at[0]),)]
    scores = [score for t in here if (score := score_of(t)) is not None]
    failures, missing = sum(t.state == "failed" for t in here), len(here) - len(scores)
    if level == REFERENCE:
        return CellSummary(
            level, at, len(scores), fmean(scores), stdev(scores), failures, missing, *[None] * 9
        )  # fmt: skip
    twins = [p for p in pairs(record) if p.level == level and p.at == at]
    wins = fmean(float(p.difference > 0) for p in twins)
    whole = [p.difference for p in twins if not p.failed]
    extra = 0.0 if level == "identity" else 2752.0
    return CellSummary(
        level, at, len(scores), fmean(scores), stdev(scores), failures, missing, fmean(whole), wins, Interval(0.4, 1.0, 0.95),
        -0.2 if at == (9,) else 0.0, Interval(-0.45, 0.1, 0.95), 0.5 if at == (9,) else 1.0, 0.62, extra, extra * 90,
    )  # fmt: skip


def fake_rows(units: int) -> list[LayerRow]:
    """Make the outline of a CIFAR-style network with three stages of `units` basic units."""
    rows = [LayerRow("stem", "conv3x3", "", (16, 32, 32), 464, 442_368, "relu(bn(conv(x)))")]
    for stage, (width, side) in enumerate(((16, 32), (32, 16), (64, 8)), 1):
        for unit in range(1, units + 1):
            changes = stage > 1 and unit == 1
            shortcut = "projection" if changes else "identity"
            macs = 18 * width * width * side * side
            formula = "relu(bn(conv1x1(x)) + F(x))" if changes else "relu(x + F(x))"
            row = LayerRow(f"stage {stage} · unit {unit}", "basic", shortcut, (width, side, side), 18 * width * width, macs, formula)
            rows.append(row)
    return [*rows, LayerRow("head", "linear", "", (10,), 650, 640, "W·mean(x) + b")]


class Page(HTMLParser):
    """Reads a page: its elements that are opened and never closed, its tags, its links, and the text of each section."""

    VOID = ("meta", "link", "br", "img", "input", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, str] = {}
        self.mismatched: list[str] = []
        self._section = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self._section = dict(attrs).get("id") or ""
            self.sections[self._section] = ""
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.mismatched.append(tag)
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if self._section:
            self.sections[self._section] += data

    def tips(self) -> list[str]:
        return [attrs["data-tip"] or "" for _, attrs in self.tags if "data-tip" in attrs]


@cache
def measured_page() -> Page:
    return Page(render(fake_record(), effects=fake_effects(fake_record()), diagram=draw_architecture(fake_rows(3))))


@cache
def search_page() -> Page:
    return Page(render(fake_record(planned=False), effects=None))


def printed(table: object) -> str:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_report_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    path = write_report(fake_record(), effects=None, diagram="", folder=tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "report.html"
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_page_fetches_nothing_from_elsewhere() -> None:
    page = measured_page()
    fetched = [attrs[name] for _, attrs in page.tags for name in ("src", "srcset", "poster") if name in attrs]
    links = [attrs.get("href") or "" for _, attrs in page.tags if "href" in attrs]
    assert not fetched
    assert {link for link in links if not link.startswith("#")} == {"replicates.csv"}
    assert not re.search(r"url\(|@import", render(fake_record(), effects=None))


@pytest.mark.parametrize("page", [measured_page, search_page])
def test_every_element_of_the_page_is_closed(page: Callable[[], Page]) -> None:
    assert not page().mismatched
    assert not page().open


@pytest.mark.parametrize("page", [measured_page, search_page])
def test_every_entry_of_the_contents_leads_to_a_section(page: Callable[[], Page]) -> None:
    targets = {(attrs.get("href") or "")[1:] for tag, attrs in page().tags if tag == "a" and (attrs.get("href") or "")[0] == "#"}
    assert targets == set(page().sections)


def test_sections_follow_the_order_of_a_reader() -> None:
    assert list(measured_page().sections) == [
        "verdict", "depth", "table", "replicates", "unfolding", "search", "front", "decisions", "curves", "exploratory", "best", "accounts",
        "timeline", "space", "environment", "reproduce",
    ]  # fmt: skip


def test_the_sentence_of_verdict_is_the_headline() -> None:
    page = render(fake_record(), effects=fake_effects(fake_record()))
    assert re.search(r"<h1[^>]*>(.*?)</h1>", page, re.S).group(1) == fake_effects(fake_record()).sentence  # type: ignore[union-attr]


def test_text_of_the_record_never_becomes_markup() -> None:
    bad = "<img src=x onerror=alert(1)>\"'&"
    record, effects = fake_record(), fake_effects(fake_record())
    trials = tuple(replace(t, worker=bad, error=bad, decisions=(*t.decisions, (bad, bad))) for t in record.search)
    twins = tuple(replace(t, decisions=((bad, bad),), worker=bad) for t in record.measured)
    record = replace(
        record, name=bad, space_text=bad, space_file=bad, objective=bad, search=trials, measured=twins, environment={bad: {bad: bad}},
        data={bad: bad},
    )  # fmt: skip
    page = Page(render(record, effects=replace(effects, sentence=bad, notes=(bad,))))
    assert "img" not in {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert bad in page.sections["verdict"]
    assert bad in page.sections["space"]


def test_every_effect_stands_in_the_table_with_its_interval_and_p_value() -> None:
    effects, text = fake_effects(fake_record()), measured_page().sections["table"]
    for effect in effects.at_each:
        for shown in (POINTS.signed(effect.mean), POINTS.interval(effect.interval), p_text(effect.p_holm), effect.verdict):
            assert shown in text


def test_slope_is_stated_above_the_effect_by_depth() -> None:
    effects, text = fake_effects(fake_record()), measured_page().sections["depth"]
    for slope in effects.slopes:
        stated = f"β = {POINTS.signed(slope.mean)} points {POINTS.interval(slope.interval)} for each doubling of the number of layers"
        assert stated in text


def test_a_mark_says_where_it_stands_and_what_was_decided() -> None:
    pair = next(p for p in pairs(fake_record()) if p.level == "identity" and p.at == (3,) and p.replicate == 2)
    rate = dict(pair.arm.decisions)["train.sgd.lr"]
    tip = next(t for t in measured_page().tips() if t.startswith("replicate 2 · 20 layers") and "identity" in t)
    assert POINTS.signed(pair.difference) in tip
    assert f"lr  {rate:g}" in tip


def test_trial_marks_show_their_decisions() -> None:
    best = fake_record().best(1)[0]
    tip = next(t for t in search_page().tips() if t.startswith(f"trial {best.number} · complete"))
    assert tip.endswith("\n".join(f"{path.rsplit('.', 1)[-1]}  {value}" for path, value in best.decisions))


def test_a_search_alone_says_so_and_shows_the_section_that_measures() -> None:
    text = search_page().sections["verdict"]
    assert "A search only" in text
    assert f"measure:\n  factor: {FACTOR}\n  reference: none\n" in text
    assert "table" not in search_page().sections


def test_a_planned_measurement_without_effects_is_not_called_a_search() -> None:
    page = Page(render(fake_record(), effects=None))
    assert "Not measured yet" in page.sections["verdict"]
    assert "measure:" not in page.sections["verdict"]


def test_few_replicates_are_given_no_verdict_and_the_reason() -> None:
    record = fake_record(replicates=4)
    text = Page(render(record, effects=replace(fake_effects(record), sentence="Not enough."))).sections["verdict"]
    assert "No verdict: 4 replicates of the 6 that a verdict needs." in text
    assert "helps" not in text


def test_a_card_says_once_what_would_decide() -> None:
    record = fake_record()
    effects = fake_effects(record)
    reason = "24 replicates would decide it at today's mean and spread"
    open_one = replace(effects.overall[0], verdict="undetermined", reason=reason, replicates_to_decide=24)
    text = Page(render(record, effects=replace(effects, overall=(open_one, *effects.overall[1:])))).sections["verdict"]
    assert text.count("would decide") == 1


def test_the_table_says_why_a_row_is_undetermined() -> None:
    effects = fake_effects(fake_record())
    reason = "trainings failed, and 6 replicates against 0 do not show the sign on their own"
    open_one = replace(effects.at_each[0], verdict="undetermined", reason=reason)
    text = Page(render(fake_record(), effects=replace(effects, at_each=(open_one, *effects.at_each[1:])))).sections["table"]
    assert f"identity, 8 layers: undetermined; {reason}." in text


def test_failed_trainings_that_scored_above_guessing_are_told_with_the_size_of_the_test_part() -> None:
    record = fake_record()
    weak = [
        replace(t, outcome=replace(t.outcome, metrics={"test_accuracy": 0.28}, failure="learned nothing: …"))
        if t.outcome and t.state == "failed" else t
        for t in record.measured
    ]  # fmt: skip
    told = effects_of(replace(record, measured=tuple(weak), data={**record.data, "num_test": 44}))
    assert told is not None
    assert any("2 of the failed trainings scored better" in note and "28.0%: on 44 test" in note for note in told.notes)
    whole = effects_of(replace(record, data={**record.data, "num_test": 44}))
    assert whole is not None
    assert not any("scored better" in note for note in whole.notes)


def test_a_measurement_under_way_is_called_so() -> None:
    record = fake_record()
    waiting = replace(record.measured[0], number=999, state="waiting", outcome=None)
    page = Page(render(replace(record, measured=(*record.measured, waiting)), effects=fake_effects(record)))
    assert "under way: 1 training to come" in page.sections["verdict"]


@pytest.mark.parametrize("page", [measured_page, search_page])
def test_exploratory_reading_is_labelled_and_carries_no_inference(page: Callable[[], Page]) -> None:
    text = page().sections["exploratory"]
    assert text.count("xploratory: adaptive sampling") >= 3
    assert "This is not an effect" in text
    assert "Holm" not in text
    assert "[" not in text


def test_an_arm_pruned_every_time_is_unmeasured_and_not_zero() -> None:
    gated = next(level for level in levels_of(fake_record(), FACTOR) if level.level == "gated")
    assert gated.unmeasured
    assert gated.mean is None
    assert "Unmeasured: gated." in measured_page().sections["exploratory"]
    table = exploratory_table(None, fake_record(), levels_of(fake_record(), FACTOR))
    shown = dict(zip(table.head, next(row.cells for row in table.rows if row.cells[0] == "gated"), strict=True))
    assert (shown["pruned"], shown["mean, %"], shown["naive difference from none"]) == ("7", "unmeasured", "–")


def test_failed_broken_and_missing_trainings_are_counted() -> None:
    table = accounts(fake_record())
    rows = {row.cells[0]: dict(zip(table.head, row.cells, strict=True)) for row in table.rows}
    assert rows["measure"]["planned"] == "90"
    assert (rows["measure"]["failed"], rows["measure"]["broken"], rows["measure"]["missing"]) == ("2", "1", "1")
    assert "not above chance: 11.2%" in measured_page().sections["accounts"]


def test_differences_are_signed_so_that_positive_is_better() -> None:
    record = fake_record()
    assert record.plan is not None
    higher = pairs(record)
    lower = pairs(replace(record, plan=replace(record.plan, direction="minimize")))
    assert [p.difference for p in lower] == [-p.difference for p in higher]
    first = higher[0]
    assert first.difference == (score_of(first.arm) or 0.0) - (score_of(first.reference) or 0.0)


def test_a_pair_with_a_lost_twin_is_no_pair() -> None:
    assert not [p for p in pairs(fake_record()) if p.level == "projection" and p.at == (3,) and p.replicate == 6]
    assert len(pairs(fake_record())) == 59


def test_a_replicate_that_misses_a_depth_has_no_mean_and_stands_last() -> None:
    scene = Scene.of(fake_record(), fake_effects(fake_record()), {})
    lines = by_replicate(scene, "projection")
    assert (lines[-1].replicate, lines[-1].mean) == (6, None)
    assert [line.mean for line in lines[:-1]] == sorted((line.mean for line in lines[:-1] if line.mean is not None), reverse=True)


def test_the_dashed_line_rises_by_beta_for_each_doubling() -> None:
    effects = fake_effects(fake_record())
    _, places, doublings = layout(effects)
    (low, start), (high, end) = trend(effects, effects.slopes[0], places)
    assert doublings
    assert (end - start) / math.log2(high / low) == pytest.approx(effects.slopes[0].mean)


def test_labels_that_are_no_numbers_stand_side_by_side_without_a_slope() -> None:
    effects = replace(fake_effects(fake_record()), num_layers=(None, None, None), slope_axis="", at=(("a",), ("b",), ("c",)))
    axis, places, doublings = layout(effects)
    assert (places, doublings, axis.log) == ((0.0, 1.0, 2.0), False, False)


def test_a_measurement_without_by_is_drawn_and_named_all() -> None:
    record = fake_record()
    assert record.plan is not None
    twins = tuple(replace(t, cell=replace(t.cell, by=())) for t in record.measured if t.cell and t.cell.by[0][1] == 1)
    record = replace(record, measured=twins, plan=replace(record.plan, by=()))
    full = fake_effects(fake_record())
    effects = replace(
        full, by=(), at=((),), num_layers=(8,), slope_axis="", slopes=(),
        cells=tuple(replace(c, at=()) for c in full.cells if c.at == (1,)),
        at_each=tuple(replace(e, at=()) for e in full.at_each if e.at == (1,)),
    )  # fmt: skip
    page = Page(render(record, effects=effects))
    assert "all" in page.sections["table"]
    assert any(tip.startswith("replicate 1 · all") for tip in page.tips())


def test_a_mark_stands_at_its_share_of_both_axes() -> None:
    plot = Plot(Axis(0, 10), Axis(-1, 3), height=200)
    plot.mark((2.5, 2.0), "c1")
    assert 'cx="25.00%" cy="50.0"' in plot.render("test")


def test_ticks_are_round_and_inside_the_axis() -> None:
    axis = nice_axis([-0.31, 4.9], zero=True)
    assert [name for _, name in axis.ticks] == ["0", "2", "4"]
    assert all(axis.low <= value <= axis.high for value, _ in axis.ticks)


def test_a_loss_is_printed_as_it_stands_and_never_in_points() -> None:
    assert Unit.of("val_loss").signed(-0.0123) == "−0.012"
    page = render(replace(fake_record(planned=False), objective="val_loss", direction="minimize"), effects=None)
    assert "points" not in Page(page).sections["search"]


def test_ten_thousand_trials_make_a_page_of_bounded_size() -> None:
    small, large = fake_record(planned=False), fake_record(10_000, planned=False)
    page = render(large, effects=None)
    drawn = Page(page)
    assert len(page) < 1_500_000
    assert len(drawn.tips()) < 6_000
    assert len(drawn.tips()) > len(search_page().tips())
    assert "of 10,000 trials are drawn" in drawn.sections["search"]
    assert len(small.search) == 60


def test_thinning_keeps_what_must_be_seen_and_spreads_the_rest() -> None:
    trials = fake_record().search
    kept = thin(trials, 10, keep=trials[3:6])
    assert len(kept) == 10
    assert {3, 4, 5} <= {t.number for t in kept}
    assert kept[-1].number > 45


def test_idle_hours_are_cut_out_of_the_timeline() -> None:
    figure = timeline(fake_record(), {})
    assert figure is not None
    assert "minutes of work" in figure.panels[0].chart
    assert "2 pauses in which nobody worked are cut out" in figure.caption


def test_figures_for_a_paper_are_png_and_svg_and_the_same_every_time(tmp_path: Path) -> None:
    record, effects = fake_record(), fake_effects(fake_record())
    paths = write_figures(record, effects, tmp_path / "first")
    again = write_figures(record, effects, tmp_path / "second")
    names = ["effect", "forest", "curves"]
    assert [p.name for p in paths] == [f"{name}.{suffix}" for name in names for suffix in ("png", "svg")]
    assert all(p.read_bytes().startswith(b"\x89PNG") for p in paths[::2])
    assert all(ET.parse(p).getroot().tag.endswith("svg") for p in paths[1::2])
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]


def test_the_difference_while_training_is_the_mean_over_replicates_with_a_t_band() -> None:
    record = fake_record()
    scene = Scene.of(record, fake_effects(record), {})
    found = Unfolding.of(scene)
    assert found is not None
    assert (found.name, found.last_epoch) == ("val_accuracy", 12)
    twins = [p for p in scene.pairs if (p.level, p.at) == ("identity", (3,))]
    values = [p.arm.outcome.curves["val_accuracy"][6] - p.reference.outcome.curves["val_accuracy"][6] for p in twins]  # type: ignore[union-attr]
    moment = found.moments("identity", (3,), most=100)[6]
    band = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (moment.epoch, moment.n) == (7, 10)
    assert (moment.mean, moment.low, moment.high) == pytest.approx((fmean(values), band.low, band.high))
    section = measured_page().sections["unfolding"]
    assert "pointwise 95% t interval of the mean over replicates; it describes, and no verdict rests on it" in section
    tip = f"identity, epoch 7\nmean {POINTS.signed(moment.mean)} points, {POINTS.signed(moment.low)} to {POINTS.signed(moment.high)}"
    assert f"{tip}\n10 replicates" in measured_page().tips()


def test_two_replicates_have_a_mean_difference_and_no_band() -> None:
    record = fake_record(trials=10, replicates=2)
    found = Unfolding.of(Scene.of(record, fake_effects(record), {}))
    assert found is not None
    assert {(m.low, m.high) for m in found.moments("identity", (3,), most=100)} == {(None, None)}
    assert "fewer than 3 replicates there is no band" in Page(render(record, effects=fake_effects(record))).sections["unfolding"]


def test_epochs_that_were_not_finite_leave_the_mean_to_the_other_replicates() -> None:
    record = fake_record()
    lost = next(t for t in record.measured if t.cell and (t.cell.replicate, t.cell.level, t.cell.by[0][1]) == (3, "identity", 3))
    assert lost.outcome is not None
    curve = lost.outcome.curves["val_accuracy"]
    curves = {"val_accuracy": (*curve[:4], *[math.nan] * 8)}
    measured = tuple(replace(t, outcome=replace(lost.outcome, curves=curves)) if t is lost else t for t in record.measured)
    found = Unfolding.of(Scene.of(replace(record, measured=measured), fake_effects(record), {}))
    assert found is not None
    assert [m.n for m in found.moments("identity", (3,), most=100)] == [10] * 4 + [9] * 8


def test_the_correlation_between_arms_stands_beside_the_verdicts() -> None:
    section = measured_page().sections["table"]
    assert "Correlation: between an arm and the reference over replicates" in section
    assert section.count("+0.62") == len(ARMS) * len(DEPTHS)


@cache
def measured_by_two() -> tuple[StudyRecord, Effects]:
    """The made-up twins told apart by a width as well, estimated for real: two cells of equal depth."""
    width, record = f"{NETWORK}.widths", fake_record()
    assert record.plan is not None

    def moved(training: TrainingRecord) -> TrainingRecord:
        assert training.cell is not None
        depth = training.cell.by[0][1]
        wide = "16-32-64" if training.cell.replicate % 2 else "8-16-32"
        return replace(
            training, cell=replace(training.cell, replicate=(training.cell.replicate + 1) // 2, by=((DEPTH, depth), (width, wide)))
        )

    plan = replace(record.plan, by=((DEPTH, DEPTHS), (width, ("8-16-32", "16-32-64"))), replicates=5)
    made = replace(record, measured=tuple(map(moved, record.measured)), plan=plan)
    effects = effects_of(made)
    assert effects is not None
    return made, effects


def test_cells_of_two_decisions_are_drawn_named_and_tabled_one_by_one(tmp_path: Path) -> None:
    record, effects = measured_by_two()
    assert (len(effects.at), effects.slopes) == (6, ())
    page = Page(render(record, effects=effects))
    assert page.mismatched == []
    assert page.open == []
    for name in ("depth 1 · widths 8-16-32", "depth 9 · widths 16-32-64"):
        assert any(name in tip for tip in page.tips())
        assert name in page.sections["table"]
        assert name in page.sections["replicates"]
        assert name in page.sections["unfolding"]
    assert "Effect by depth × widths" in page.sections["depth"]
    assert "mean over depth × widths" in page.sections["replicates"]
    lines = printed(effects_table(effects)).splitlines()
    assert max(len(line) for line in lines) <= 80
    assert sum("identity" in line for line in lines) == 6
    files = [p for p in write_figures(record, effects, tmp_path) if p.suffix == ".svg"]
    assert [p.stem for p in files] == ["effect", "forest", "curves"]
    assert all(ET.parse(p).getroot().tag.endswith("svg") for p in files)


def test_no_effect_no_figure(tmp_path: Path) -> None:
    assert write_figures(fake_record(planned=False), None, tmp_path / "none") == ()
    assert not (tmp_path / "none").exists()


def test_effects_table_fits_eighty_columns_whole() -> None:
    effects = fake_effects(fake_record())
    lines = printed(effects_table(effects)).splitlines()
    assert max(len(line) for line in lines) <= 80
    assert "…" not in "".join(lines)
    row = next(line.split() for line in lines if line.startswith("20") and "identity" in line)
    effect, cell = effects.effect("identity", (3,)), effects.cell("identity", (3,))
    expected = [POINTS.level(cell.mean), "10", "0", POINTS.signed(effect.mean), POINTS.interval(effect.interval).replace(" ", "")]
    assert row[2:7] == [text.replace("−", "-") for text in expected]


def test_wide_figures_are_never_cut_and_long_names_give_way() -> None:
    effects = fake_effects(fake_record())
    cells = tuple(replace(c, level="projection_everywhere" if c.level == "projection" else c.level) for c in effects.cells)
    at_each = tuple(
        replace(e, level="projection_everywhere" if e.level == "projection" else e.level, interval=Interval(-1.006, 1.495, 0.99))
        for e in effects.at_each
    )
    levels = ("identity", "projection_everywhere")
    lines = printed(effects_table(replace(effects, cells=cells, at_each=at_each, levels=levels))).splitlines()
    assert max(len(line) for line in lines) <= 80
    assert sum("[-100.6,+149.5]" in line for line in lines) == 6
    assert "proje" in "".join(lines)


def test_best_table_is_led_by_the_best_trial() -> None:
    best = fake_record().best(1)[0]
    first = next(line for line in printed(best_table(fake_record())).splitlines() if line.strip().startswith("1 "))
    assert first.split()[1] == str(best.number)


def test_verdict_text_has_the_sentence_first_and_each_arm_below() -> None:
    effects = fake_effects(fake_record())
    text = verdict_text(effects).plain
    assert text.startswith(effects.sentence)
    assert [line.split()[:2] for line in text.splitlines()[1:5]] == [
        ["effect", "identity"], ["effect", "projection"], ["slope", "identity"], ["slope", "projection"],
    ]  # fmt: skip
    assert "add `measure:`" in verdict_text(None).plain


def drawn(rows: list[LayerRow]) -> ET.Element:
    return ET.fromstring(draw_architecture(rows))


def arcs(root: ET.Element) -> list[str]:
    return [node.get("class", "") for node in root.iter() if node.get("class", "").startswith("arc") and node is not root]


def test_equal_units_are_drawn_once_with_their_number() -> None:
    runs = collapse(fake_rows(9))
    assert [len(run.rows) for run in runs] == [1, 9, 1, 8, 1, 8, 1]
    assert runs[3].name == "stage 2 · unit 2 … 9"
    assert "× 8" in "".join(drawn(fake_rows(9)).itertext())


def test_a_network_of_110_layers_stays_a_page() -> None:
    height = float((drawn(fake_rows(18)).get("viewBox") or "").split()[-1])
    assert height < 700


def test_identity_is_a_solid_arc_projection_a_dashed_one_and_none_is_absent() -> None:
    rows = [LayerRow(f"stage 1 · unit {i}", "basic", s, (8, 4, 4), i, 1) for i, s in enumerate(("identity", "projection", "none", ""))]
    assert arcs(drawn(rows)) == ["arc", "arc dashed"]


def test_what_a_branch_computes_is_written_once_and_whole() -> None:
    branch = "F(x) = BN conv1×1 relu BN conv3×3 relu BN conv1×1 of the unit's whole input (x)"
    rows = [LayerRow(f"stage {i} · unit 1", "bottleneck", "identity", (8, 4, 4), 1, 1, f"y = relu(x + F(x)),  {branch}") for i in (1, 2)]
    lines = " ".join("".join(node.itertext()).strip() for node in drawn(rows).iter() if node.tag.endswith("}text"))
    assert lines.count("y = relu(x + F(x))") == 2
    assert lines.count(f"bottleneck: {branch}") == 1


def test_drawing_counts_every_unit_and_escapes_their_names() -> None:
    rows = [*fake_rows(3), LayerRow("<b>", "<i>&", "identity", (4, 2, 2), 7, 3, "a < b")]
    text = "".join(drawn(rows).itertext())
    assert f"{sum(row.parameters for row in rows):,} parameters" in text
    assert "<i>&" in text
    assert "a < b" in text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (p_text(0.0004), "<.001"), (p_text(0.0497), ".050"), (p_text(1.0), "1.00"), (p_text(None), "–"),
        (count_text(269_722), "270k"), (count_text(999_999), "1M"), (count_text(-2752, sign=True), "−2.8k"),
        (count_text(0, sign=True), "0"), (count_text(40_551_040), "40.6M"), (count_text(12), "12"),
        (duration_text(59.7), "1 min 00 s"), (duration_text(7500), "2 h 05 min"), (duration_text(4.2), "4.2 s"),
        (POINTS.signed(-0.0001), "0.0"), (POINTS.signed(0.0283), "+2.8"), (POINTS.size(0.01), "1 point"),
        (POINTS.size(0.005), "0.5 points"), (POINTS.interval(Interval(-0.003, 0.021, 0.95)), "[−0.3, +2.1]"),
    ],
)  # fmt: skip
def test_figures_are_written_for_people(written: str, expected: str) -> None:
    assert written == expected


def test_a_short_name_is_the_shortest_tail_that_is_unique() -> None:
    names = short_names(["a.b.depth", "a.c.depth", "train.lr", "lr"])
    assert names == {"a.b.depth": "b.depth", "a.c.depth": "c.depth", "train.lr": "train.lr", "lr": "lr"}
