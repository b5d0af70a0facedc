"""Layer 5: how the best architecture of a search stands: its score there, what fresh seeds say, where its networks lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.outlining import outline
from nas.paths import keep_cache_in, store_folder
from nas.study.aiming import best_of
from nas.study.jobs.kept import FOLDER, best_file
from nas.study.jobs.materials import context_of
from nas.study.ledger.storage import default_storage
from nas.study.retrained import Retrained, retrainings
from nas.study.study import Study
from nas.values.front import fronts_document
from nas.values.outline import LayerRow
from nas.values.records import StudyRecord, TrainingRecord


@dataclass(frozen=True)
class Standing:
    """The best trial of a search, of `chosen_from`; its retrainings, its own kept network (None without one), its layers."""

    record: StudyRecord
    best: TrainingRecord
    chosen_from: int
    retrained: tuple[Retrained, ...]
    network: Path | None
    rows: tuple[LayerRow, ...]
    input_shape: tuple[int, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        best = self.best
        assert best.outcome is not None, "the best trial has its outcome"
        assert best.configuration is not None, "the best trial has its configuration"
        cost = best.outcome.cost
        return {
            "study": self.record.title,
            "number": best.number,
            "metric": self.record.objective,
            "score": best.outcome.score,
            "seed_scores": list(best.outcome.seed_scores),
            "chosen_from": self.chosen_from,
            "decisions": dict(best.decisions),
            "architecture": best.configuration.architecture.to_dict(),
            "key": best.configuration.architecture.key,
            "parameters": cost.parameters,
            "macs": cost.macs,
            "num_layers": cost.num_layers,
            "front": fronts_document(self.record),
            "network": str(self.network) if self.network else None,
            "retrained": [
                {"study": r.title, **r.retest.to_dict(), "networks": [str(file) for file in r.networks]} for r in self.retrained
            ],
        }  # fmt: skip


def best(
    study: str | None = None, *, store: str | Path | None = None, storage: str | None = None, plugins: Sequence[str | Path] = ()
) -> Standing:
    """Return how the best architecture of a study's search stands; of the study that ran last for None.

    Raises UserError where there is no such study, or its search has no finished trial.
    """
    place = store_folder(store)
    keep_cache_in(place)
    url = storage or default_storage(place)
    opened = Study.reopen(study.partition("/")[0] if study else None, url, plugins=plugins)
    found, space = best_of(opened), opened.space
    assert found.configuration is not None, "best_of returns trained ones"
    context = context_of(space, found.configuration)
    return Standing(
        opened.record(),
        found,
        opened.search.count_told(),
        tuple(retrainings(opened, found, place / FOLDER)),
        best_file(place / FOLDER, opened.search),
        outline(found.configuration.architecture, space.registry, context),
        context.input_shape,
    )
