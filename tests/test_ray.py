"""Workers on a real Ray cluster: several nodes on this machine, a ledger on a PostgreSQL server, a node killed during a run."""

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import holding
import optuna
import pytest
from conftest import clean_environment
from in_process import nas_here
from optuna.trial import FrozenTrial, TrialState
from servers import postgresql

from nas.errors import UserError
from nas.study.crew.crew import Crew
from nas.study.crew.engines import open_engine
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.storage import default_storage, open_storage

# Ray looks after its nodes every three seconds, and misses one for a quarter of a minute: a test has less time.
WATCHFUL = {"health_check_initial_delay_ms": 500, "health_check_period_ms": 500, "health_check_failure_threshold": 3}
MEMORY = 80 * 2**20


@pytest.fixture(autouse=True, scope="module")
def needs_ray() -> None:
    if importlib.util.find_spec("ray") is None:
        if os.environ.get("CI"):
            pytest.fail("ray is not installed")
        pytest.skip("ray is not installed: pip install 'nas-ablation[ray]'")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgresql() as address:
        yield address


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without room for workers, and two nodes with room for one each."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": MEMORY, "_system_config": WATCHFUL}
    on_terminate = signal.getsignal(signal.SIGTERM)
    started = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(2):
            started.add_node(num_cpus=1, object_store_memory=MEMORY)
        yield started
    finally:
        started.shutdown()
        signal.signal(signal.SIGTERM, on_terminate)  # Ray has set its own, for a head that runs alone


@pytest.fixture(scope="module")
def space_text(small_text: str) -> str:
    return small_text.replace("train:", "train:\n  schedule: holding").replace("replicates: 3", "replicates: 2")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, space_text: str) -> list[dict[str, Any]]:
    """What the measurement comes to without Ray, in this process."""
    folder = tmp_path_factory.mktemp("undisturbed")
    holding.prepare(folder)
    (folder / "small.yaml").write_text(space_text)
    return replicates(nas_here(folder, "measure", "small.yaml", "--json"))


def replicates(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)["replicates"]
    return sorted(rows, key=lambda row: (row["replicate"], row["level"], str(row["by"])))


def start(folder: Path, *arguments: str, address: str) -> subprocess.Popen[str]:
    environment = {**clean_environment(), "RAY_ADDRESS": address}
    command = [sys.executable, "-m", "nas", "measure", "small.yaml", "--engine", "ray", "--json", *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, err = process.communicate(timeout=150)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def held(url: str, worker: int) -> tuple[Ledger, FrozenTrial]:
    """Return the ledger of the measured trainings, and the one that a worker's process is at."""
    storage = open_storage(url)
    (ledger,) = [Ledger(storage, name) for name in optuna.get_all_study_names(storage) if "/" in name]
    running = ledger.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return ledger, next(trial for trial in running if trial.user_attrs["worker"][1] == worker)


def parent(pid: int) -> int:
    return int(subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout)


def told_slots(ledger: Ledger) -> list[str]:
    trials = ledger.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return sorted(trial.user_attrs["slot"] for trial in trials)


def test_a_training_whose_node_is_killed_is_run_again_once_and_the_numbers_are_those_of_an_undisturbed_run(
    cluster: Any, server: str, space_text: str, undisturbed: list[dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "small.yaml").write_text(space_text)
    holding.prepare(tmp_path)
    holding.hold_at(tmp_path, 3)
    process = start(tmp_path, "--workers", "2", "--storage", server, address=cluster.address)
    worker = holding.wait_until_held(tmp_path, process)
    ledger, trial = held(server, worker)
    node = parent(parent(worker))
    assert node in [node.all_processes["raylet"][0].process.pid for node in cluster.list_all_nodes()[1:]]
    for pid in (node, parent(worker), worker):
        os.kill(pid, signal.SIGKILL)
    done = finished(process)
    assert replicates(done) == undisturbed
    assert f"Ray lost the worker on {socket.gethostname()} (process {worker})" in done.stderr
    slots = told_slots(ledger)
    assert len(slots) == len(set(slots)) == 8
    of_slot = [t for t in ledger.study.get_trials(deepcopy=False) if t.user_attrs["slot"] == trial.user_attrs["slot"]]
    assert [(t.state, t.user_attrs.get("end")) for t in of_slot] == [(TrialState.FAIL, "interrupted"), (TrialState.COMPLETE, None)]


def test_a_ledger_in_a_file_is_refused_where_the_cluster_has_other_machines(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    here = socket.gethostname()
    monkeypatch.setattr(socket, "gethostname", lambda: "elsewhere")
    with pytest.raises(UserError, match=rf"is a file of this machine, and the cluster has others \({here}\); give --storage postgresql://"):
        open_engine("ray", "sqlite:////home/me/optuna.db").__enter__()


def test_without_a_cluster_one_is_started_and_a_killed_worker_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.chdir(tmp_path)
    url = default_storage(tmp_path)
    open_storage(url)
    with open_engine("ray", url) as engine, Crew(url, capacity=1, engine=engine) as crew:
        assert engine.num_workers() == len(os.sched_getaffinity(0))
        crew.fill(1)
        wait_until(lambda: not crew.at_work)  # a task without ledgers is done at once
        (_, first), *_ = crew.members
        killed = first.identity()
        assert killed is not None
        os.kill(killed[1], signal.SIGKILL)
        ends: list[Any] = []
        wait_until(lambda: bool(ends.extend(crew.dismiss_dead()) or ends))
        assert [(worker, end.status) for worker, end in ends] == [(killed, -signal.SIGKILL)]
        crew.fill(1)
        wait_until(lambda: not crew.at_work)
        assert crew.members[0][1].identity() != killed


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.time() + seconds
    while not condition():
        assert time.time() < deadline, "it takes too long"
        time.sleep(0.05)


@pytest.mark.parametrize(("workers", "gpus", "share"), [(3, 0, 0.0), (2, 4, 1.0), (4, 4, 1.0), (5, 4, 0.5), (3, 1, 0.3333)])
def test_workers_share_the_gpus_of_a_cluster_so_that_all_find_room(workers: int, gpus: int, share: float) -> None:
    from nas.study.crew.on_ray import gpu_share

    assert gpu_share(workers, gpus) == share


def test_without_ray_the_engine_says_which_extra_brings_it(small_text: str, tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(small_text)
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['ray'] = None\n")
    environment = {**clean_environment(), "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "nas", "measure", "small.yaml", "--engine", "ray"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "--engine ray: the package 'ray' is not installed; pip install 'nas-ablation[ray]'" in done.stderr
