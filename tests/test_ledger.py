"""The ledger: a queue that loses nothing and trains nothing twice."""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from nas.errors import StudyError, UserError
from nas.sampling import first_choice, sample
from nas.space import Space
from nas.study.driving import drive
from nas.study.ledger import outages
from nas.study.ledger.alive import is_running, start_of
from nas.study.ledger.healing import heal, settle_lost
from nas.study.ledger.known import studies_in
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.slots import Slot
from nas.study.ledger.storage import open_storage
from nas.study.ledger.trials import KILLED, suggest
from nas.study.study import Study
from nas.values.outcome import Cost, Outcome
from nas.values.plans import Cell
from nas.values.records import MAX_ATTEMPTS


def outcome(score: float = 0.5, status: str = "complete") -> Outcome:
    return Outcome(status, score, {"val_accuracy": score}, {"val_accuracy": (0.1, score)}, Cost(10, 20, 8), 2, 0.1, "cpu")  # type: ignore[arg-type]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    storage = open_storage(f"sqlite:///{tmp_path / 'optuna.db'}")
    return Ledger.create(storage, "study", direction="maximize", about={"phase": "search"})


def slots(count: int) -> list[Slot]:
    return [Slot(f"t{i}", seed=i, fixed={}) for i in range(count)]


def gone() -> int:
    """A process id that is certainly not running any more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def pretend_worker_died(ledger: Ledger, trial: optuna.trial.Trial) -> None:
    host = trial.user_attrs["worker"][0]
    trial.set_user_attr("worker", [host, gone()])


def test_a_slot_is_queued_once(ledger: Ledger) -> None:
    assert ledger.ensure(slots(3)) == 3
    assert ledger.ensure(slots(3)) == 0
    assert ledger.ensure(slots(5)) == 2


def test_two_workers_never_claim_the_same_trial(ledger: Ledger) -> None:
    ledger.ensure(slots(4))
    other = Ledger(open_storage(str(ledger.storage._backend.url)), "study")  # type: ignore[attr-defined]
    claimed = [worker.claim() for worker in (ledger, other) * 2]
    assert len({trial.number for trial in claimed if trial}) == 4
    assert ledger.claim() is None
    assert other.claim() is None


@pytest.mark.parametrize("phase", ["search", "measure"])
def test_a_dead_workers_trial_is_run_again_with_its_decisions(phase: str, tmp_path: Path, small: Space) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'optuna.db'}")
    ledger = Ledger.create(storage, "study", direction="maximize", about={"phase": phase})
    ledger.ensure(slots(2))
    trial = ledger.claim()
    assert trial is not None
    before = sample(small, lambda decision: suggest(trial, decision))
    pretend_worker_died(ledger, trial)
    assert heal(ledger) == 1
    # A search's waits itself, before the others; what is measured is queued anew, behind them.
    assert ledger.ensure(slots(2)) == (phase == "measure")
    of_slot = [again for again in (ledger.claim(), ledger.claim()) if again and again.user_attrs["slot"] == "t0"]
    (again,) = of_slot
    assert again.number == (2 if phase == "measure" else trial.number)
    assert sample(small, lambda decision: suggest(again, decision)) == before
    assert again.user_attrs["seed"] == trial.user_attrs["seed"]
    assert ledger.claim() is None


def test_what_a_starters_own_worker_was_training_is_left_to_the_starter_who_counts_how_it_ended(ledger: Ledger) -> None:
    ledger.ensure(slots(1))
    trial = ledger.claim()
    assert trial is not None
    pretend_worker_died(ledger, trial)
    (running,) = ledger.study.get_trials(states=(TrialState.RUNNING,))
    host, pid = running.user_attrs["worker"]
    assert heal(ledger, own={(host, pid), None}) == 0
    assert settle_lost(ledger, (host, pid), "it was killed", by_no_fault=True) == ["t0"]
    (waiting,) = ledger.study.get_trials(states=(TrialState.WAITING,))
    assert waiting.user_attrs[KILLED] == 1


def test_a_dead_workers_trial_does_not_wait_beside_the_one_that_its_slot_was_queued_with_anew(ledger: Ledger) -> None:
    ledger.ensure(slots(1))
    trial = ledger.claim()
    assert trial is not None
    ledger.requeue(trial)  # and its worker dies before it closes the trial
    pretend_worker_died(ledger, trial)
    assert heal(ledger) == 1
    assert [record.state for record in ledger.records()] == ["interrupted", "waiting"]


def test_a_search_trial_whose_worker_is_killed_each_time_is_given_up(ledger: Ledger) -> None:
    ledger.ensure(slots(1))
    for killed in range(1, MAX_ATTEMPTS + 1):
        trial = ledger.claim()
        assert trial is not None
        worker = trial.user_attrs["worker"]
        assert settle_lost(ledger, (worker[0], worker[1]), "it was killed", by_no_fault=True) == ["t0"]
        assert ledger.ensure(slots(1)) == 0
        assert ledger.count_given_up() == (killed == MAX_ATTEMPTS)
    (record,) = ledger.records()
    assert (record.state, record.error) == ("broken", "it was killed")


def test_a_worker_that_was_given_up_for_dead_and_is_alive_disturbs_nobody(ledger: Ledger, small: Space) -> None:
    ledger.ensure(slots(1))
    suspended = ledger.claim()
    assert suspended is not None
    decided = sample(small, lambda decision: suggest(suspended, decision))
    assert ledger.release(suspended._trial_id, {})
    ledger.beat(suspended)
    again = Ledger(open_storage(str(ledger.storage._backend.url)), "study").claim()  # type: ignore[attr-defined]
    assert again is not None
    ledger.finish(suspended, decided.configuration, outcome(0.75))
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        ledger.finish(again, decided.configuration, outcome(0.75))
    assert [record.state for record in ledger.records()] == ["complete"]


@pytest.mark.parametrize("end", ["finish", "fail"])
def test_a_worker_that_was_only_silent_tells_its_trial_while_that_waits_again(end: str, ledger: Ledger, small: Space) -> None:
    ledger.ensure(slots(1))
    suspended = ledger.claim()
    assert suspended is not None
    decided = sample(small, lambda decision: suggest(suspended, decision))
    assert ledger.release(suspended._trial_id, {})
    if end == "finish":
        ledger.finish(suspended, decided.configuration, outcome(0.75))
    else:
        ledger.fail(suspended, "broken", "it broke")
    assert [record.state for record in ledger.records()] == ["complete" if end == "finish" else "broken"]
    assert ledger.claim() is None


def test_who_heals_late_takes_a_trial_from_nobody_that_has_claimed_it_since(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger.ensure(slots(1))
    trial = ledger.claim()
    assert trial is not None
    pretend_worker_died(ledger, trial)
    seen = ledger.study.get_trials(states=(TrialState.RUNNING,))
    assert heal(ledger) == 1
    late = Ledger(open_storage(str(ledger.storage._backend.url)), "study")  # type: ignore[attr-defined]
    monkeypatch.setattr(late.study, "get_trials", lambda **_: seen)
    heal(late)  # while it waits
    assert [record.state for record in ledger.records()] == ["waiting"]
    again = ledger.claim()
    assert again is not None
    heal(late)  # while another trains it
    (record,) = ledger.records()
    assert (record.state, record.worker) == ("running", f"{socket.gethostname()}:{os.getpid()}")


def test_an_outcome_that_its_worker_tells_just_before_it_is_told_for_it_is_told_once(ledger: Ledger) -> None:
    ledger.ensure(slots(1))
    trial = ledger.claim()
    assert trial is not None
    trial.set_user_attr("outcome", outcome(0.7).to_dict())
    pretend_worker_died(ledger, trial)
    seen = ledger.study.get_trials(states=(TrialState.RUNNING,))
    ledger.tell(trial, outcome(0.7))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ledger.study, "get_trials", lambda **_: seen)
        heal(ledger)
    assert [record.state for record in ledger.records()] == ["complete"]


def test_a_pruner_judges_a_trial_that_is_run_again_by_its_own_steps(tmp_path: Path) -> None:
    storage = open_storage(f"sqlite:///{tmp_path / 'optuna.db'}")
    Ledger.create(storage, "study", direction="maximize", about={"phase": "search"})
    ledger = Ledger(storage, "study", pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
    ledger.ensure(slots(2))
    first, killed = ledger.claim(), ledger.claim()
    assert first is not None
    assert killed is not None
    for step, value in enumerate((0.5, 0.6, 0.9), start=1):
        ledger.report(first, step, value)
    ledger.tell(first, outcome())
    for step, value in enumerate((0.6, 0.7), start=1):
        assert not ledger.report(killed, step, value)
    killed.report(0.5, 3)  # and its worker dies before it asks whether that is poor
    pretend_worker_died(ledger, killed)
    heal(ledger)
    again = ledger.claim()
    assert again is not None
    assert [bool(ledger.report(again, step, value)) for step, value in enumerate((0.6, 0.7, 0.5), start=1)] == [False, False, True]


def test_a_slot_that_was_queued_anew_before_its_trial_broke_is_not_queued_twice(ledger: Ledger) -> None:
    ledger.ensure(slots(1))
    trial = ledger.claim()
    assert trial is not None
    ledger.requeue(trial)  # the database did so, and its answer was lost
    ledger.retry(trial)
    ledger.fail(trial, "broken", "the database was lost")
    assert [record.state for record in ledger.records()] == ["broken", "waiting"]


def test_nobody_is_given_up_by_a_process_that_has_just_stood_still_itself(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger._memory, "silent", lambda _: {1})
    assert ledger.silent() == {1}
    now = time.time()
    monkeypatch.setattr(outages.time, "time", lambda: now + 3600)
    assert ledger.silent() == set()
    monkeypatch.setattr(outages.time, "time", lambda: now + 3610)
    assert ledger.silent() == set()
    monkeypatch.setattr(outages.time, "time", lambda: now + 3625)
    assert ledger.silent() == {1}


def test_a_living_workers_trial_is_left_alone(ledger: Ledger) -> None:
    ledger.ensure(slots(1))
    trial = ledger.claim()
    assert trial is not None
    assert trial.user_attrs["worker"][1] == os.getpid()
    assert heal(ledger) == 0
    assert ledger.ensure(slots(1)) == 0


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is there until it is killed, and is not waited for."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="nothing here says that a process is a zombie, or when it started")
def test_a_killed_process_that_nobody_waited_for_is_gone(sleeper: subprocess.Popen[bytes]) -> None:
    assert is_running(sleeper.pid)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(sleeper.pid)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="nothing here says when a process started")
def test_a_study_waits_for_the_process_that_runs_it_and_not_for_a_later_one_of_its_number(
    sleeper: subprocess.Popen[bytes], tmp_path: Path, small: Space
) -> None:
    study = Study.open(small, f"sqlite:///{tmp_path / 'optuna.db'}")
    study.search.note(driver=[socket.gethostname(), sleeper.pid, start_of(sleeper.pid)])
    with pytest.raises(UserError, match=f"is being run by process {sleeper.pid}; wait for it or end it first"):
        next(drive(study))
    study.search.note(driver=[socket.gethostname(), sleeper.pid, "1"])
    run = drive(study)
    next(run)
    assert study.search.about["driver"][1] == os.getpid()
    run.close()
    assert study.search.about["driver"] is None


def test_an_outcome_that_was_recorded_but_not_told_is_told(ledger: Ledger, small: Space) -> None:
    ledger.ensure(slots(1))
    trial = ledger.claim()
    assert trial is not None
    decided = sample(small, lambda decision: suggest(trial, decision))
    trial.set_user_attr("configuration", decided.configuration.to_dict())
    trial.set_user_attr("outcome", outcome(0.75).to_dict())
    pretend_worker_died(ledger, trial)
    heal(ledger)
    assert ledger.ensure(slots(1)) == 0
    (record,) = ledger.records()
    assert (record.state, record.outcome) == ("complete", outcome(0.75))


def test_what_was_written_through_needs_no_log(ledger: Ledger, tmp_path: Path) -> None:
    ledger.ensure(slots(3))
    ledger.write_through()
    alone = tmp_path / "after the power came back"
    alone.mkdir()
    shutil.copy(tmp_path / "optuna.db", alone)  # without the log of what is not yet in it
    assert Ledger(open_storage(f"sqlite:///{alone / 'optuna.db'}"), "study").count_open() == 3


def test_a_study_whose_measurement_is_just_being_created_is_listed(tmp_path: Path, small: Space) -> None:
    study = Study.open(small, f"sqlite:///{tmp_path / 'optuna.db'}")
    optuna.create_study(study_name=f"{study.search.name}/measure-0123", storage=study.storage)
    (listed,) = studies_in(study.storage_url)
    assert listed["space_text"] == small.text


def test_what_another_machines_worker_told_is_taken_up(tmp_path: Path, small: Space) -> None:
    study = Study.open(small, f"sqlite:///{tmp_path / 'optuna.db'}")
    study.search.ensure(study.search_slots(ahead=0)[:2])
    elsewhere = Ledger(open_storage(study.storage_url), study.search.name)
    trial = elsewhere.claim()
    assert trial is not None
    elsewhere.finish(trial, sample(small, lambda decision: suggest(trial, decision)).configuration, outcome(0.75))
    assert not study.record().search
    study.catch_up()
    (record,) = study.record().search
    assert (record.state, record.outcome) == ("complete", outcome(0.75))
    assert not study.search.newly_finished()


def test_a_slot_that_keeps_breaking_is_given_up(ledger: Ledger) -> None:
    for _ in range(MAX_ATTEMPTS):
        assert ledger.ensure(slots(1)) == 1
        trial = ledger.claim()
        assert trial is not None
        ledger.fail(trial, "broken", "no such luck")
    assert ledger.ensure(slots(1)) == 0
    assert [record.state for record in ledger.records()] == ["broken"] * MAX_ATTEMPTS
    assert ledger.records()[0].error == "no such luck"


def test_a_failed_training_is_told_at_its_failure_score(ledger: Ledger, small: Space) -> None:
    ledger.ensure(slots(1))
    trial = ledger.claim()
    assert trial is not None
    decided = sample(small, first_choice)
    ledger.finish(trial, decided.configuration, outcome(0.1, "failed"))
    (frozen,) = ledger.study.trials
    assert (frozen.state, frozen.value) == (TrialState.COMPLETE, 0.1)
    assert ledger.records()[0].state == "failed"


def test_a_record_gives_back_configuration_outcome_and_cell(ledger: Ledger, small: Space) -> None:
    cell = Cell(3, "identity", (("architecture.staged.depth", 9),))
    ledger.ensure([Slot("r3|identity|9", 11, {}, cell)])
    trial = ledger.claim()
    assert trial is not None
    decided = sample(small, lambda decision: suggest(trial, decision))
    ledger.finish(trial, decided.configuration, outcome())
    (record,) = ledger.records()
    assert record.configuration == decided.configuration
    assert record.decisions == decided.decisions
    assert (record.cell, record.seed, record.outcome) == (cell, 11, outcome())


def test_studies_of_other_programs_in_the_same_database_are_passed_over(tmp_path: Path, small: Space) -> None:
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    for name in ("theirs", "the/irs"):
        optuna.create_study(storage=url, study_name=name)
    study = Study.open(small, url)
    assert [about["title"] for about in studies_in(url)] == [study.search.name]


def test_an_unreachable_ledger_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "optuna.db").write_text("this is no database, however long it is made to look like one " * 20)
    with pytest.raises(StudyError, match="cannot open the ledger sqlite"):
        open_storage(f"sqlite:///{tmp_path / 'optuna.db'}")


def test_workers_that_claim_at_the_same_moment_never_share_a_trial(ledger: Ledger) -> None:
    ledger.ensure(slots(60))
    url = str(ledger.storage._backend.url)  # type: ignore[attr-defined]
    claimed: list[int] = []

    def work() -> None:
        own = Ledger(open_storage(url), "study")
        while (trial := own.claim()) is not None:
            claimed.append(trial.number)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == list(range(60))


def test_trials_that_are_queued_at_the_same_moment_get_numbers_of_their_own(ledger: Ledger) -> None:
    url = str(ledger.storage._backend.url)  # type: ignore[attr-defined]

    def work(start: int) -> None:
        own = Ledger(open_storage(url), "study")
        for slot in slots(60)[start : start + 10]:
            own.queue(slot, {})

    threads = [threading.Thread(target=work, args=(start,)) for start in range(0, 60, 10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(record.number for record in ledger.records()) == list(range(60))
