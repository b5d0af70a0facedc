"""Trainings per minute: this framework against a hand-written script and against bare loops, on the same fixed list, in one run.

All train ResNets of several depths with and without shortcuts on digits, 10 epochs each. The framework and the hand-written script
record them to MLflow on SQLite. The script is one process that uses torch's own choice of threads, once with Lightning's defaults,
as the documentation shows, and once lean, without checkpoints and progress bar. The bare loops, one process a core, record nothing:
they are the ceiling. Framework and bare loops run once more with networks that differ in their seed alone in groups of eight, each
group one program: that list has eight replicates in place of `--replicates`, of the same networks, and those bare loops keep freed
memory as the framework's workers do, since what a group frees and faults in again at each step is large. Start-up (imports, creating the
databases) is left out everywhere: each measures from its first training to its last. All take turns within a round.

Run:  python benchmarks/throughput.py --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from machine import write

from nas.study.crew.early import KEEP_MEMORY

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
  vectorise: {group}
"""
GROUP = 8
COMPARED = {
    "framework": ("bare", "handwritten", "handwritten_lean"),
    "framework_in_groups": ("bare_in_groups", "framework", "handwritten", "handwritten_lean"),
}
SIDES = ("bare", "handwritten", "handwritten_lean", "framework", "bare_in_groups", "framework_in_groups")


def framework(depths: list[int], replicates: int, group: int = 1) -> dict[str, Any]:
    """Train the list with the framework; time from the first training's start to the last one's end, records written."""
    from nas.workflow import measure

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "throughput.yaml"
        file.write_text(SPACE.format(depths=", ".join(map(str, depths)), replicates=replicates, group=group))
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


def script(name: str, depths: list[int], replicates: int, *options: str, **settings: str) -> dict[str, Any]:
    """Train the same list with one of the scripts beside this one."""
    jobs = [[d, s, k] for k in range(replicates) for d in sorted(depths, reverse=True) for s in ("none", "identity")]
    environment = {k: v for k, v in os.environ.items() if k not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")} | settings
    command = [sys.executable, str(HERE / name), *options, "--jobs", json.dumps(jobs)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "trainings": len(jobs)}


def one_round(depths: list[int], replicates: int, sides: Sequence[str]) -> dict[str, float]:
    """Return trainings per minute of each of `sides`, taken in turns."""
    with tempfile.TemporaryDirectory() as defaults, tempfile.TemporaryDirectory() as lean:
        trained: dict[str, Callable[[], dict[str, Any]]] = {
            "bare": lambda: script("bare.py", depths, replicates),
            "handwritten": lambda: script("handwritten.py", depths, replicates, defaults),
            "handwritten_lean": lambda: script("handwritten.py", depths, replicates, lean, "--lean"),
            "framework": lambda: framework(depths, replicates),
            "bare_in_groups": lambda: script("bare.py", depths, GROUP, "--group", str(GROUP), **KEEP_MEMORY),
            "framework_in_groups": lambda: framework(depths, GROUP, GROUP),
        }
        told = {side: trained[side]() for side in sides}
    return {side: 60 * figures["trainings"] / figures["seconds"] for side, figures in told.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--depths", type=int, nargs="+", default=[1, 3, 5], help="units a stage: 6n+2 layers")
    parser.add_argument("--replicates", type=int, default=4)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES, help="all by default; only these are compared")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    rows = []
    for turn in range(arguments.rounds):
        rows.append(one_round(arguments.depths, arguments.replicates, arguments.sides))
        print(f"round {turn + 1}, trainings a minute:", ", ".join(f"{side} {rate:.1f}" for side, rate in rows[-1].items()), flush=True)
    ratios = {
        f"{own}_to_{side}": statistics.median(row[own] / row[side] for row in rows)
        for own, others in COMPARED.items()
        for side in others
        if own in arguments.sides and side in arguments.sides
    }
    print(f"median over {len(rows)} rounds:", ", ".join(f"{name.replace('_', ' ')} {ratio:.2f}" for name, ratio in ratios.items()))
    if arguments.out:
        layers = [6 * n + 2 for n in arguments.depths]
        figures = {"layers": layers, "trainings": 2 * len(layers) * arguments.replicates}
        write(arguments.out, {**figures, "trainings_per_minute": rows, "median_ratio": ratios})


if __name__ == "__main__":
    main()
