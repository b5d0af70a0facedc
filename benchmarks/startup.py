"""How long it takes until the first training is under way, against the time that importing torch and Lightning takes.

`python -m nas search` on a small space in an empty folder, and `python -c "import torch, pytorch_lightning"`, by turns. Under way is
taken to be when the ledger has the first trial's first epoch, which it is asked for every few milliseconds; so one epoch of a
small network on digits is in it. `claimed` is when a worker had taken the trial.

Run:  python benchmarks/startup.py --out benchmarks/results/startup.json
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import write

SPACE = """
name: startup
architecture:
  staged: {widths: [4, 8], depth: {int: [1, 3]}, shortcut: {choices: [none, identity]}}
train: {epochs: 60, batch_size: 128, optimizer: {sgd: {lr: 0.1}}}
search: {trials: 4, sampler: random, pruner: none}
"""
QUESTIONS = {"claimed": "SELECT 1 FROM trial_heartbeats LIMIT 1", "under way": "SELECT 1 FROM trial_intermediate_values LIMIT 1"}
LATEST_S = 120.0


def importing() -> float:
    """Return the seconds that importing torch and Lightning takes, with the interpreter's own start."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch, pytorch_lightning"], check=True)
    return time.perf_counter() - started


def searching(workers: int) -> dict[str, float]:
    """Start a search; return the seconds until its first trial was claimed, and until that had an epoch behind it."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "startup.yaml").write_text(SPACE)
        command = [sys.executable, "-m", "nas", "search", "startup.yaml", "--store", "store", "--workers", str(workers)]
        kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_")}
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=kept)
        try:
            return _watched(Path(name) / "store" / "optuna.db", process, started)
        finally:
            process.terminate()
            process.wait()


def _watched(ledger: Path, process: subprocess.Popen[bytes], started: float) -> dict[str, float]:
    seen: dict[str, float] = {}
    while len(seen) < len(QUESTIONS):
        if process.poll() is not None or time.perf_counter() - started > LATEST_S:
            raise SystemExit(f"the search ended with {process.poll()} before its first epoch")
        time.sleep(0.01)
        if not ledger.exists():
            continue
        try:
            connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
            for name, question in QUESTIONS.items():
                if name not in seen and connection.execute(question).fetchone():
                    seen[name] = time.perf_counter() - started
            connection.close()
        except sqlite3.OperationalError:
            continue  # no table yet
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    importing()  # the first one reads the packages from the disk
    rows = []
    for turn in range(arguments.rounds):
        rows.append({"imports": importing(), **searching(arguments.workers)})
        rows[-1]["ratio"] = rows[-1]["under way"] / rows[-1]["imports"]
        print(f"round {turn + 1}:", ", ".join(f"{what} {seconds:.2f}" for what, seconds in rows[-1].items()), flush=True)
    medians = {what: statistics.median(row[what] for row in rows) for what in rows[0]}
    print(f"median of {len(rows)} rounds, seconds:", ", ".join(f"{what} {figure:.2f}" for what, figure in medians.items()))
    write(arguments.out, {"workers": arguments.workers, "rounds": rows, "median": medians})


if __name__ == "__main__":
    main()
