"""What a trial costs besides its training, when it is the 10th, the 1,000th and the 10,000th of its search.

A worker and a starter, each with a connection of its own as in life, work through a few trials of a search that has so many
trials already. Left out are the training, which is replaced by ten epochs that report a drawn score, and the counting of the network.
What is timed, each the median of the rounds:

    worker    the claim, the decisions written, ten times report and should_prune (median pruner), the outcome told, kept networks looked at
    events    the starter taking up what the worker says, and the line of the progress display
    tick      what the starter does every two seconds: dead workers, the queue topped up, what is owed counted
    recorder  one training written to MLflow, and what has to be looked at to find it

The decision at a gate is timed by itself, without the probe's own time: the score written, and compared with those before it.
Sampling is timed by itself too, for every sampler: a claim and its decisions, less what that costs with `random`, at each size.

Run:  python benchmarks/bookkeeping.py --out benchmarks/results/bookkeeping.json
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ledgers import EPOCHS, differences, fill, finished_trials, outcome_of, space_text
from machine import write
from rich.console import Console

from nas.cli.progress import progress
from nas.registry import Registry, discover
from nas.sampling import sample
from nas.space import parse_space
from nas.study.crew.crew import Crew
from nas.study.ledger.ledger import Ledger
from nas.study.ledger.storage import open_storage
from nas.study.ledger.trials import suggest
from nas.study.run import Run
from nas.study.searching import gating as gates
from nas.study.searching.samplers import make_sampler
from nas.study.study import Study
from nas.study.worker import deciding, worker
from nas.study.worker.desk import Desk, open_desk
from nas.tracking.place import store_uri
from nas.tracking.tracker import Tracker
from nas.values.outcome import Cost

SIZES = (10, 1_000, 10_000)
SAMPLERS = ("tpe", "gp", "cmaes", "nsga2", "evolution", "qmc", "grid", "random")
WARM = 2
AHEAD = 100_000
ROUNDS, GP_ROUNDS = 5, 20
"""Proposals that are timed, by their median; of a Gaussian process as many as share one fit of its kernel, by their mean."""


@contextmanager
def untrained() -> Iterator[None]:
    """Let workers report drawn scores in place of training, and take a network's cost as known."""

    def pretended(job: Any, _registry: Registry, should_stop: Callable[[int, float], bool]) -> Any:
        outcome = outcome_of({"architecture.staged.depth": 9, "architecture.staged.shortcut": "identity"})
        for epoch, value in enumerate(outcome.curves["val_accuracy"]):
            should_stop(epoch, value)
        return outcome

    with patch.object(worker, "run_job", pretended), patch.object(deciding, "cost_of", lambda *_: Cost(8_000, 600_000, 8)):
        yield


