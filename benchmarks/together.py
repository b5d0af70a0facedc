"""Trainings as one program against the same trainings alone: how their accuracies differ, and what they cost.

Each network is trained alone and in a group from the same seeds, by turns in one process of one thread. The accuracies are compared
seed by seed (the mean difference with its 95% interval) and as samples (Kolmogorov and Smirnov's test); the times are those of the
processor, for one training.

Run:  python benchmarks/together.py --seeds 24
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch
from machine import write
from scipy import stats

from nas.building import build, build_recipe, cost_of
from nas.plugin import NetworkContext
from nas.registry import discover
from nas.sampling import first_choice, sample
from nas.space import parse_space
from nas.study.jobs.materials import load_split, load_task
from nas.training.course import Goal
from nas.training.fit import train
from nas.training.stacked import Member, train_together
from nas.values.outcome import Outcome

SPACE = """
name: together
architecture: {{staged: {{widths: {widths}, depth: {depth}, block: {block}}}}}
train: {{epochs: {epochs}, batch_size: {batch}, optimizer: {{sgd: {{lr: 0.1, momentum: 0.9, weight_decay: 5.0e-4}}}}}}
"""
ROWS = (
    {"widths": [8, 16, 32], "depth": 1, "block": "basic", "batch": 128},
    {"widths": [8, 16, 32], "depth": 1, "block": "basic", "batch": 32},
    {"widths": [8, 16, 32], "depth": 3, "block": "basic", "batch": 128},
    {"widths": [8, 16, 32], "depth": 3, "block": "basic", "batch": 32},
    {"widths": [16, 32, 64], "depth": 3, "block": "basic", "batch": 128},
    {"widths": [32, 64, 128], "depth": 1, "block": "basic", "batch": 128},
    {"widths": [8, 16, 32], "depth": 2, "block": "preact_bottleneck", "batch": 64},
)


class Side:
    """One network, trained alone or in groups; the time it took and the outcomes, by seed."""

    def __init__(self, row: dict[str, Any], epochs: int) -> None:
        self.registry, self.context = discover(), NetworkContext((1, 8, 8), 10, (10,))
        self.decided = sample(parse_space(SPACE.format(**row, epochs=epochs), "together.yaml", self.registry), first_choice).configuration
        self.cost = cost_of(self.decided.architecture, self.registry, self.context)
        self.goal = Goal("test_accuracy", load_task(self.decided.task, self.registry))
        self.recipe = build_recipe(self.decided.train, self.registry)

    def member(self, seed: int) -> Member:
        network = build(self.decided.architecture, self.registry, self.context, seed=seed)
        return Member(network, self.recipe, load_split(self.decided.data, self.registry, seed, self.decided.task), seed)

    def alone(self, seeds: range) -> tuple[list[Outcome], float]:
        members, started = [self.member(seed) for seed in seeds], time.process_time()
        found = [train(m.network, m.recipe, m.split, self.cost, self.goal, seed=m.seed) for m in members]
        return found, time.process_time() - started

    def together(self, seeds: range) -> tuple[list[Outcome], float]:
        members, started = [self.member(seed) for seed in seeds], time.process_time()
        return list(train_together(members, self.cost, self.goal, alike=True)), time.process_time() - started


def compare(row: dict[str, Any], *, epochs: int, seeds: int, group: int) -> dict[str, Any]:
    """Train by turns, a group and the same seeds alone, and return the figures of one row."""
    side = Side(row, epochs)
    side.together(range(2)), side.alone(range(1))
    alone, grouped, seconds = [], [], ([], [])
    for first in range(0, seeds, group):
        chosen = range(first, min(first + group, seeds))
        for found, took, run in ((alone, seconds[0], side.alone), (grouped, seconds[1], side.together)):
            outcomes, spent = run(chosen)
            found += [outcome.score for outcome in outcomes]
            took.append(spent / len(chosen))
    differences = [b - a for a, b in zip(alone, grouped, strict=True)]
    half = stats.t.ppf(0.975, seeds - 1) * statistics.stdev(differences) / seeds**0.5 if len(set(differences)) > 1 else 0.0
    return {
        **row, "num_layers": side.cost.num_layers, "macs": side.cost.macs, "seeds": seeds, "group": group, "epochs": epochs,
        "alone": statistics.mean(alone), "together": statistics.mean(grouped), "deviation_alone": statistics.stdev(alone),
        "deviation_together": statistics.stdev(grouped), "difference": statistics.mean(differences), "half_width": half,
        "ks_p": float(stats.ks_2samp(alone, grouped).pvalue), "equal": sum(d == 0 for d in differences),
        "seconds_alone": statistics.median(seconds[0]), "seconds_together": statistics.median(seconds[1]),
        "times_as_fast": statistics.median(a / b for a, b in zip(*seconds, strict=True)),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows", type=int, nargs="+", default=range(len(ROWS)), help="which of the networks, from 0")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for place in arguments.rows:
        rows.append(found := compare(ROWS[place], epochs=arguments.epochs, seeds=arguments.seeds, group=arguments.group))
        print(
            f"{found['num_layers']} layers, {found['macs'] / 1e6:.2f}M MACs, batch {found['batch']}: alone {found['alone']:.2%}, together "
            f"{found['together']:.2%}, difference {found['difference']:+.2%} ± {found['half_width']:.2%}, KS p {found['ks_p']:.2f}, "
            f"{found['equal']} of {found['seeds']} equal; {found['seconds_alone']:.2f} s, {found['seconds_together']:.2f} s, "
            f"{found['times_as_fast']:.2f} × as fast", flush=True,
        )  # fmt: skip
    write(arguments.out, {"rows": rows})


if __name__ == "__main__":
    main()
