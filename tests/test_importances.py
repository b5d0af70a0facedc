"""Importances of a search: what they rank first, how many trials they look at, and what the page says of them."""

import random
from collections.abc import Sequence
from dataclasses import replace

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from nas.report.tables import importance_table
from nas.study.ledger.ledger import Ledger
from nas.study.searching.importances import LEAST_TRIALS, MOST_TRIALS, exploratory_importances
from nas.values.records import Importance, StudyRecord, TrainingRecord


@pytest.fixture
def empty_record() -> StudyRecord:
    return StudyRecord("small", "12345678", "small.yaml", "", "val_accuracy", "maximize", (), (), 0, None, {}, {})


def with_trials(record: StudyRecord, found: tuple[Importance, ...], used: int, trials: int) -> StudyRecord:
    search = tuple(TrainingRecord(number, "search", "complete", ()) for number in range(trials))
    return replace(record, search=search, importances=found, importance_trials=used)


def searched(scores: Sequence[float | None]) -> Ledger:
    """Return a search whose scores are given; for None a score that the decision `shortcut` makes, with a little noise."""
    ledger = Ledger.create(optuna.storages.InMemoryStorage(), "search", direction="maximize", about={"phase": "search"})
    draw = random.Random(0)
    kinds: dict[str, BaseDistribution] = {"shortcut": CategoricalDistribution(["none", "identity"]), "lr": FloatDistribution(0, 1)}
    for score in scores:
        made = {"shortcut": draw.choice(["none", "identity"]), "lr": draw.random()}
        value = (made["shortcut"] == "identity") + 0.05 * draw.random() if score is None else score
        ledger.study.add_trial(optuna.create_trial(params=made, distributions=kinds, value=value))
    return ledger


def test_the_decision_that_makes_the_score_comes_first_in_both() -> None:
    found, used = exploratory_importances(searched([None] * 60))
    assert used == 60
    assert found[0].path == "shortcut"
    assert min(found[0].fanova, found[0].ped_anova) > 0.5
    assert sum(importance.fanova for importance in found) == pytest.approx(1)


def test_of_many_trials_an_even_spread_is_used_and_the_page_says_so(empty_record: StudyRecord) -> None:
    found, used = exploratory_importances(searched([None] * (2 * MOST_TRIALS)))
    assert used == MOST_TRIALS
    record = with_trials(empty_record, found, used, 2 * MOST_TRIALS)
    table = importance_table(record, {})
    assert table is not None
    assert f"{MOST_TRIALS:,} of {2 * MOST_TRIALS:,} trials" in table.caption
    assert "Neither share is an effect" in table.caption


@pytest.mark.parametrize("scores", [[None] * (LEAST_TRIALS - 1), [0.5] * 30], ids=["few trials", "equal scores"])
def test_where_there_is_nothing_to_share_out_nothing_is_said(scores: list[float | None], empty_record: StudyRecord) -> None:
    assert exploratory_importances(searched(scores)) == ((), 0)
    assert importance_table(empty_record, {}) is None
