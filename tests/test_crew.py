"""Which GPU a worker is given, how many share one, with how much of its memory. Workers at work: test_search.py, test_ledger.py."""

import queue
import signal
import sys
import weakref
from pathlib import Path

import pytest
import torch
from optuna.trial import TrialState

from nas.building import build
from nas.cli.check import sentences
from nas.errors import SpaceError, StudyError
from nas.faults import gpu_is_lost
from nas.registry import Registry
from nas.sampling import first_choice, sample
from nas.space import Space, parse_space
from nas.study.crew import room
from nas.study.crew.crew import Crew, Task, ThisMachine, devices_for, num_cores, sharing_of
from nas.study.crew.processes import LOST, End
from nas.study.environment import environment
from nas.study.interrupting import CtrlC
from nas.study.jobs.materials import context_of
from nas.study.jobs.memory import counting
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.trials import KILLED
from nas.study.preview import preview
from nas.study.run import Run
from nas.study.study import Study
from nas.study.worker import __main__ as worker_process
from nas.study.worker import worker as training


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("four_gpus")
def test_workers_share_the_gpus_in_turn() -> None:
    assert [devices_for(place, 6)["CUDA_VISIBLE_DEVICES"] for place in range(6)] == ["0", "1", "2", "3", "0", "1"]


@pytest.mark.usefixtures("four_gpus")
def test_a_single_worker_keeps_all_gpus_for_a_training_that_is_shared_between_them() -> None:
    assert devices_for(0, 1) == {}


@pytest.mark.usefixtures("four_gpus")
def test_workers_get_no_gpu_that_this_process_may_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-8f6f")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [devices_for(place, 3)["CUDA_VISIBLE_DEVICES"] for place in range(3)] == ["2", "GPU-8f6f", "2"]


def test_where_there_is_one_gpu_or_none_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices_for(1, 2) == {}


