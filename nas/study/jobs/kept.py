"""Layer 4: where a store keeps trained networks, and which: the best of a search, or its front, and measured ones that are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nas.keeping import SUFFIX
from nas.study.ledger.ledger import Ledger
from nas.values.records import Phase, StudyRecord

FOLDER = "networks"


def network_file(folder: Path, ledger: str, name: str) -> Path:
    """Return where a network lies, by its trial's number or, trained anew, its slot's name: `networks/STUDY/7.pt`."""
    return folder / ledger / f"{name}{SUFFIX}"


def checkpoint_file(folder: Path, ledger: str, slot: str) -> Path:
    """Return where the middle of a slot's training lies, whichever trial of it trains."""
    return folder / ledger / f"{slot}.checkpoint"


def best_file(folder: Path, ledger: Ledger) -> Path | None:
    """Return the network of a search's best trial; None where none was kept here."""
    best = ledger.best_number()
    if best is None:
        return None
    file = network_file(folder, ledger.name, str(best))
    return file if file.exists() else None


def kept_files(folder: Path, record: StudyRecord, ledgers: Mapping[Phase, str]) -> dict[tuple[str, str], Path]:
    """Return the networks that a store has of a study's trainings, by phase and number; `ledgers` name each phase's queue."""
    found: dict[tuple[str, str], Path] = {}
    for training in (*record.search, *record.measured):
        if training.phase not in ledgers:
            continue
        replicate = f"s{training.cell.replicate}" if training.cell and training.phase == "train" else ""
        file = network_file(folder, ledgers[training.phase], replicate or str(training.number))
        if training.state == "complete" and file.exists():
            found[training.phase, str(training.number)] = file
    return found


def keep_best_alone(folder: Path, ledger: Ledger) -> None:
    """Remove the networks of trials that are told, or ended without an outcome, and are not the best, or on the front.

    A network is written before its trial is told, of one with several seeds long before.
    """
    finished = ledger.finished
    best, ended = {trial.number for trial in finished.front}, finished.ended
    for file in (folder / ledger.name).glob(f"*{SUFFIX}"):
        if file.stem.isdigit() and int(file.stem) in ended and int(file.stem) not in best:
            file.unlink(missing_ok=True)
