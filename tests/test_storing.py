"""What the ledger writes with few statements is what Optuna writes with its objects, and is refused where Optuna refuses it."""

import math
from collections.abc import Callable, Iterator

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from servers import postgresql

from nas.study.ledger.memory import Memory
from nas.study.ledger.storage import heartbeat_is_meant, open_storage

DECIDED: dict[str, tuple[float, BaseDistribution]] = {
    "a": (2, IntDistribution(1, 9)),
    "b": (0.1 + 0.2, FloatDistribution(0.01, 1.0, log=True)),
    "c": (1, CategoricalDistribution(["x", None])),
}
VALUES = (0.1 + 0.2, math.inf, -math.inf, math.nan, 1e-300)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Makes the address of an empty database, by its name."""
    if request.param == "sqlite":
        folder = tmp_path_factory.mktemp("storing")
        yield lambda name: f"sqlite:///{folder / name}.db"
        return
    with postgresql() as server:
        yield lambda name: server


def write(storage: BaseStorage, study: str) -> int:
    """Write all kinds of trials into a new study of two objectives."""
    study_id = storage.create_new_study([StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE], study)
    waiting = optuna.trial.create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": {"a": 2}}, user_attrs={"slot": "t0"})
    for i, end in enumerate((TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING)):
        trial_id = storage.create_new_trial(study_id, waiting)
        assert take(storage, trial_id)
        assert not take(storage, trial_id)
        for name, (stored, distribution) in DECIDED.items():
            storage.set_trial_param(trial_id, name, stored, distribution)
        for step, value in enumerate(VALUES):
            storage.set_trial_intermediate_value(trial_id, step, value)
        storage.set_trial_intermediate_value(trial_id, 3, 0.5)  # over what was there
        storage.set_trial_user_attr(trial_id, "outcome", {"curves": [0.1 * i, None], "words": "naïve"})
        storage.set_trial_user_attr(trial_id, "outcome", {"curves": [0.3 * i, None], "words": "naïve ✓"})
        if end.is_finished():
            assert storage.set_trial_state_values(trial_id, end, [0.1 * i, math.inf] if end == TrialState.COMPLETE else None)
    storage.create_new_trial(study_id, waiting)
    return study_id


def take(storage: BaseStorage, trial_id: int) -> bool:
    """Claim a trial for a worker, each storage in its way."""
    if isinstance(storage, Memory):
        return storage.claim(trial_id, ["here", 7])
    taken = storage.set_trial_state_values(trial_id, TrialState.RUNNING)
    if taken:
        storage.set_trial_user_attr(trial_id, "worker", ["here", 7])
        assert isinstance(storage, RDBStorage)
        storage.record_heartbeat(trial_id)
    return taken


def plain(trial: FrozenTrial) -> str:
    """All of a trial but its times and ids, in one order; NaN equals itself in words."""
    apart = {"datetime_start": bool(trial.datetime_start), "datetime_complete": bool(trial.datetime_complete), "trial_id": 0}
    parts = {key.lstrip("_"): value for key, value in vars(trial).items()}
    return repr({k: sorted(v.items()) if k.endswith("attrs") or k == "intermediate_values" else v for k, v in {**parts, **apart}.items()})


@pytest.fixture(scope="module")
def pair(address: Callable[[str], str]) -> tuple[Memory, RDBStorage, int, int]:
    """The ledger's storage and Optuna's own, each with the same trials, and the ids of their studies."""
    with heartbeat_is_meant():
        ours = open_storage(address("ours"))
        theirs = RDBStorage(str(open_storage(address("theirs"))._backend.url))
        return ours, theirs, write(ours, "ours"), write(theirs, "theirs")


def test_what_is_written_is_what_optuna_writes(pair: tuple[Memory, RDBStorage, int, int]) -> None:
    ours, theirs, our_id, their_id = pair
    reader = ours._backend
    written = [plain(trial) for trial in reader.get_all_trials(our_id)]
    assert written == [plain(trial) for trial in theirs.get_all_trials(their_id)]
    assert written == [plain(trial) for trial in ours.get_all_trials(our_id)]
    assert written == [plain(ours.get_trial(trial._trial_id)) for trial in reader.get_all_trials(our_id)]
    assert len(set(written)) == 5


def test_a_claim_is_a_sign_of_life(pair: tuple[Memory, RDBStorage, int, int]) -> None:
    ours, _, study_id, _ = pair
    (running,) = ours.get_all_trials(study_id, states=(TrialState.RUNNING,))
    assert ours._get_stale_trial_ids(study_id) == []
    ours.record_heartbeat(running._trial_id)
    assert ours._get_stale_trial_ids(study_id) == []


def test_a_finished_trial_takes_nothing_more(pair: tuple[Memory, RDBStorage, int, int]) -> None:
    ours, _, study_id, _ = pair
    before = [plain(trial) for trial in ours._backend.get_all_trials(study_id)]
    finished = next(t._trial_id for t in ours.get_all_trials(study_id) if t.state == TrialState.COMPLETE)
    for write_on in (
        lambda: ours.set_trial_user_attr(finished, "end", "broken"),
        lambda: ours.set_trial_intermediate_value(finished, 9, 0.5),
        lambda: ours.set_trial_param(finished, "a", 1.0, DECIDED["a"][1]),
        lambda: ours.set_trial_state_values(finished, TrialState.FAIL),
    ):
        with pytest.raises(UpdateFinishedTrialError):
            write_on()
    assert not ours.claim(finished, ["there", 8])
    assert [plain(trial) for trial in ours._backend.get_all_trials(study_id)] == before


def test_a_trial_that_is_not_there_is_said_so(pair: tuple[Memory, RDBStorage, int, int]) -> None:
    ours = pair[0]
    for ask in (lambda: ours.get_trial(10**6), lambda: ours.set_trial_user_attr(10**6, "a", 1)):
        with pytest.raises(KeyError):
            ask()
    assert not ours.claim(10**6, ["here", 7])


def test_a_decision_from_other_choices_than_before_is_refused(pair: tuple[Memory, RDBStorage, int, int]) -> None:
    ours, _, study_id, _ = pair
    (running,) = ours.get_all_trials(study_id, states=(TrialState.RUNNING,))
    with pytest.raises(ValueError, match="does not support dynamic value space"):
        ours.set_trial_param(running._trial_id, "c", 1, CategoricalDistribution(["x", "y"]))
