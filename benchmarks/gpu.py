"""Trainings an hour of a ResNet-20 on CIFAR-10 on one GPU: a hand-written script, a bare loop, this framework with what may speed it up.

All train the same list, networks with and without shortcuts from several seeds, with padded crops and flips, in batches of 128. The script
is what the pages of Optuna, Lightning and MLflow show: a data set that changes one picture at a time, a DataLoader with processes, a
checkpoint an epoch. The bare loop holds the data on the device, changes a batch at a time and records nothing. The framework records
every epoch, and is taken with each setting of WAYS. Start-up is left out: each measures from its first training to its last.

FOLDER holds CIFAR-10 as `train….parquet` and `test….parquet`, as hubs of data sets lay it out. Without a GPU it runs as well, to be tried:

Run:  python benchmarks/gpu.py FOLDER --rounds 3 --out benchmarks/results/gpu.json
      python benchmarks/gpu.py FOLDER --examples 400 --epochs 1 --replicates 1 --ways default --scripts bare
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from machine import write

HERE = Path(__file__).resolve().parent
BF16 = {"precision": "bf16-mixed"}
LAST = {"memory_format": "channels_last"}

WAYS: dict[str, Mapping[str, Mapping[str, Any]]] = {
    "default": {},
    "bf16": {"train": BF16},
    "channels_last": {"train": LAST},
    "bf16_channels_last": {"train": BF16 | LAST},
    "compile": {"train": {"compile": "default"}},
    "cuda_graph": {"train": {"compile": "reduce-overhead"}},
    "groups_of_8": {"measure": {"vectorise": 8}},
    "4_workers": {"search": {"workers_per_gpu": 4}},
    "8_workers": {"search": {"workers_per_gpu": 8}},
    "8_workers_bf16_channels_last": {"train": BF16 | LAST, "search": {"workers_per_gpu": 8}},
    "4_workers_cuda_graph": {"train": {"compile": "reduce-overhead"}, "search": {"workers_per_gpu": 4}},
}
"""What is added to the space, by name."""
SCRIPTS = ("handwritten", "bare")


def space_of(way: str, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return a space with one of WAYS."""
    space: dict[str, dict[str, Any]] = {
        "data": {"parquet": {"path": str(folder.resolve()), **({"limit": arguments.examples} if arguments.examples else {})}},
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
            "replicates": arguments.replicates,
            "metric": "val_accuracy",
        },
    }
    for section, own in WAYS[way].items():
        space[section] |= own
    return {"name": "gpu", **space}


def framework(way: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train the list with the framework; time from the first training's start to the last one's end, records written."""
    from nas.workflow import measure

    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "gpu.yaml"
        file.write_text(yaml.safe_dump(space_of(way, arguments.folder, arguments)))
        record = measure(file, store=Path(place) / "store").record
    trained = [t for t in record.measured if t.outcome]
    starts, ends = [t.started for t in trained if t.started], [t.finished for t in trained if t.finished]
    return {
        "seconds": (max(ends) - min(starts)).total_seconds(),
        "scores": [t.outcome.score for t in trained if t.outcome],
        "device": next((t.outcome.device for t in trained if t.outcome), ""),
    }


def script(side: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Train the same list with the script beside this one."""
    options = ["--examples", str(arguments.examples), "--epochs", str(arguments.epochs), "--replicates", str(arguments.replicates)]
    command = [sys.executable, str(HERE / "gpu_handwritten.py"), str(arguments.folder), *options, *(["--bare"] if side == "bare" else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} ended with {done.returncode}:\n{done.stderr}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--replicates", type=int, default=8, help="of each of two networks")
    parser.add_argument("--examples", type=int, default=0, help="of the training and the test part together; 0 for all")
    parser.add_argument("--ways", nargs="*", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--scripts", nargs="*", choices=SCRIPTS, default=SCRIPTS)
    parser.add_argument("--out", type=Path, help="write the figures as JSON, after every side anew")
    arguments = parser.parse_args()
    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none: these are the figures of a processor"
    rounds: list[dict[str, dict[str, Any]]] = []
    for turn in range(arguments.rounds):
        rounds.append({})
        for side in (*arguments.scripts, *arguments.ways):
            told = script(side, arguments) if side in SCRIPTS else framework(side, arguments)
            told["an_hour"] = 3600 * 2 * arguments.replicates / told["seconds"]
            rounds[-1][side] = told
            mean = statistics.fmean(told["scores"])
            print(f"round {turn + 1} {side:30} {told['an_hour']:9.0f} an hour, accuracy {mean:.4f}, {told['device']}", flush=True)
            figures = {"gpu": gpu, "epochs": arguments.epochs, "trainings": 2 * arguments.replicates, "examples": arguments.examples}
            write(arguments.out, {**figures, "rounds": rounds, "median_ratio_to_script": _ratios(rounds)})
    for side, ratio in _ratios(rounds).items():
        print(f"{side:30} {ratio:6.2f} x the hand-written script")


def _ratios(rounds: list[dict[str, dict[str, Any]]]) -> dict[str, float]:
    """Return trainings an hour against the script's, the median over the rounds that have both."""
    full = [row for row in rounds if "handwritten" in row]
    sides = {side for row in full for side in row}
    return {s: statistics.median(r[s]["an_hour"] / r["handwritten"]["an_hour"] for r in full if s in r) for s in sorted(sides)}


if __name__ == "__main__":
    main()
