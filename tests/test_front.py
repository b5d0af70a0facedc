"""The Pareto front of a search: who is on it, and what the page says of it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from test_report import Page, fake_outcome, fake_record, fake_trial

from nas.report.page import render
from nas.report.svg import cost_axis
from nas.report.words import count_text
from nas.values.front import cost_in, front_of, fronts_document
from nas.values.outcome import Cost
from nas.values.records import State, StudyRecord, TrainingRecord


def trial(number: int, parameters: int, score: float, *, state: State = "complete", macs: int = 1000) -> TrainingRecord:
    bare = fake_trial(number, random.Random(number))
    outcome = fake_outcome(random.Random(number), score=score, status="complete", depth=1, metric="val_accuracy")
    return replace(bare, state=state, outcome=replace(outcome, score=score, cost=Cost(parameters, macs, 8)))


def searched(*trials: TrainingRecord, **changed: object) -> StudyRecord:
    return replace(fake_record(planned=False), search=trials, **changed)


def numbers(record: StudyRecord) -> list[int]:
    return [t.number for t in front_of(record, "parameters")]


def test_the_front_holds_what_no_other_trial_beats_cheapest_first() -> None:
    record = searched(trial(0, 500, 0.9), trial(1, 100, 0.7), trial(2, 200, 0.6), trial(3, 300, 0.8), trial(4, 900, 0.9))
    assert numbers(record) == [1, 3, 0]


def test_of_equal_trials_the_first_stands_for_all() -> None:
    assert numbers(searched(trial(3, 100, 0.7), trial(1, 100, 0.7), trial(2, 100, 0.6))) == [1]


def test_a_loss_is_better_when_it_is_lower() -> None:
    record = searched(trial(0, 100, 0.5), trial(1, 200, 0.3), trial(2, 300, 0.4), objective="val_loss", direction="minimize")
    assert numbers(record) == [0, 1]


@pytest.mark.parametrize("state", ["pruned", "failed"])
def test_only_finished_trials_can_be_on_the_front(state: State) -> None:
    assert numbers(searched(trial(0, 100, 0.99, state=state), trial(1, 200, 0.5))) == [1]


def test_a_score_that_is_not_finite_is_on_no_front() -> None:
    assert numbers(searched(trial(0, 100, float("nan")), trial(1, 200, 0.5))) == [1]


def test_the_front_agrees_with_the_definition_on_random_trials() -> None:
    rng = random.Random(3)
    record = searched(*(trial(n, rng.randint(1, 12), rng.randint(0, 12) / 12) for n in range(60)))
    points = {(cost_in(t, "parameters"), t.outcome.score) for t in record.search if t.outcome}
    best = {(c, s) for c, s in points if not any((d <= c and r >= s) and (d, r) != (c, s) for d, r in points)}
    assert {(cost_in(t, "parameters"), t.outcome.score) for t in front_of(record, "parameters") if t.outcome} == best


def test_the_document_names_the_front_of_each_cost() -> None:
    record = searched(trial(0, 100, 0.5, macs=900), trial(1, 200, 0.6, macs=300))
    found = fronts_document(record)
    assert [t["number"] for t in found["parameters"]] == [0, 1]
    assert [t["number"] for t in found["macs"]] == [1]
    assert found["macs"][0]["parameters"] == 200
    assert found["macs"][0]["decisions"] == dict(record.search[1].decisions)


def test_the_page_marks_the_front_and_its_caption_counts_it() -> None:
    record = searched(trial(0, 12_000, 0.5), trial(1, 24_000, 0.75), trial(2, 30_000, 0.6))
    page = Page(render(record, effects=None))
    assert "2 of 3 finished trials are on the front (trials 0 and 1): from 50.0% at 12k to 75.0% at 24k, 2 times" in page.sections["front"]
    diamonds = [attrs for tag, attrs in page.tags if tag == "path" and "m diamond c1" in (attrs.get("class") or "") and "data-tip" in attrs]
    assert sorted((attrs["data-tip"] or "").split(" ")[1] for attrs in diamonds) == ["0", "1"]
    assert all("parameters" in (attrs["data-tip"] or "") and "shortcut" in (attrs["data-tip"] or "") for attrs in diamonds)


def test_a_space_of_one_size_has_no_figure_of_cost() -> None:
    assert "front" not in Page(render(searched(trial(0, 100, 0.5), trial(1, 100, 0.6)), effects=None)).sections


@pytest.mark.parametrize("values", [(100, 101), (1000, 1010), (12_000, 30_000), (3.1e6, 3.9e6), (1, 3e9), (7, 7)])
def test_the_axis_of_costs_has_ticks_within_that_stand_where_they_say(values: tuple[float, float]) -> None:
    axis = cost_axis(values, count_text)
    assert 1 <= len(axis.ticks) <= 11
    for value, written in axis.ticks:
        assert axis.low <= value <= axis.high
        letter = written[-1]
        assert float(written.rstrip("kMG")) * {"k": 1e3, "M": 1e6, "G": 1e9}.get(letter, 1) == pytest.approx(value)