class Place:
    """A search with `size` trials less one, a worker and a starter at work on it."""

    def __init__(self, folder: Path, size: int, registry: Registry, trials: list[Any]) -> None:
        folder.mkdir(parents=True)
        self.url, self.registry = f"sqlite:///{folder / 'optuna.db'}", registry
        space = parse_space(space_text(trials=size + AHEAD), "benchmark.yaml", registry)
        fill(Study.open(space, self.url).search, trials[: size - 1])
        self.study = Study.open(space, self.url)
        self.study.driven = ("search",)
        desk = open_desk(open_storage(self.url), self.study.search.name, registry, (), None)
        self.desk = dataclasses.replace(desk, networks=folder / "networks")
        self.run = Run(self.study, [self.study.search], Crew(self.url, capacity=2), None)
        self.tracker = Tracker(store_uri(folder), folder / "artifacts")
        self._take_as_written()
        self.folder, self.checked = folder, False

    def _take_as_written(self) -> None:
        """Let the tracker take all earlier trainings as in MLflow already; writing them is another matter (see report.py)."""
        record = self.study.record()
        self.tracker.sync(dataclasses.replace(record, search=()))
        assert self.tracker._runs, "it was opened"
        self.tracker._runs.done |= {(t.phase, str(t.number)) for t in record.search if t.outcome}

    def one_trial(self, watch: Callable[[Mapping[str, Any], Study], None]) -> dict[str, float]:
        """Take one trial all the way; return the seconds of each part."""
        spent, events = dict[str, float](), list[Mapping[str, Any]]()

        def clocked(name: str, action: Callable[[], Any]) -> Any:
            started = time.perf_counter()
            found = action()
            spent[name] = time.perf_counter() - started
            return found

        def work() -> None:
            trial = self.desk.ledger.claim()
            assert trial is not None, "the starter queued some"
            with worker._Heartbeat(self.desk.ledger, trial):
                worker._run(self.desk, trial, self.registry, events.append)

        def listen() -> None:
            for event in events:
                self.run._note(event)
                watch(event, self.study)

        clocked("tick", self.run._owed)
        clocked("worker", work)
        assert events[-1]["event"] == "finished", events[-1]
        clocked("events", listen)
        report = clocked("recorder", lambda: self.tracker.sync(self.study.record()))
        assert (report.error, report.written) == ("", 1), report
        if not self.checked:
            self.checked = True
            real, filled = (self.desk.ledger.storage.get_trial(i) for i in (events[-1]["trial"], 1))
            assert not list(differences(real, filled)), list(differences(real, filled))
        return spent


def bookkeeping(registry: Registry, folder: Path, rounds: int) -> dict[int, dict[str, float]]:
    """Return the median seconds of each part at each size; the sizes take turns."""
    trials = finished_trials(parse_space(space_text(trials=1), "benchmark.yaml", registry), max(SIZES))
    with untrained(), Path(os.devnull).open("w") as nowhere, progress(Console(file=nowhere)) as watch:
        places = {size: Place(folder / str(size), size, registry, trials) for size in SIZES}
        seen: dict[int, list[dict[str, float]]] = {size: [] for size in SIZES}
        for turn in range(WARM + rounds):
            for size, place in places.items():
                spent = place.one_trial(watch)
                if turn >= WARM:
                    seen[size].append({**spent, "all": sum(spent.values())})
    return {size: {name: statistics.median(row[name] for row in rows) for name in rows[0]} for size, rows in seen.items()}


def gating(registry: Registry, folder: Path, rounds: int) -> dict[int, float]:
    """Return the median seconds in which a gated search looks at a network, at each size, less those of the probe."""
    found, drawn = {}, random.Random(0)
    space = parse_space(space_text(trials=AHEAD, gated=True), "benchmark.yaml", registry)
    trials = finished_trials(space, max(SIZES))
    with patch.object(gates, "_score", lambda *_: drawn.gauss(0, 1)):
        for size in SIZES:
            (folder / str(size)).mkdir(parents=True)
            study = Study.open(space, f"sqlite:///{folder / str(size) / 'optuna.db'}")
            fill(study.search, trials[: size - 1])
            desk = open_desk(open_storage(study.storage_url), study.search.name, registry, (), None)
            found[size] = statistics.median(_looked_at(desk, study, rounds))
    return found


def _looked_at(desk: Desk, study: Study, rounds: int) -> Iterator[float]:
    for turn in range(1 + rounds):
        desk.ledger.queue(study.search_slots(ahead=0)[turn], {})
        trial = desk.ledger.claim()
        assert trial is not None, "it was queued"
        assert desk.gate is not None, "the space has one"
        sampled = sample(desk.space, lambda decision, trial=trial: suggest(trial, decision))  # type: ignore[misc]
        job = deciding.bare_job(desk, sampled.configuration, Cost(1, 1, 1), trial.user_attrs["seed"])
        started = time.perf_counter()
        gates.refuses(desk.gate, desk.ledger, trial, job, study.space.registry)
        spent = time.perf_counter() - started
        desk.ledger.finish(trial, sampled.configuration, outcome_of(trial.params))
        if turn:
            yield spent


