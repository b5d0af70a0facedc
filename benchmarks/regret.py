"""How much is lost by stopping a search early: simple regret by number of trainings, every sampler against random search.

First a small space is trained in full, once, by the framework's own search with the sampler `grid`; that is the table, kept as JSON
beside this file's figures. Then every sampler searches the table, many times over, from fresh seeds: what it proposes goes through the
framework's sampling and its own samplers, and the score comes from the table in place of a training. Simple regret is the table's
best validation accuracy less the best one found so far. A configuration that is proposed again counts as one more training.

One seed a configuration: the table is one landscape, noise and all, and what is best in it is partly luck.

Run:  python benchmarks/regret.py --train --workers 2     # the table; it goes on where it was interrupted
      python benchmarks/regret.py --out benchmarks/results/regret.json
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import optuna
from machine import machine, write

from nas.registry import discover
from nas.sampling import sample
from nas.space import Space, load_space, parse_space
from nas.study.ledger.trials import suggest
from nas.study.searching.samplers import make_sampler
from nas.values.architecture import write as as_text

TABLE = Path(__file__).resolve().parent / "results" / "regret_table.json"
STORE = Path("regret_store")
SIZE = 96
SPACE = """
name: regret
data: digits
architecture:
  staged:
    stem: conv3x3
    widths: {choices: [[4, 8], [8, 16], [16, 32]]}
    depth: {int: [1, 4]}
    block: {choices: [basic, bottleneck]}
    shortcut: {choices: [none, identity]}
train:
  epochs: 4
  batch_size: 128
  optimizer: {sgd: {lr: {choices: [0.01, 0.1]}, momentum: 0.9, weight_decay: 5.0e-4}}
search: {trials: 96, maximize: val_accuracy, sampler: SAMPLER, pruner: none}
"""
SAMPLERS = {"random": 400, "tpe": 100, "gp": 20, "cmaes": 200, "nsga2": 400, "evolution": 400, "qmc": 200, "grid": 200}
"""Repetitions of each: fewer of what takes long."""
SHOWN = (5, 10, 20, 30, 48)
TRAININGS = max(SHOWN)


def key_of(decisions: Mapping[str, Any]) -> str:
    """Return what a configuration is found by in the table."""
    return ", ".join(f"{path}={as_text(value)}" for path, value in sorted(decisions.items()))


def train(workers: int) -> None:
    """Train the whole space with the framework's search, and write the table."""
    from nas.workflow import search

    STORE.mkdir(exist_ok=True)
    file = STORE / "regret.yaml"
    file.write_text(SPACE.replace("SAMPLER", "grid"))
    started = time.time()
    result = search(load_space(file, discover()), store=STORE, workers=workers, watch=lambda event, _study: tell(event))
    scores = {key_of(dict(t.decisions)): t.outcome.score for t in result.record.search if t.outcome}
    if len(scores) != SIZE:
        raise SystemExit(f"{len(scores)} of {SIZE} configurations were trained; run it again")
    print(f"{SIZE} configurations in {time.time() - started:.0f} s of this run")
    TABLE.write_text(json.dumps({"space": SPACE, "machine": machine(), "scores": scores}, indent=1) + "\n")


def tell(event: Mapping[str, Any]) -> None:
    if event["event"] == "finished":
        print(".", end="", flush=True)


def searched(space: Space, scores: Mapping[str, float], seed: int) -> list[float]:
    """Search the table once; return the regret after each training."""
    study = optuna.create_study(direction="maximize", sampler=make_sampler(space.search, seed, shared_seed=seed))
    best, found, regrets = max(scores.values()), -math.inf, []
    for _ in range(TRAININGS):
        trial = study.ask()
        decisions = dict(sample(space, lambda decision, trial=trial: suggest(trial, decision)).decisions)  # type: ignore[misc]
        score = scores[key_of(decisions)]
        study.tell(trial, score)
        found = max(found, score)
        regrets.append(best - found)
    return regrets


def summary(runs: list[list[float]]) -> dict[str, Any]:
    """Return the mean regret with its 95% interval (normal) at the numbers shown, and how often the best had been found."""
    rows = {}
    for n in SHOWN:
        values = [run[n - 1] for run in runs]
        half = 1.96 * statistics.stdev(values) / math.sqrt(len(values))
        mean = statistics.mean(values)
        rows[n] = {"mean": mean, "low": mean - half, "high": mean + half, "found_best": statistics.mean(v == 0 for v in values)}
    return {"repetitions": len(runs), "regret": rows}


def against_random(found: dict[str, dict[str, Any]]) -> None:
    """Add each sampler's mean regret as a ratio to random search's."""
    for rows in found.values():
        rows["ratio_to_random"] = {n: rows["regret"][n]["mean"] / found["random"]["regret"][n]["mean"] for n in SHOWN}


def table(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the table: regret in points with half its interval, and times random search's."""
    yield f"{'regret, points':12}{'repetitions':>12}" + "".join(f"{f'after {n}':>24}" for n in SHOWN)
    for name, rows in found.items():
        cells = []
        for n in SHOWN:
            row = rows["regret"][n]
            cells.append(f"{100 * row['mean']:.2f} ± {50 * (row['high'] - row['low']):.2f} ({rows['ratio_to_random'][n]:.2f} ×)")
        yield f"{name:14}{rows['repetitions']:12}" + "".join(f"{cell:>24}" for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train the table")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    if arguments.train:
        train(arguments.workers)
        return
    warnings.filterwarnings("ignore")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    scores, registry, found = json.loads(TABLE.read_text())["scores"], discover(), {}
    for name, repetitions in SAMPLERS.items():
        space = parse_space(SPACE.replace("SAMPLER", name), "regret.yaml", registry)
        started = time.time()
        found[name] = summary([searched(space, scores, 1000 + seed) for seed in range(repetitions)])
        found[name]["seconds_a_proposal"] = (time.time() - started) / repetitions / TRAININGS
    against_random(found)
    print("\n".join(table(found)))
    ordered = sorted(scores.values())
    about = {"configurations": SIZE, "best": ordered[-1], "median": statistics.median(ordered), "trainings": TRAININGS}
    write(arguments.out, {"table": about, "samplers": found})


if __name__ == "__main__":
    main()
