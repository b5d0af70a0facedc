"""Trainings an hour of a ResNet-20 on pictures of 32×32 on one GPU: a script, a bare loop, this framework with what may speed it up.

All train networks with and without shortcuts from several seeds, with padded crops and flips, in batches of 128 and for as many epochs.
The script is what the pages of Optuna, Lightning and MLflow show: a data set that changes one picture at a time, a DataLoader with
processes, a checkpoint an epoch. The bare loop holds the data on the device, changes a batch at a time and records nothing. The framework
records every epoch, and is taken with each of SIDES, what says most first.

Two rates are told: of all trainings, from the first one's start to the last one's end, and of the middle one alone. The second leaves out
what a process does in its first training: CUDA's start, and compiling. Start-up before that is left out of both.

A side runs in a process of its own. One that fails, or does not end in time, leaves its error in the figures, and the next one runs.
FOLDER holds CIFAR-10 as `train….parquet` and `test….parquet`, as hubs of data sets lay it out; without it as many pictures are made up.
Without a GPU it runs as well, to be tried:

Run:  python benchmarks/gpu.py --minutes 9 --out benchmarks/results/gpu.json
      python benchmarks/gpu.py FOLDER --rounds 3 --minutes 60 --out benchmarks/results/gpu.json
      python benchmarks/gpu.py --examples 400 --epochs 1 --replicates 1
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from machine import write

HERE = Path(__file__).resolve().parent
BF16 = {"precision": "bf16-mixed"}
LAST = {"memory_format": "channels_last"}
GRAPH = {"compile": "reduce-overhead"}

SIDES: dict[str, Mapping[str, Mapping[str, Any]]] = {
    "handwritten": {},
    "bare": {},
    "default": {},
    "bf16_channels_last": {"train": BF16 | LAST},
    "compile": {"train": {"compile": "default"}},
    "cuda_graph": {"train": GRAPH},
    "groups_of_8": {"measure": {"vectorise": 8}},
    "4_workers": {"search": {"workers_per_gpu": 4}},
    "8_workers": {"search": {"workers_per_gpu": 8}},
    "cuda_graph_bf16_channels_last": {"train": GRAPH | BF16 | LAST},
    "4_workers_bf16_channels_last": {"train": BF16 | LAST, "search": {"workers_per_gpu": 4}},
    "4_workers_cuda_graph": {"train": GRAPH, "search": {"workers_per_gpu": 4}},
    "bf16": {"train": BF16},
    "channels_last": {"train": LAST},
    "cudnn_benchmark": {"train": {"benchmark": True}},
}
"""What is added to the space, by name; the first two are scripts of their own."""
SCRIPTS = ("handwritten", "bare")
MADE, MADE_TEST = 50_000, 10_000
"""How many pictures are made up, to train and validate on and to test on: as many as CIFAR-10 has."""


def replicates_of(side: str, replicates: int) -> int:
    """Return how many networks of each kind a side trains: the slow script few, groups and workers so many that all are full."""
    if side == "handwritten":
        return max(1, replicates // 4)
    together = SIDES[side].get("measure", {}).get("vectorise", 1) * SIDES[side].get("search", {}).get("workers_per_gpu", 1)
    return replicates if together == 1 else max(replicates, 8) if replicates > 1 else 1


def made_up(folder: Path, limit: int) -> dict[str, Any]:
    """Write pictures that a network can tell apart, a pattern a class under noise, and return the data set of a space."""
    drawn = np.random.default_rng(0)
    patterns = drawn.integers(64, 192, (10, 3, 32, 32))
    share = min(1.0, limit / (MADE + MADE_TEST)) if limit else 1.0
    for part, count in (("", round(share * MADE)), ("test_", round(share * MADE_TEST))):
        targets = np.arange(count) % 10
        pictures = np.empty((count, 3, 32, 32), np.uint8)
        for rows in np.array_split(np.arange(count), max(1, count // 5000)):
            pictures[rows] = (patterns[targets[rows]] + drawn.normal(0, 40, (len(rows), 3, 32, 32))).clip(0, 255)
        np.save(folder / f"{part}inputs.npy", pictures)
        np.save(folder / f"{part}targets.npy", targets)
    return {"numpy": {name: str(folder / f"{name}.npy") for name in ("inputs", "targets", "test_inputs", "test_targets")}}


def space_of(side: str, data: Mapping[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Return a space with one of SIDES."""
    space: dict[str, dict[str, Any]] = {
        "architecture": {"staged": {"widths": [16, 32, 64], "depth": 3, "shortcut": {"choices": ["none", "identity"]}}},
        "train": {
            "epochs": arguments.epochs,
            "batch_size": 128,
            "optimizer": {"sgd": {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}},
            "augment": [{"pad_crop": {"padding": 4}}, "flip"],
        },
        "search": {},
        "measure": {
            "factor": "architecture.staged.shortcut",
            "reference": "none",
            "replicates": replicates_of(side, arguments.replicates),
            "metric": "val_accuracy",
        },
    }
    for section, own in SIDES[side].items():
        space[section] |= own
    return {"name": "gpu", "data": data, **space}


