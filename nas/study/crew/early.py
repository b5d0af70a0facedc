"""Layer 4: how a worker's process is started: the first of a command before it is known what for.

That one imports torch and Lightning while its starter prepares the study. The first line on a worker's standard input says its
arguments, environment and folder; from then on it is that worker. It ends where its standard input closes instead.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# What glibc would do otherwise, in a process that takes and frees the same large tensors at every step:
# - it gives freed memory back, and faults it in again: 30,000 page faults a training of 20 layers (the two thresholds);
# - it maps memory in pages of 4 kB where the system has such of 2 MB (hugetlb);
# - it keeps the splinters that aligning a tensor leaves apart from the hole that the tensor leaves, which then is too small for the
#   next one of its size: twice the memory that a step needs (tcache, mxfast: bins of small pieces that are never joined).
KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(2**31),
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0",
}

_ready: list[subprocess.Popen[str]] = []


def start() -> None:
    """Start the process, at the beginning of a command that is going to train. Where nothing takes it, it ends with this one."""
    _ready.append(_blank({"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}))
    atexit.register(_end)


def worker(arguments: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> subprocess.Popen[str]:
    """Return a worker's process with these arguments, in `folder` where one is given: the one that was started early, else a new one.

    It is told them on its standard input: other users of the machine see command lines, and an address may have a password.
    """
    # The current folder, whose plugins it will find, and the environment may have changed since it was started.
    told = {"arguments": list(arguments), "environment": {**os.environ, **environment}, "folder": str(folder or Path.cwd())}
    while _ready:
        if _tell(process := _ready.pop(), told):
            return process
    process = _blank(environment, folder)
    _tell(process, told)
    return process


def _blank(environment: Mapping[str, str], folder: Path | None = None) -> subprocess.Popen[str]:
    """Start a process that is going to be told which worker it is; it ends when the pipe to it closes."""
    return subprocess.Popen(
        [sys.executable, "-m", "nas.study.worker"],
        stdin=subprocess.PIPE,  # it closes when this process ends, however it ends, and the worker with it
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**KEEP_MEMORY, **os.environ, **environment},
        start_new_session=True,  # Ctrl-C goes to the starter alone, which then ends its workers
    )


def _tell(process: subprocess.Popen[str], told: Mapping[str, Any]) -> bool:
    """Say to a process which worker it is; False where it has died meanwhile."""
    assert process.stdin is not None  # it was asked for
    try:
        process.stdin.write(json.dumps(told) + "\n")
        process.stdin.flush()
    except BrokenPipeError:
        return False
    return True


def _end() -> None:
    for process in _ready:
        process.kill()
        process.wait()
