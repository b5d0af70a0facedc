"""Layer 4: the retrainings of an architecture that stand beside its search: what each came to, and its networks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nas.measuring.retraining import Retest, Retraining, retest_of
from nas.study.jobs.kept import kept_files
from nas.study.ledger.known import studies_in
from nas.study.scoring import known_score
from nas.study.study import Study
from nas.values.records import TrainingRecord


@dataclass(frozen=True)
class Retrained:
    """One retraining of an architecture: its title, what it came to, the kept networks."""

    title: str
    retest: Retest
    networks: tuple[Path, ...]


def retrainings(study: Study, found: TrainingRecord, folder: Path) -> list[Retrained]:
    """Return the study's retrainings of one architecture, in the order of their titles; `folder` has the store's networks."""
    about = next(about for about in studies_in(study.storage_url) if about["title"] == study.search.name)
    retrained = []
    for title in sorted(about["beside"]):
        design = about["designs"].get(title, {})
        if "seeds" not in design:
            continue
        one = study.measuring(Retraining.from_dict(design))
        assert isinstance(one.design, Retraining), "as it was written"
        if dict(one.design.base) == dict(found.decisions):
            record = one.record()
            files = kept_files(folder, record, {"train": title})
            retrained.append(Retrained(title, retest_of(record, one.design, kept=known_score(study)), tuple(sorted(files.values()))))
    return retrained
