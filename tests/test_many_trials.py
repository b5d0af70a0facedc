"""Searches of thousands of trials: what a trial costs does not grow with those before it, and nothing is lost for that."""

import math
import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.storages._rdb.models import TrialModel
from optuna.trial import FrozenTrial, TrialState

from nas.registry import Registry
from nas.sampling import first_choice, sample
from nas.space import Space, parse_space
from nas.study.ledger import reading
from nas.study.ledger.known import studies_in
from nas.study.ledger.ledger import LEAST_WAITING, Ledger
from nas.study.ledger.reading import read_trials
from nas.study.ledger.results import Results
from nas.study.ledger.slots import Slot
from nas.study.ledger.storage import open_storage
from nas.study.ledger.trials import suggest
from nas.study.study import Study
from nas.values.architecture import Configuration
from nas.values.metrics import Direction
from nas.values.outcome import Outcome
from nas.values.records import MAX_ATTEMPTS, MOST_RANKED, TrainingRecord, ranked

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
from ledgers import differences, fill, finished_trials, outcome_of, space_text

SLOTS = [Slot(f"t{i}", i, {}) for i in range(40)]
DRAWN = {"architecture.staged.depth": 3, "architecture.staged.shortcut": "identity"}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.create(open_storage(f"sqlite:///{tmp_path / 'optuna.db'}"), "study", direction="maximize", about={"phase": "search"})


def elsewhere(ledger: Ledger) -> Ledger:
    """The same queue as another process has it."""
    return Ledger(open_storage(str(ledger.storage._backend.url)), ledger.name)  # type: ignore[attr-defined]


def configured(space: Space) -> Configuration:
    return sample(space, first_choice).configuration


def finish_one(ledger: Ledger, space: Space, outcome: Outcome | None = None) -> int:
    trial = ledger.claim()
    assert trial is not None
    ledger.finish(trial, configured(space), outcome or outcome_of(DRAWN))
    return trial.number


def test_a_search_queues_no_more_than_its_workers_soon_need(ledger: Ledger) -> None:
    assert ledger.ensure(SLOTS, workers=2) == LEAST_WAITING
    assert ledger.about["more"]
    assert ledger.ensure(SLOTS, workers=10) == 20 - LEAST_WAITING
    claimed = [elsewhere(ledger).claim() for _ in range(20)]
    assert all(claimed)
    assert ledger.ensure(SLOTS, workers=2) == 20  # twenty are at work, whoever started them
    assert not ledger.about["more"]
    assert ledger.ensure(SLOTS, workers=2) == 0


def test_what_another_process_finishes_is_known_and_queued_no_more(ledger: Ledger, small: Space) -> None:
    other = elsewhere(ledger)
    ledger.ensure(SLOTS[:3])
    assert ledger.count_open() == 3
    numbers = {finish_one(other, small) for _ in range(2)}
    assert (ledger.count_open(), ledger.count_told(), ledger.finished.told) == (1, 2, numbers)
    assert ledger.ensure(SLOTS[:3]) == 0
    assert [t.state for t in ledger.records()] == ["complete", "complete", "waiting"]
    assert [t.number for t in ledger.study.get_trials(deepcopy=False)] == [0, 1, 2]


def test_the_best_trial_is_the_first_of_equals_in_whatever_order_they_finish(ledger: Ledger, small: Space) -> None:
    other, tie = elsewhere(ledger), replace(outcome_of(DRAWN), score=0.9)
    ledger.ensure(SLOTS[:3])
    late = ledger.claim()
    assert late is not None
    finish_one(other, small, tie)
    assert ledger.best_number() == 1
    ledger.finish(late, configured(small), tie)
    assert ledger.best_number() == 0
    finish_one(other, small, replace(tie, score=0.95))
    assert ledger.best_number() == 2


def test_a_slot_that_breaks_elsewhere_is_given_up_here(ledger: Ledger) -> None:
    for _ in range(MAX_ATTEMPTS):
        assert ledger.ensure(SLOTS[:1]) == 1
        other = elsewhere(ledger)
        trial = other.claim()
        assert trial is not None
        other.fail(trial, "broken", "boom")
    assert (ledger.ensure(SLOTS[:1]), ledger.count_given_up()) == (0, 1)


