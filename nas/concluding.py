"""Layer 5: what a finished command leaves: effects or a retest, report, figures, networks, and MLflow brought up to the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nas.measuring.ablation import UNCHANGED
from nas.measuring.of_record import effects_of, results_of
from nas.measuring.retraining import Retest, Retraining, retest_of
from nas.measuring.table import write_results
from nas.outlining import outline
from nas.plugin import NetworkContext
from nas.registry import Registry
from nas.study.jobs.kept import FOLDER, kept_files
from nas.study.retrained import retrainings
from nas.study.scoring import score_best
from nas.study.searching.importances import exploratory_importances
from nas.study.study import Study
from nas.tracking.networks import keep_networks
from nas.tracking.place import store_uri
from nas.tracking.runs import identity
from nas.tracking.tracker import SyncReport, Tracker
from nas.values.effects import Effects
from nas.values.records import StudyRecord, TrainingRecord


@dataclass(frozen=True)
class StudyResult:
    """What a finished command leaves: the record, the effects (None without a measurement), and where the files are."""

    record: StudyRecord
    effects: Effects | None
    report: Path
    tracking_uri: str
    sync: SyncReport
    networks: tuple[Path, ...] = ()
    """The networks that are kept of its trainings: of the search the best one, of what was measured those that were asked for."""


@dataclass(frozen=True)
class TrainResult:
    """What a retraining leaves: the record, what it came to, the kept networks by seed, and how far MLflow is.

    A seed whose training failed has no network.
    """

    record: StudyRecord
    retest: Retest
    networks: tuple[tuple[int, Path], ...]
    tracking_uri: str
    sync: SyncReport


def concluded(study: Study, *, store: Path) -> StudyResult | TrainResult:
    """Conclude a study as what it is."""
    return (conclude_training if isinstance(study.design, Retraining) else conclude)(study, store=store)


def conclude_training(study: Study, *, store: Path, tracker: Tracker | None = None) -> TrainResult:
    """Read what a retraining came to, and bring MLflow up to the ledger, its networks with it."""
    from nas.report import retest

    assert isinstance(study.design, Retraining), "its title says so"
    tracker, record = tracker or Tracker(store_uri(store), store / "artifacts"), study.record()
    found, files = retest_of(record, study.design, kept=_kept_score(study, store)), _files(study, record, store)
    note = "\n".join(("```", *retest.lines(found), "```"))
    sync = _kept_too(study, record, tracker.sync(record, finished=study.is_idle, note=note), store)
    numbers = {identity(t): t.cell.replicate for t in record.measured if t.cell}
    networks = tuple(sorted((numbers[key], file) for key, file in files.items()))
    return TrainResult(record, found, networks, tracker.uri, sync)


def _kept_score(study: Study, store: Path) -> Mapping[str, float]:
    """Return what the search's best network scores on the test split, where it is that of the architecture that was retrained."""
    design, best = study.design, study.with_search().best(1)
    if not isinstance(design, Retraining) or not design.origin.chosen_from or not best:
        return {}
    return score_best(study, store / FOLDER) if dict(best[0].decisions) == dict(design.base) else {}


def conclude(study: Study, *, store: Path, tracker: Tracker | None = None) -> StudyResult:
    """Estimate the effects, write report, figures and raw replicates, and bring MLflow up to the ledger."""
    from nas.report.figures import write_figures  # a second of imports with the page, wanted at the end only
    from nas.report.page import write_report

    tracker = tracker or Tracker(store_uri(store), store / "artifacts")
    tracked, space = study.record(), study.space
    record = tracked if tracked.changes else study.with_search()
    if record.search:
        importances, used = exploratory_importances(study.search)
        record = replace(record, importances=importances, importance_trials=used)
    effects = effects_of(record)
    folder = store / "reports" / record.title
    retests = tuple((one.title, one.retest) for best in record.best(1) for one in retrainings(study, best, store / FOLDER))
    page = write_report(record, effects=effects, diagram=best_diagram(record, space.registry), folder=folder, retests=retests)
    files = [page, *write_figures(record, effects, folder)]
    if effects:
        files.append(folder / "replicates.csv")
        write_results(files[-1], results_of(record), by=effects.by)
    # MLflow keeps every point it is given: an effect is written once its design is complete, not while it grows.
    told = effects if study.is_measured else None
    sync = tracker.sync(tracked, effects=told, artifacts=files, finished=study.is_idle, note=f"The report: `{page}`")
    sync = _kept_too(study, tracked, sync, store)
    return StudyResult(record, effects, page, tracker.uri, sync, tuple(sorted(_files(study, tracked, store).values())))


def _kept_too(study: Study, record: StudyRecord, sync: SyncReport, store: Path) -> SyncReport:
    """Keep the study's networks in MLflow as well, where that took its figures."""
    files = _files(study, record, store)
    if sync.error or not files:
        return sync
    best = next((identity(training) for training in record.best(1)), None)
    return replace(sync, error=keep_networks(store_uri(store), record, files, best=best, artifacts=store / "artifacts"))


def _files(study: Study, record: StudyRecord, store: Path) -> dict[tuple[str, str], Path]:
    return kept_files(store / FOLDER, record, {ledger.phase: ledger.name for ledger in study.ledgers})


def best_diagram(record: StudyRecord, registry: Registry) -> str:
    """Draw the best architecture of a search, or the unchanged one of an ablation, as SVG; '' where none is finished."""
    from nas.report.diagram import draw_architecture

    best = record.best(1) or unchanged_of(record)
    if not best or best[0].configuration is None:
        return ""
    context = NetworkContext(tuple(record.data["input_shape"]), record.data["num_outputs"])
    return draw_architecture(outline(best[0].configuration.architecture, registry, context))


def unchanged_of(record: StudyRecord) -> tuple[TrainingRecord, ...]:
    """Return the finished trainings of an ablation's unchanged architecture."""
    return tuple(t for t in record.measured if record.changes and t.cell and t.cell.level == UNCHANGED and t.configuration)
