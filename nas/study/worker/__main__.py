"""Layer 4: a worker's process, `python -m nas.study.worker`, as `nas.study.crew.early` starts it.

The first line on its standard input says its arguments, environment and folder. Each further one is a task, ledgers to work through; it
says when their queues are empty, or the deadline of the search has passed, and takes the next. It ends at once when its standard input
closes: whoever started it is gone then.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import threading
from collections.abc import Mapping
from typing import Any

import torch

from nas.errors import NasError
from nas.registry import discover
from nas.study.crew.crew import Task
from nas.study.crew.room import pin_memory_share
from nas.study.ledger.storage import open_storage
from nas.study.worker.worker import LostGPUError, work_on


def _tasks_given() -> queue.Queue[Task]:
    """Listen on standard input for tasks; when it closes the process ends at once, in the middle of a training too.

    What was running is queued again by whoever goes on.
    """
    tasks: queue.Queue[Task] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            tasks.put(Task.from_line(line))
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    return tasks


def _told() -> list[str]:
    """Take the environment and the current folder from a line on standard input, and return its arguments; end where it closes instead."""
    line = sys.stdin.readline()
    if not line:
        sys.exit()
    told = json.loads(line)
    os.chdir(told["folder"])
    os.environ.clear()
    os.environ.update(told["environment"])
    return [str(word) for word in told["arguments"]]


def main() -> None:
    """Run a worker process; its events go to standard output, one JSON document a line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("storage")
    parser.add_argument("--plugins", action="append", default=[])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sharing", type=int, default=1, help="how many workers share this one's GPU")
    arguments = parser.parse_args(_told())
    torch.set_num_threads(arguments.threads)
    pin_memory_share(arguments.sharing)
    # Plugins and libraries may print; only events go to the pipe.
    events, sys.stdout = sys.stdout, sys.stderr

    def emit(event: Mapping[str, Any]) -> None:
        print(json.dumps(event), file=events, flush=True)

    try:
        tasks = _tasks_given()
        storage, registry = open_storage(arguments.storage), discover(arguments.plugins)
        while True:
            work_on(tasks.get(), storage, registry, arguments.plugins, emit)
            emit({"event": "idle"})
    except LostGPUError:
        return  # what broke has been told; whoever started this process starts another
    except NasError as error:
        emit({"event": "stopped", "error": str(error)})
        sys.exit(1)


if __name__ == "__main__":
    main()
