"""What a Gaussian process loses by taking less work for each proposal of a long search: regret on a made function, noise and all.

The function is one of six decisions as a recipe has them (learning rate, weight decay, drop, depth, block, shortcut), with scores
around 0.9, and the best learning rate depends on the depth and the block. What a trial is told has noise of 0.01. The regret is the
function's best value less the best that was proposed, noise left out.

Run:  python benchmarks/regret_made.py --out benchmarks/results/regret_made.json
      python benchmarks/regret_made.py --optuna      # fitted to all trials at every proposal, as Optuna does; minutes a seed
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import torch
from machine import write

from nas.study.searching import gaussian
from nas.study.searching.samplers import reseed

BLOCKS = {"a": 0.0, "b": 0.004, "c": -0.01}
SHORTCUTS = {"n": -0.015, "i": 0.0, "p": -0.003}
NOISE = 0.01
SHOWN = (100, 200, 300, 500)


def best_lr(depth: int, block: str) -> float:
    """Return the logarithm of the best learning rate."""
    return -1.2 - 0.05 * depth + (0.2 if block == "b" else 0.0)


def value(at: Mapping[str, Any]) -> float:
    """Return the function's value."""
    depth, lr, decay = at["depth"], math.log10(at["lr"]), math.log10(at["wd"])
    off = lr - best_lr(depth, at["block"])
    found = 0.9 + BLOCKS[at["block"]] + SHORTCUTS[at["short"]] * (depth / 5) - 0.03 * off**2
    return found - 0.006 * (decay + 3.5 + 0.3 * off) ** 2 - 0.05 * (at["drop"] - 0.15 - 0.02 * depth) ** 2 - 0.0008 * (depth - 6) ** 2


def decide(trial: optuna.Trial) -> dict[str, Any]:
    """Let the sampler decide where to look next."""
    return {
        "lr": trial.suggest_float("lr", 1e-3, 1.0, log=True),
        "wd": trial.suggest_float("wd", 1e-6, 1e-2, log=True),
        "drop": trial.suggest_float("drop", 0.0, 0.5),
        "depth": trial.suggest_int("depth", 1, 9),
        "block": trial.suggest_categorical("block", list(BLOCKS)),
        "short": trial.suggest_categorical("short", list(SHORTCUTS)),
    }


def best() -> float:
    """Return the function's highest value."""
    choices = itertools.product(range(1, 10), BLOCKS, SHORTCUTS)
    return max(
        value({"lr": 10 ** best_lr(d, b), "wd": 10**-3.5, "drop": 0.15 + 0.02 * d, "depth": d, "block": b, "short": s})
        for d, b, s in choices
    )


def searched(seed: int) -> dict[str, Any]:
    """Search once; return the regret after the numbers of trials shown, and the mean seconds of the last 100 proposals."""
    noise, sampler = random.Random(seed), gaussian.BoundedGaussianProcess(seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    found, regret, spent = -math.inf, {}, list[float]()
    for number in range(max(SHOWN)):
        reseed(sampler, 1000 * seed + number)
        started = time.process_time()
        trial = study.ask()
        at = decide(trial)
        spent.append(time.process_time() - started)
        study.tell(trial, value(at) + noise.gauss(0, NOISE))
        found = max(found, value(at))
        if number + 1 in SHOWN:
            regret[number + 1] = best() - found
    return {"seed": seed, "regret": regret, "seconds_a_proposal": sum(spent[-100:]) / 100}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(1, 7)))
    parser.add_argument("--optuna", action="store_true", help="Optuna's sampler as it is")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    if arguments.optuna:
        gaussian.FEW = max(SHOWN)
    runs = []
    for seed in arguments.seeds:
        runs.append(run := searched(seed))
        cells = "".join(f"{1000 * regret:8.2f} after {count}" for count, regret in run["regret"].items())
        print(f"seed {seed}: {cells}, {1000 * run['seconds_a_proposal']:.0f} ms a proposal", flush=True)
    write(arguments.out, {"trials": max(SHOWN), "noise": NOISE, "runs": runs})


if __name__ == "__main__":
    main()
