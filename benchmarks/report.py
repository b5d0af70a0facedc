"""How long the report of a large study takes, and how large its page is: 10,000 search trials and 60 measured twins.

The study lies in a ledger on SQLite as if it had been trained. Timed are the parts of `nas report`: reading the ledger, the
importances, the effects, the page, the figures. `--sync N` also writes N of the trainings to an MLflow on SQLite, as `nas sync` would,
and says the time a run takes in the first and in the last quarter. `--profile` says where the time goes.

Run:  python benchmarks/report.py --out benchmarks/results/report.json
"""

from __future__ import annotations

import argparse
import cProfile
import dataclasses
import pstats
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ledgers import fill, finished_trials, outcome_of, space_text
from machine import write

from nas.concluding import best_diagram
from nas.measuring.of_record import effects_of
from nas.registry import Registry, discover
from nas.report.figures import write_figures
from nas.report.page import write_report
from nas.space import parse_space
from nas.study.ledger.storage import default_storage
from nas.study.searching.importances import exploratory_importances
from nas.study.sharing import _tell
from nas.study.study import Study
from nas.tracking.place import store_uri
from nas.tracking.tracker import Tracker
from nas.values.records import StudyRecord

TRIALS = 10_000
MEASURE = """
measure:
  factor: architecture.staged.shortcut
  reference: none
  levels: [identity]
  by: {architecture.staged.depth: [1, 3, 9]}
  hold: {architecture.staged.block: basic}
  replicates: 10
  smallest_effect: 0.01
"""


def filled(folder: Path, registry: Registry) -> str:
    """Make the study's ledger in `folder`; return its address."""
    space = parse_space(space_text(trials=TRIALS) + MEASURE, "benchmark.yaml", registry)
    study = Study.open(space, default_storage(folder))
    fill(study.search, finished_trials(space, TRIALS))
    assert study.measured is not None, "the space has a measurement"
    for number, planned in enumerate(study.owed_trainings()):
        outcome = outcome_of(dict(planned.sample.decisions))
        tested = dataclasses.replace(outcome, metrics={**outcome.metrics, "test_accuracy": outcome.score})
        _tell(study.measured, planned, (), "another study", number, tested)
    return study.storage_url


def timed(url: str, folder: Path) -> tuple[dict[str, float], StudyRecord, Path]:
    """Do what `nas report` does; return the seconds of each part, the record and the page."""
    spent: dict[str, float] = {}

    def clocked(name: str, action: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        found = action()
        spent[name] = time.perf_counter() - started
        return found

    study: Study = clocked("ledger", lambda: Study.reopen(None, url))
    record: StudyRecord = clocked("record", study.with_search)
    importances, used = clocked("importances", lambda: exploratory_importances(study.search))
    record = dataclasses.replace(record, importances=importances, importance_trials=used)
    effects = clocked("effects", lambda: effects_of(record))
    diagram = clocked("diagram", lambda: best_diagram(record, study.space.registry))
    page = clocked("page", lambda: write_report(record, effects=effects, diagram=diagram, folder=folder))
    clocked("figures", lambda: write_figures(record, effects, folder))
    assert (len(record.search), len(record.measured)) == (TRIALS, 60), (len(record.search), len(record.measured))
    return {**spent, "all": sum(spent.values())}, record, page


def synced(record: StudyRecord, count: int, folder: Path) -> dict[str, float]:
    """Write `count` trainings to a new MLflow, a tenth of them at a time; return seconds a run, and those of the ends."""
    tracker, seconds = Tracker(store_uri(folder), folder / "artifacts"), []
    tracker.sync(dataclasses.replace(record, search=(), measured=()))
    for upto in range(count // 10, count + 1, count // 10):
        started = time.perf_counter()
        report = tracker.sync(dataclasses.replace(record, search=record.search[:upto], measured=()))
        assert (report.written, report.error) == (count // 10, ""), report
        seconds.append((time.perf_counter() - started) / (count // 10))
    return {"runs": count, "s_a_run": statistics.mean(seconds), "first_tenth_s_a_run": seconds[0], "last_tenth_s_a_run": seconds[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sync", type=int, default=0, metavar="N", help="write N trainings to MLflow too")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as name:
        url = filled(Path(name), discover())
        profile = cProfile.Profile()
        if arguments.profile:
            profile.enable()
        rows = []
        for turn in range(arguments.rounds):
            spent, record, page = timed(url, Path(name) / f"report{turn}")
            rows.append(spent)
        profile.disable()
        size = page.stat().st_size / 1e6
        sync = synced(record, arguments.sync, Path(name) / "store") if arguments.sync else {}
    medians = {part: statistics.median(row[part] for row in rows) for part in rows[0]}
    print(f"the report of {TRIALS:,} trials and 60 measured trainings, seconds:")
    print(", ".join(f"{part} {seconds:.2f}" for part, seconds in medians.items()), f"; the page {size:.2f} MB")
    if sync:
        print(", ".join(f"{what} {figure:.4g}" for what, figure in sync.items()))
    if arguments.profile:
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
    write(arguments.out, {"trials": TRIALS, "rounds": arguments.rounds, "seconds": medians, "page_mb": size, "mlflow": sync})


if __name__ == "__main__":
    main()