def framework(side: str, data: Mapping[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Train with the framework; time from the first training's start to the last one's end, records written."""
    from nas.study.crew.crew import num_cores
    from nas.workflow import measure

    space = space_of(side, data, arguments)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "gpu.yaml"
        file.write_text(yaml.safe_dump(space))
        record = measure(file, store=Path(place) / "store").record
    trained = [t for t in record.measured if t.outcome]
    starts, ends = [t.started for t in trained if t.started], [t.finished for t in trained if t.finished]
    return {
        "seconds": (max(ends) - min(starts)).total_seconds(),
        "durations": [t.outcome.duration_s for t in trained if t.outcome],
        "workers": space["search"].get("workers_per_gpu", 1) if torch.cuda.is_available() else num_cores(),
        "scores": [t.outcome.score for t in trained if t.outcome],
        "failed": sorted({t.outcome.failure for t in trained if t.outcome and t.outcome.failure}),
        "device": next((t.outcome.device for t in trained if t.outcome), ""),
    }


def script(side: str, data: Mapping[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """Train the same with the script beside this one."""
    from gpu_handwritten import main

    told = main(side, data, epochs=arguments.epochs, replicates=replicates_of(side, arguments.replicates))
    return {**told, "workers": 1, "device": "cuda" if torch.cuda.is_available() else "cpu"}


def run_side(side: str, data: Mapping[str, Any], arguments: argparse.Namespace, *, seconds: float) -> dict[str, Any]:
    """Run one side in a process of its own for at most so long; return its figures, or its `error`."""
    options = ["--epochs", str(arguments.epochs), "--replicates", str(arguments.replicates), "--side", side, "--data", json.dumps(data)]
    environment = dict(os.environ)
    if torch.cuda.is_available():
        # One GPU: the first of those that this process may use.
        visible = [name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
        environment["CUDA_VISIBLE_DEVICES"] = (visible or ["0"])[0]
    command = [sys.executable, str(Path(__file__).resolve()), *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds, env=environment)
    except subprocess.TimeoutExpired:
        return {"error": f"not done after {seconds:.0f} s, when the time was over"}
    lines = done.stdout.splitlines()
    if done.returncode or not lines:
        return {"error": f"ended with {done.returncode}: {done.stderr[-3000:]}"}
    told: dict[str, Any] = json.loads(lines[-1])
    told["an_hour"] = 3600 * len(told["durations"]) / told["seconds"]
    told["an_hour_of_the_middle_one"] = 3600 * told["workers"] / statistics.median(told["durations"])
    return told


def gpu_told() -> dict[str, Any]:
    """Return what the figures hang on beside the machine: the GPU, its driver, CUDA and cuDNN."""
    if not torch.cuda.is_available():
        return {"gpu": "none: these are the figures of a processor"}
    asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split() if shutil.which(asked[0]) else []
    about = torch.cuda.get_device_properties(0)
    return {
        "gpu": about.name, "gpu_memory": about.total_memory, "driver": (driver or [""])[0], "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(), "tf32_in_convolutions": torch.backends.cudnn.allow_tf32,
        "usable_cores": len(os.sched_getaffinity(0)), "python": sys.version.split()[0],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="with CIFAR-10; without it, pictures are made up")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=60.0, help="no side is started later, and the last one is ended then")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--replicates", type=int, default=4, help="of each of two networks; the script has fewer, groups and workers more")
    parser.add_argument("--examples", type=int, default=0, help="of the training and the test part together; 0 for all")
    parser.add_argument("--sides", nargs="*", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--out", type=Path, help="write the figures as JSON, after every side anew")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps((script if arguments.side in SCRIPTS else framework)(arguments.side, arguments.data, arguments)))
        return
    over = time.monotonic() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory() as place:
        folder, limit = arguments.folder, {"limit": arguments.examples} if arguments.examples else {}
        data = {"parquet": {"path": str(folder.resolve()), **limit}} if folder else made_up(Path(place), arguments.examples)
        told = {**gpu_told(), "epochs": arguments.epochs, "examples": arguments.examples, "data": str(folder or "made up")}
        rounds: list[dict[str, dict[str, Any]]] = []
        for turn in range(arguments.rounds):
            rounds.append({})
            for side in arguments.sides:
                left = over - time.monotonic()
                rounds[-1][side] = run_side(side, data, arguments, seconds=left) if left > 0 else {"error": "no time was left"}
                print(f"round {turn + 1} {side:30} {_line(rounds[-1][side])}", flush=True)
                ratios = {f"median_ratio_to_{to}": _ratios(rounds, "an_hour", to) for to in SCRIPTS}
                write(arguments.out, {**told, "rounds": rounds, **ratios})
    for to, name in itertools.product(SCRIPTS, ("an_hour", "an_hour_of_the_middle_one")):
        print(f"\n{name}, times that of {to} (median of the rounds):")
        for side, ratio in _ratios(rounds, name, to).items():
            print(f"{side:30} {ratio:6.2f}")


def _line(told: Mapping[str, Any]) -> str:
    if "error" in told:
        return f"ERROR {told['error'].strip().splitlines()[-1]}"
    rates = f"{told['an_hour']:9.0f} an hour, {told['an_hour_of_the_middle_one']:9.0f} of the middle one"
    return f"{rates}, {len(told['durations'])} trainings, accuracy {statistics.fmean(told['scores']):.4f}, {told['device']}"


def _ratios(rounds: list[dict[str, dict[str, Any]]], name: str, to: str) -> dict[str, float]:
    """Return a rate against a script's, the median over the rounds that have both."""
    full = [row for row in rounds if name in row.get(to, {})]
    sides = [side for side in SIDES if any(name in row.get(side, {}) for row in full)]
    return {s: statistics.median(r[s][name] / r[to][name] for r in full if name in r.get(s, {})) for s in sides}


if __name__ == "__main__":
    main()