@pytest.fixture
def lost_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is after a kernel read beyond its tensor: whatever this process asks of the GPU from then on raises."""

    def raise_it() -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", raise_it)


@pytest.mark.usefixtures("lost_gpu")
def test_a_worker_that_lost_its_gpu_breaks_no_more_trainings(small: Space, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.open(small, f"sqlite:///{tmp_path / 'optuna.db'}")
    study.search.ensure(study.search_slots(ahead=0)[:3])
    ran: list[object] = []
    monkeypatch.setattr(training, "_run", lambda _desk, trial, *_: ran.append(trial))
    with pytest.raises(training.LostGPUError, match="start the worker again"):
        training.work(study.storage_url, [study.search.name], emit=lambda _event: None)
    assert len(ran) == 1


def test_a_worker_that_lost_its_gpu_ends_without_an_error_so_that_another_takes_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose(*_: object) -> None:
        raise training.LostGPUError("lost")

    tasks: queue.Queue[Task] = queue.Queue()
    tasks.put(Task(()))
    monkeypatch.setattr(worker_process, "_told", lambda: [f"sqlite:///{tmp_path / 'optuna.db'}"])
    monkeypatch.setattr(worker_process, "_tasks_given", lambda: tasks)
    monkeypatch.setattr(worker_process, "work_on", lose)
    monkeypatch.setattr("sys.stdout", sys.stdout)  # it is exchanged there
    worker_process.main()
    assert capsys.readouterr().out == ""


def test_no_gpu_is_asked_for_where_none_was_used() -> None:
    assert not gpu_is_lost()


def test_what_a_study_ran_in_says_how_a_gpu_takes_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "tf32" not in environment()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert environment()["tf32"] == ["convolutions"]


def test_the_time_told_beforehand_is_said_to_be_a_cpus_where_a_gpu_will_train(small: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = preview(small, samples=2)
    assert "GPU" not in sentences(seen)[-1]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert sentences(seen)[-1].endswith("timed on the CPU; a GPU takes its own time.")


GIB = 2**30


@pytest.mark.parametrize(
    ("free", "need", "cores", "workers"),
    [(24 * GIB, 5 * GIB, 16, 4), (24 * GIB, 5 * GIB, 2, 2), (2 * GIB, 5 * GIB, 16, 1), (140 * GIB, GIB, 64, 8), (140 * GIB, GIB, 0, 1)],
    ids=["its memory", "its cores", "never fewer than one", "never more than eight", "more GPUs than cores"],
)
def test_so_many_workers_share_a_gpu_as_it_and_its_cores_have_room_for(free: int, need: int, cores: int, workers: int) -> None:
    assert room.workers_that_fit(free=free, need=need, cores=cores) == workers


def test_the_shares_of_a_gpus_memory_leave_room_for_each_workers_context() -> None:
    for workers in (2, 3, 8):
        share = room.memory_share(workers, 24 * GIB)
        assert workers * (share * 24 * GIB + room.CONTEXT_BYTES) == pytest.approx(24 * GIB)


def test_a_worker_is_told_how_many_share_its_gpu_and_nothing_where_it_has_one_for_itself() -> None:
    assert [sharing_of(workers, gpus) for workers, gpus in ((5, 2), (2, 2), (4, 0))] == [["--sharing", "3"], [], []]


def test_what_a_network_keeps_for_its_backward_pass_is_known_without_its_memory(small: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = sample(small, first_choice).configuration
    context = context_of(small, configuration)
    network = build(configuration.architecture, small.registry, context).train()
    with counting() as kept:
        network(torch.randn(128, *context.input_shape))  # the recipe's batch
    asked: list[int] = []
    monkeypatch.setattr(room, "bytes_needed", lambda *, parameters, kept, data: asked.append(kept) or 0)
    room._need(small, configuration, 0)
    assert asked == [sum(kept.values())]
    assert sum(kept.values()) > 128 * 4 * 4 * 8 * 8, "more than one activation of a batch: 4 channels of 8 x 8 floats"


def test_the_largest_network_that_is_seen_says_what_a_worker_needs(small: Space, registry: Registry, small_text: str) -> None:
    deeper = parse_space(small_text.replace("int: [1, 3]", "int: [1, 9]"), "small.yaml", registry)
    assert room.CONTEXT_BYTES < room.need_of(small) < room.need_of(deeper)


@pytest.mark.usefixtures("four_gpus")
def test_a_space_says_how_many_workers_share_a_gpu_and_stays_the_same_study(small: Space, small_text: str, registry: Registry) -> None:
    three = parse_space(small_text.replace("workers: 1", "workers_per_gpu: 3"), "small.yaml", registry)
    auto = parse_space(small_text.replace("workers: 1", "workers_per_gpu: auto"), "small.yaml", registry)
    assert room.workers_of(three) == ThisMachine().num_workers(lambda: room.workers_per_gpu(three)) == 12
    assert small.key == three.key == auto.key
    with pytest.raises(SpaceError, match=r"search.workers_per_gpu: must be int >= 1 or auto"):
        parse_space(small_text.replace("workers: 1", "workers_per_gpu: many"), "small.yaml", registry)


def test_auto_without_a_gpu_changes_nothing(small_text: str, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    auto = parse_space(small_text.replace("workers: 1", "workers_per_gpu: auto"), "small.yaml", registry)
    assert room.workers_per_gpu(auto) == 1
    assert room.workers_of(auto) == num_cores()


@pytest.fixture
def three_at_work(small: Space, tmp_path: Path) -> tuple[Run, Ledger, list[tuple[str, int]]]:
    """A run, its queue, and three workers that each train something of it."""
    study = Study.open(small, f"sqlite:///{tmp_path / 'optuna.db'}")
    study.search.ensure(study.search_slots(ahead=0)[:3])
    workers = [("somewhere", number) for number in (1, 2, 3)]
    for worker in workers:
        trial = study.search.claim()
        assert trial is not None
        trial.set_user_attr("worker", list(worker))
    with Crew(study.storage_url, capacity=3) as crew:  # it starts nobody: nothing is filled
        return Run(study, [study.search], crew, None), study.search, workers


def test_three_workers_that_are_killed_at_once_stop_no_run_and_each_training_is_queued_once(
    three_at_work: tuple[Run, Ledger, list[tuple[str, int]]],
) -> None:
    run, ledger, workers = three_at_work
    run._check([(worker, End(-signal.SIGKILL)) for worker in workers])
    assert ledger.ensure(run.study.search_slots(ahead=0)[:3]) == 0
    waiting = ledger.study.get_trials(states=(TrialState.WAITING,))
    assert sorted(trial.user_attrs["slot"] for trial in waiting) == ["t0", "t1", "t2"]


def test_three_workers_that_crash_in_compiled_code_stop_the_run(three_at_work: tuple[Run, Ledger, list[tuple[str, int]]]) -> None:
    run, _, workers = three_at_work
    with pytest.raises(StudyError, match=r"3 trainings in a row failed; .*\n.*crashed with SIGSEGV"):
        run._check([(worker, End(-signal.SIGSEGV)) for worker in workers])


def test_what_a_lost_machine_was_training_is_queued_again_without_counting_as_broken(
    three_at_work: tuple[Run, Ledger, list[tuple[str, int]]],
) -> None:
    run, ledger, workers = three_at_work
    run._check([(workers[1], End(LOST))])
    (waiting,) = ledger.study.get_trials(states=(TrialState.WAITING,))
    assert tuple(waiting.user_attrs["worker"]) == workers[1]
    assert KILLED not in waiting.user_attrs


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_that_falls_into_a_callback_is_raised_at_the_next_look() -> None:
    class Thing:
        pass

    with CtrlC() as ctrl_c:
        ctrl_c.look()
        thing = Thing()
        watching = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
        del thing  # Python drops what is raised in there
        assert watching() is None
        with pytest.raises(KeyboardInterrupt):
            ctrl_c.look()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
