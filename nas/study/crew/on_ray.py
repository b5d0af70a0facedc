"""Layer 4: a Ray cluster as a crew's engine: an actor a worker, placed where there is room, holding the same worker process.

Ray places and watches, no more: what is trained stands in the ledger, which queues again what a lost node was training. So an
actor is not restarted by Ray, which knows nothing of tasks; the crew replaces it as it replaces a process of this machine.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
import ray.exceptions

from nas.errors import StudyError, UserError, listed
from nas.study.crew.crew import Hear, Worker, chosen_threads, num_cores, sharing_of
from nas.study.crew.processes import LOST, End, WorkerProcess

OBJECT_STORE_BYTES = 80 * 2**20
"""Of a cluster that is started here: lines of text are all that is passed."""

PATIENCE_S = 20.0
"""After so long a worker that Ray has not placed says that it waits."""

ENDING_S = 10.0


class Cluster:
    """The cluster at RAY_ADDRESS, else one that runs on this machine, else one started for as long as the block lasts."""

    def __init__(self, storage_url: str) -> None:
        self.storage_url = storage_url
        self.threads = chosen_threads() or 1
        self.has_told = threading.Event()

    def __enter__(self) -> Cluster:
        self.is_ours = not ray.is_initialized()
        if self.is_ours:
            _connect()
            # Ray prints the last lines of a lost node's log, on standard output, where --json documents go; no setting says not to.
            self.printing = ray._private.worker.print_to_stdstream
            ray._private.worker.print_to_stdstream = lambda *_, **__: None
        self._refuse_a_file_elsewhere()
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_ours:
            ray.shutdown()
            ray._private.worker.print_to_stdstream = self.printing

    def num_workers(self, per_gpu: Callable[[], int] = lambda: 1) -> int:
        """Return as many as share a GPU for each of the cluster's, else one for each core, or for as many as it has threads."""
        gpus = self._count("GPU")
        return gpus * per_gpu() if gpus else max(1, self._count("CPU") // self.threads)

    def start(self, arguments: Sequence[str], *, place: int, capacity: int, hear: Hear) -> Worker:
        """Ask for an actor; it starts its process as soon as a node has room."""
        options: dict[str, Any] = {"num_cpus": self.threads, "num_gpus": gpu_share(capacity, self._count("GPU"))}
        if _is_file(self.storage_url):
            options["resources"] = {f"node:{ray.util.get_node_ip_address()}": 0.001}  # wherever else a node joins
        actor = ray.remote(WorkerProcess).options(
            max_restarts=0,
            max_concurrency=4,  # it is heard, given tasks and stopped at the same time
            scheduling_strategy="SPREAD",
            **options,
        )
        kept = {name: value for name, value in os.environ.items() if name.startswith("NAS_")}
        arguments = [*arguments, *sharing_of(capacity, self._count("GPU"))]
        agent = actor.remote(arguments, threads=self.threads, environment=kept, folder=Path.cwd())
        return RemoteWorker(agent, hear, needs=options, has_told=self.has_told)

    def _count(self, resource: str) -> int:
        return int(ray.cluster_resources().get(resource, 0))

    def _refuse_a_file_elsewhere(self) -> None:
        here = socket.gethostname()
        others = sorted({node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]} - {here})
        if others and _is_file(self.storage_url):
            self.__exit__()
            raise UserError(
                f"--engine ray: the ledger {self.storage_url} is a file of this machine, and the cluster has others ({listed(others)}); "
                "give --storage postgresql://… (docs/scaling.md)"
            )


class RemoteWorker:
    """A worker in an actor: a thread here hears what it says until it ends, or its node does."""

    def __init__(self, agent: Any, hear: Hear, *, needs: Mapping[str, Any], has_told: threading.Event) -> None:
        self._agent, self._hear, self._needs, self._has_told = agent, hear, needs, has_told
        self._identity: tuple[str, int] | None = None
        self._end: End | None = None
        self._stopping: Any = None
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def identity(self) -> tuple[str, int] | None:
        """Return the node's machine and the process there; None until it is placed."""
        return self._identity

    def give(self, line: str) -> None:
        """Give it a task; one that is not placed yet is given it then."""
        self._agent.give.remote(line)

    def ended(self) -> End | None:
        """Return how it ended; LOST with its node."""
        return self._end

    def stop(self) -> None:
        """End the process; `wait` ends the actor."""
        self._stopping = self._agent.stop.remote()

    def wait(self) -> None:
        """Give the process a while to be gone, which the ledger looks at, then end the actor."""
        if self._identity and self._stopping is not None:
            with suppress(ray.exceptions.RayError):
                ray.get(self._stopping, timeout=ENDING_S)
        ray.kill(self._agent)
        self._listener.join(timeout=ENDING_S)

    def _listen(self) -> None:
        try:
            self._identity = self._placed()
            for said in self._agent.lines.options(num_returns="streaming").remote():
                self._hear(ray.get(said))
            self._end = ray.get(self._agent.wait.remote())
        except ray.exceptions.RayError as error:
            self._end = self._end_by(error)

    def _placed(self) -> tuple[str, int]:
        asked = self._agent.identity.remote()
        try:
            found = ray.get(asked, timeout=PATIENCE_S)
        except ray.exceptions.GetTimeoutError:
            if not self._has_told.is_set():
                self._has_told.set()
                gpus = f" and {self._needs['num_gpus']:g} GPU" if self._needs["num_gpus"] else ""
                self._say(f"Workers wait for room on the Ray cluster; each needs {self._needs['num_cpus']} CPU{gpus} that is free.")
            found = ray.get(asked)
        host, pid = found
        return host, pid

    def _end_by(self, error: ray.exceptions.RayError) -> End:
        if isinstance(error, ray.exceptions.OutOfMemoryError):
            return End(-signal.SIGKILL, str(error))
        if isinstance(error, ray.exceptions.RayTaskError) or "creation task" in str(error):  # another would fail as well
            return End(1, f"on a node of the Ray cluster: {error}")
        if self._stopping is None:
            where = "{} (process {})".format(*self._identity) if self._identity else "a node"
            self._say(f"Ray lost the worker on {where}; what it was training is queued again.")
        return End(LOST, str(error))

    def _say(self, line: str) -> None:
        self._hear(json.dumps({"event": "told", "lines": [line]}))


def gpu_share(workers: int, gpus: int) -> float:
    """Return which part of a GPU each of some workers reserves, so that all find room: 1 where there are enough, else 1/2, 1/3 …."""
    if not gpus:
        return 0.0
    return math.floor(10_000 / math.ceil(workers / gpus)) / 10_000  # Ray counts in ten-thousandths


def _connect() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        raise UserError(f"RAY_ADDRESS={address}: start this on a node of the cluster and give its own address there, such as HOST:6379")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        ray.init(address="auto", **quiet)
    except ConnectionError as error:
        if address:
            raise StudyError(f"no Ray cluster answers at RAY_ADDRESS={address}: {error}; start one there, or unset it") from error
        ray.init(address="local", num_cpus=num_cores(), include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)


def _is_file(storage_url: str) -> bool:
    return storage_url.startswith("sqlite")
