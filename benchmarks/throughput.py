"""Trainings per minute: this framework against a short hand-written script, on the same fixed list, in one run.

Both train ResNets of 8, 20 and 56 layers with and without shortcuts on digits, 10 epochs each, and record them to MLflow on
SQLite. The hand-written script is one process that uses torch's own choice of threads. Start-up (imports, creating the
databases) is left out on both sides: each measures from its first training to its last. The two take turns.

Run:  python benchmarks/throughput.py --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

SPACE = """
name: throughput
architecture:
  staged:
    widths: [8, 16, 32]
    depth: {{int: [1, 9]}}
    shortcut: {{choices: [none, identity]}}
train:
  epochs: 10
  batch_size: 128
  optimizer: {{sgd: {{lr: 0.1, momentum: 0.9, weight_decay: 5.0e-4}}}}
measure:
  factor: architecture.staged.shortcut
  reference: none
  by: {{architecture.staged.depth: [{depths}]}}
  replicates: {replicates}
  metric: val_accuracy
"""


def framework(depths: list[int], replicates: int) -> dict[str, Any]:
    """Train the list with the framework; time from the first training's start to the last one's end, records written."""
    from nas.workflow import measure

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "throughput.yaml"
        file.write_text(SPACE.format(depths=", ".join(map(str, depths)), replicates=replicates))
        seen: dict[str, float] = {}

        def watch(event: Any, study: Any) -> None:
            seen.setdefault(event["event"], time.perf_counter())

        result = measure(file, store=Path(folder) / "store", watch=watch)
        trained = [t for t in result.record.measured if t.outcome]
        starts, ends = [t.started for t in trained if t.started], [t.finished for t in trained if t.finished]
        return {
            "seconds": (max(ends) - min(starts)).total_seconds(),
            "trainings": len(trained),
            "training_seconds": sum(t.outcome.duration_s for t in trained if t.outcome),
            "scores": [t.outcome.score for t in trained if t.outcome],
        }


def handwritten(depths: list[int], replicates: int) -> dict[str, Any]:
    """Train the same list with the hand-written script."""
    jobs = [[d, s, k] for k in range(replicates) for d in depths for s in ("none", "identity")]
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(HERE / "handwritten.py"), folder, "--jobs", json.dumps(jobs)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "trainings": len(jobs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 3, 9])
    parser.add_argument("--replicates", type=int, default=2)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    rows = []
    for turn in range(arguments.rounds):
        theirs, ours = handwritten(arguments.depths, arguments.replicates), framework(arguments.depths, arguments.replicates)
        rate = [60 * side["trainings"] / side["seconds"] for side in (theirs, ours)]
        rows.append({"handwritten_per_minute": rate[0], "framework_per_minute": rate[1], "ratio": rate[1] / rate[0]})
        print(f"round {turn + 1}: hand-written {rate[0]:.1f}, framework {rate[1]:.1f} trainings a minute, ratio {rows[-1]['ratio']:.2f}")
    median = statistics.median(row["ratio"] for row in rows)
    print(f"median ratio over {len(rows)} rounds: {median:.2f}  ({os.cpu_count()} cores, {platform.platform()})")
    if arguments.out:
        arguments.out.write_text(json.dumps({"rounds": rows, "median_ratio": median, "cores": os.cpu_count()}, indent=2) + "\n")


if __name__ == "__main__":
    main()