def test_patience_reads_the_database_once(ledger: Ledger, small: Space) -> None:
    other, memory = elsewhere(ledger), ledger._memory
    ledger.ensure(SLOTS[:2])
    ledger.count_open()
    with memory.patient(60):
        finish_one(other, small)
        assert ledger.count_told() == 0
    assert ledger.count_told() == 1


def test_a_record_that_has_ended_stays_the_same_object(small: Space, tmp_path: Path) -> None:
    study = Study.open(small, f"sqlite:///{tmp_path / 'optuna.db'}")
    study.search.ensure(study.search_slots(ahead=0))
    trial = study.search.claim()
    assert trial is not None
    event = {"ledger": study.search.name, "trial": trial._trial_id, "number": 0}
    assert study.note(event).state == "running"  # type: ignore[union-attr]
    study.search.finish(trial, configured(small), outcome_of(DRAWN))
    told = study.note(event)
    assert told is not None
    study.catch_up()
    assert study.record().search[0] is study.note(event) is told
    assert told.state == "complete"


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_best_are_known_as_if_all_were_ranked_anew(direction: Direction) -> None:
    rng, results = random.Random(0), Results()
    for number in rng.sample(range(60), 60):
        state = rng.choice(["complete", "complete", "failed", "pruned"])
        outcome = replace(outcome_of(DRAWN), score=rng.choice([math.nan, 0.1, 0.2, 0.3]))
        results.note("s", TrainingRecord(number, "search", "running", ()))
        results.note("s", TrainingRecord(number, "search", state, (), outcome=outcome))
        found = results.of("s")
        assert found.ranked[direction] == ranked(tuple(found), direction, MOST_RANKED)
    assert len(found.ranked[direction]) == MOST_RANKED


def test_a_filled_ledger_is_read_as_a_trained_one(tmp_path: Path, registry: Registry, small: Space) -> None:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    space = parse_space(space_text(trials=60), "benchmark.yaml", registry)
    fill(Study.open(space, url).search, finished_trials(space, 50))
    study = Study.open(space, url)
    record = study.record()
    assert [t.number for t in record.search] == list(range(50))
    assert {t.state for t in record.search} == {"complete"}
    assert studies_in(url)[0]["search"] == 50
    assert study.search.ensure(study.search_slots(ahead=0)) == 10
    trial = study.search.claim()
    assert trial is not None
    sampled = sample(space, lambda decision: suggest(trial, decision))
    outcome = outcome_of(trial.params)
    for epoch, value in enumerate(outcome.curves["val_accuracy"]):
        study.search.report(trial, epoch, value)
    study.search.finish(trial, sampled.configuration, outcome)
    real, filled = study.search.storage.get_trial(trial._trial_id), study.search.storage.get_trial(1)
    assert real.state == filled.state == TrialState.COMPLETE
    assert list(differences(real, filled)) == []


@pytest.mark.parametrize("few", [0, reading.FEW])
def test_all_trials_are_read_as_optuna_reads_them(few: int, ledger: Ledger, small: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "FEW", few)
    ledger.ensure(SLOTS[:5])
    finish_one(ledger, small)
    finish_one(ledger, small, replace(outcome_of(DRAWN), status="pruned"))
    failing, running = ledger.claim(), ledger.claim()
    assert failing is not None
    assert running is not None
    ledger.report(running, 0, 0.25)
    ledger.report(running, 1, math.nan)
    ledger.report(running, 2, math.inf)
    for decision in small.decisions.values():
        suggest(running, decision)
    ledger.fail(failing, "broken", "boom")
    backend, study_id = ledger.storage._backend, ledger.study._study_id  # type: ignore[attr-defined]
    ours, theirs = read_trials(backend.engine, TrialModel.study_id == study_id), backend._get_trials(study_id, None, set(), -1)
    assert {trial.state for trial in ours} == set(TrialState)
    assert [_plain(trial) for trial in ours] == [_plain(trial) for trial in theirs]
    assert [_plain(trial) for trial in elsewhere(ledger).study.get_trials(deepcopy=False)] == [_plain(trial) for trial in theirs]


def _plain(trial: FrozenTrial) -> str:
    """Everything in a trial, its attributes in one order; NaN equals itself in words."""
    unordered = {f"_{name}": sorted(getattr(trial, name).items()) for name in ("user_attrs", "system_attrs", "intermediate_values")}
    return repr({**vars(trial), **unordered, "intermediate_values": None})
