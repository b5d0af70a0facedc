"""A training that waits to be killed, so that tests of interruptions depend on no one's speed."""

import signal
import subprocess
import time
from pathlib import Path

PLUGIN = '''\
"""Decays as `linear` does; the training that `hold.txt` numbers waits as long as that file is there."""

import os
import time
from pathlib import Path

from nas.plugin import Schedule, plugin


@plugin("holding")
class Holding(Schedule):
    """Linear decay."""

    def factor(self, step: int, num_steps: int) -> float:
        """Return the factor at `step`, at the first one perhaps after a while."""
        if step == 0:
            begun, hold = Path("begun.txt"), Path("hold.txt")
            with begun.open("a") as file:
                file.write("begun\\n")
            if hold.exists() and len(begun.read_text().splitlines()) == int(hold.read_text()):
                Path("held.txt").write_text(str(os.getpid()))
                while hold.exists():
                    time.sleep(0.02)
        return 1 - step / num_steps
'''


def prepare(folder: Path) -> None:
    """Give spaces in `folder` the schedule `holding`."""
    (folder / "plugins").mkdir(exist_ok=True)
    (folder / "plugins" / "holding.py").write_text(PLUGIN)


def hold_at(folder: Path, number: int) -> None:
    """Let the training that begins as the `number`-th from now on, counted from 1, wait."""
    for name in ("begun.txt", "held.txt"):
        (folder / name).unlink(missing_ok=True)
    (folder / "hold.txt").write_text(str(number))


def wait_until_held(folder: Path, process: subprocess.Popen[str], seconds: float = 150) -> int:
    """Wait for that training and return its worker's process. Raises AssertionError where `process` ends before it, or it does not come."""
    until, held = time.monotonic() + seconds, folder / "held.txt"
    while not (held.exists() and held.read_text()):
        assert process.poll() is None, f"the run ended before: {process.stdout.read() if process.stdout else ''}"
        assert time.monotonic() < until, "no training waits"
        time.sleep(0.02)
    return int(held.read_text())


def children_of(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes that `process` has started: its workers."""
    listing = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True)
    return [int(pid) for pid in listing.stdout.split()]


def end(process: subprocess.Popen[str], how: signal.Signals) -> int:
    """End `process` by a signal and return its status, once its workers have ended, too. Raises AssertionError where one does not."""
    workers = children_of(process)
    process.send_signal(how)
    process.communicate(timeout=60)
    until = time.monotonic() + 60  # one that is still importing torch looks at its starter only then
    while alive := [pid for pid in workers if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < until, f"{alive} outlive their starter"
        time.sleep(0.05)
    return process.returncode


def release(folder: Path) -> None:
    """Let what waits go on, and nothing wait from now on."""
    (folder / "hold.txt").unlink()