def suggesting(registry: Registry, folder: Path, rounds: int) -> dict[str, dict[int, float]]:
    """Return the seconds that each sampler takes for all decisions of one trial, at each size, less those of `random`: see `ROUNDS`."""
    raw: dict[str, dict[int, float]] = {name: {} for name in SAMPLERS}
    for listed in (False, True):
        space = parse_space(space_text(trials=1, listed=listed), "benchmark.yaml", registry)
        trials = finished_trials(space, max(SIZES))
        for size in SIZES:
            path = folder / f"{listed}{size}"
            path.mkdir(parents=True)
            study = Study.open(space, f"sqlite:///{path / 'optuna.db'}")
            fill(study.search, trials[: size - 1])
            for name in SAMPLERS:
                if (name == "grid") == listed:
                    options = dataclasses.replace(space.search, sampler=name)
                    ledger = Ledger(open_storage(study.storage_url), study.search.name, sampler=make_sampler(options, 1))
                    middle, times = (statistics.mean, GP_ROUNDS) if name == "gp" else (statistics.median, rounds)
                    raw[name][size] = middle(_asked(ledger, study, times))
                    print(f"{name} at {size:,}: {1000 * raw[name][size]:.0f} ms with the claim", flush=True)
    return {name: {size: max(seconds - raw["random"][size], 0.0) for size, seconds in raw[name].items()} for name in SAMPLERS[:-1]}


def _asked(ledger: Ledger, study: Study, rounds: int) -> Iterator[float]:
    for turn in range(1 + rounds):
        ledger.queue(study.search_slots(ahead=0)[0], {})
        started = time.perf_counter()
        trial = ledger.claim()
        assert trial is not None, "it was queued"
        sampled = sample(study.space, lambda decision, trial=trial: suggest(trial, decision))  # type: ignore[misc]
        spent = time.perf_counter() - started
        ledger.finish(trial, sampled.configuration, outcome_of(trial.params))
        if turn:
            yield spent


def table(parts: dict[int, dict[str, float]], gate: dict[int, float], samplers: dict[str, dict[int, float]]) -> Iterator[str]:
    """Yield the table: milliseconds a trial at each size, and how many times those at the smallest."""
    yield f"{'ms a trial':18}" + "".join(f"{f'trial {size:,}':>14}" for size in SIZES) + "     times trial 10"
    for name in parts[SIZES[0]]:
        row = {size: parts[size][name] for size in SIZES}
        yield f"{name:18}" + _cells(row) + f"{row[SIZES[-1]] / row[SIZES[0]]:19.2f}"
    yield f"{'gate':18}" + _cells(gate) + f"{gate[SIZES[-1]] / gate[SIZES[0]]:19.2f}"
    for name, row in samplers.items():
        yield f"{'sampler ' + name:18}" + _cells(row)


def _cells(row: Mapping[int, float]) -> str:
    return "".join(f"{1000 * row[size]:14.1f}" if size in row else f"{'-':>14}" for size in SIZES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-samplers", action="store_true")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    registry = discover()
    with tempfile.TemporaryDirectory() as name:
        parts = bookkeeping(registry, Path(name) / "trials", arguments.rounds)
        gate = gating(registry, Path(name) / "gate", arguments.rounds)
        samplers = {} if arguments.no_samplers else suggesting(registry, Path(name) / "samplers", ROUNDS)
    print("\n".join(table(parts, gate, samplers)))
    ratio = parts[SIZES[-1]]["all"] / parts[SIZES[0]]["all"]
    write(arguments.out, {"rounds": arguments.rounds, "epochs": EPOCHS, "seconds": parts, "gate_seconds": gate, "sampler_seconds": samplers,
                          "ratio_of_largest_to_smallest": ratio})  # fmt: skip


if __name__ == "__main__":
    main()
