"""Layer 5: the whole way, from a space file to the verdict: search, measure, record, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nas.concluding import StudyResult, TrainResult, conclude, conclude_training
from nas.errors import UserError
from nas.measuring.ablation import Ablation
from nas.measuring.retraining import Retraining
from nas.paths import keep_cache_in, store_folder
from nas.registry import discover
from nas.running import Watcher, run
from nas.space import Asked, Space, load_space
from nas.study.aiming import ablation_of, base_of, options_in_space, options_in_study
from nas.study.ledger.storage import default_storage
from nas.study.origins import is_network, study_to_train
from nas.study.study import Study
from nas.values.domains import Setting


def search(
    space: Space | str | Path,
    *,
    store: str | Path | None = None,
    storage: str | None = None,
    plugins: Sequence[str | Path] = (),
    mode: str | None = None,
    workers: int | None = None,
    engine: str = "local",
    new: bool = False,
    keep: bool = False,
    baseline: bool = False,
    watch: Watcher | None = None,
) -> StudyResult:
    """Search a space and, where it has a `measure:` section, measure its factor; go on where an earlier run stopped.

    Args:
        space: a space file or an already loaded Space.
        store: the folder of the results; `./mlflow` by default.
        storage: the ledger's database URL; SQLite in the store by default.
        plugins: folders with further plugins.
        mode: `smoke`, `standard` or `publication`: 3, 10 or 20 replicates instead of the `measure:` section's.
        workers: worker processes; one a core, or one a GPU where there are several, by default.
        engine: where they run: `local`, on this machine, or `ray`, on a Ray cluster.
        new: start a study of its own even where one of the same space is there.
        keep: keep the network of every measured training too, not only the best of the search. It changes no result.
        baseline: train as many trials drawn at random, too, for the report to draw beside the search; from then on they belong to it.
        watch: is told every event while the study runs.

    Raises:
        UserError: the space, a plugin or an argument is wrong.
        StudyError: trainings keep failing, or the ledger cannot be reached. What is finished is kept.
    """
    store = _home(store)
    store.mkdir(parents=True, exist_ok=True)
    loaded = _with_mode(_loaded(space, plugins), mode)
    study = Study.open(loaded, storage or default_storage(store), plugins=plugins, new=new)
    study = study.with_baseline() if baseline else study
    return _train(study, ("search", "measure", "baseline"), store=store, workers=workers, engine=engine, keep=keep, watch=watch)


def measure(
    target: Space | str | Path | None,
    *,
    of: str | None = None,
    architecture: str | Path | None = None,
    asked: Asked | None = None,
    store: str | Path | None = None,
    storage: str | None = None,
    plugins: Sequence[str | Path] = (),
    mode: str | None = None,
    workers: int | None = None,
    engine: str = "local",
    new: bool = False,
    keep: bool = False,
    watch: Watcher | None = None,
) -> StudyResult:
    """Measure a factor with balanced twins, without searching: the `measure:` section's, or what is asked for in its place.

    Args:
        target: a space or space file, whose decisions without a role are drawn anew for each replicate; or a study's title (the
            study that ran last for None), where they are held at the best architecture of its search; or the title of a
            measurement, `STUDY/measure-HASH`, to go on with it.
        of: with a space, the study whose best architecture they are held at.
        architecture: with a space, the JSON file with the architecture they are held at.
        asked: factor, reference, levels and cells, and what is held, in place of the section's.
        store: as for `search`.
        storage: as for `search`.
        plugins: as for `search`.
        mode: as for `search`.
        workers: as for `search`.
        engine: as for `search`.
        new: as for `search`.
        keep: as for `search`.
        watch: as for `search`.

    Raises:
        UserError: an argument is wrong, or nothing says what to measure.
        StudyError: as for `search`.
    """
    asked = asked or Asked()
    asked = replace(asked, replicates=_replicates("measure", mode, asked.replicates))
    store = _home(store)
    url = storage or default_storage(store)
    if isinstance(target, Space) or (target is not None and is_space_file(target)):
        store.mkdir(parents=True, exist_ok=True)
        space = _loaded(target, plugins)
        options = options_in_space(space, asked, base_of(space, of, architecture, url, plugins=plugins))
        study = Study.open(space, url, plugins=plugins, new=new)
    else:
        if of or architecture or new:
            raise UserError("measure: --of, --architecture and --new go with a space file; a study is measured at its own best one")
        study = Study.reopen(str(target) if target else None, url, plugins=plugins)
        options = options_in_study(study, asked)
    return _train(study.aimed(options), ("measure",), store=store, workers=workers, engine=engine, keep=keep, watch=watch)


def ablate(
    target: Space | str | Path | None,
    *,
    settings: Mapping[str, Setting] | None = None,
    references: Mapping[str, Setting] | None = None,
    only: Sequence[str] = (),
    mode: str | None = None,
    replicates: int | None = None,
    smallest_effect: float | None = None,
    store: str | Path | None = None,
    storage: str | None = None,
    plugins: Sequence[str | Path] = (),
    workers: int | None = None,
    engine: str = "local",
    keep: bool = False,
    watch: Watcher | None = None,
) -> StudyResult:
    """Change each decision of one architecture alone and measure what that does; go on where an earlier run stopped.

    Args:
        target: a study's title, for the best architecture of its search (the study that ran last for None); a space or
            space file, for what stands first in it; or the title of an ablation, `STUDY/ablate-HASH`, to go on with it.
        settings: decisions of the unchanged architecture, by path.
        references: the one level to change a decision to, by path; every other level by default.
        only: the decisions to change; all by default.
        mode: `smoke`, `standard` or `publication`: 3, 10 or 20 replicates.
        replicates: how many (seed, split) every change is trained with; by default as in the `measure:` section, or 10.
        smallest_effect: the smallest effect that matters; by default as in the `measure:` section, or 0.01.
        store: as for `search`.
        storage: as for `search`.
        plugins: as for `search`.
        workers: as for `search`.
        engine: as for `search`.
        keep: as for `search`.
        watch: as for `search`.

    Raises:
        UserError: an argument is wrong, or nothing is left to change.
        StudyError: as for `search`.
    """
    replicates = _replicates("ablate", mode, replicates)
    store = _home(store)
    url = storage or default_storage(store)
    if isinstance(target, Space) or (target is not None and is_space_file(target)):
        store.mkdir(parents=True, exist_ok=True)
        study, best = Study.open(_loaded(target, plugins), url, plugins=plugins), False
    else:
        study, best = Study.reopen(str(target) if target else None, url, plugins=plugins), True
    if isinstance(study.design, Retraining):
        raise UserError(f"{study.title} is a retraining; give the study {study.search.name} to ablate its best")
    if isinstance(study.design, Ablation):
        if settings or references or only:
            raise UserError(f"{study.title} is decided already; give the study {study.search.name} for another ablation")
        ablation = study.measuring(study.design.sized(replicates, smallest_effect))
    else:
        fixed, levels = (study.space.with_settings(given or {}) for given in (settings, references))
        ablation = ablation_of(
            study, fixed, best=best, references=levels, only=only, replicates=replicates, smallest_effect=smallest_effect
        )  # fmt: skip
    return _train(ablation, ("ablate",), store=store, workers=workers, engine=engine, keep=keep, watch=watch)


def train(
    target: Space | str | Path | None,
    *,
    settings: Mapping[str, Setting] | None = None,
    architecture: str | Path | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    store: str | Path | None = None,
    storage: str | None = None,
    plugins: Sequence[str | Path] = (),
    workers: int | None = None,
    engine: str = "local",
    watch: Watcher | None = None,
) -> TrainResult:
    """Train one architecture anew from fresh seeds, keep the networks, score each once on the test split; go on where it stopped.

    Nothing is pruned. A training whose process was killed goes on from its last full epoch (on one device).

    Args:
        target: a study's title, for the best architecture of its search (the study that ran last for None); a space or space
            file, for what stands first in it; the id of an MLflow run, of a search or of one training; the file of a kept
            network; or the title of a retraining, `STUDY/train-HASH`, to go on with it.
        settings: decisions of the architecture, by path; with a study or a space.
        architecture: with a space, the JSON file with the architecture.
        seeds: how many; 5 by default. None of them is one of the search's. More of them than before add to those trained.
        epochs: how long each is trained; as the space says by default.
        store: as for `search`.
        storage: as for `search`.
        plugins: as for `search`.
        workers: as for `search`.
        engine: as for `search`.
        watch: as for `search`.

    Raises:
        UserError: an argument is wrong, or there is no such architecture.
        StudyError: as for `search`.
    """
    store = _home(store)
    given = load_space(target, discover(plugins)) if isinstance(target, str | Path) and is_space_file(target) else target
    study = study_to_train(
        given, storage or default_storage(store), store=store, settings=settings or {}, architecture=architecture, seeds=seeds,
        epochs=epochs, plugins=plugins,
    )  # fmt: skip
    store.mkdir(parents=True, exist_ok=True)
    tracker = run(study, ("train",), store=store, workers=workers, engine=engine, watch=watch)
    return conclude_training(study, store=store, tracker=tracker)


def is_space_file(target: str | Path) -> bool:
    """Say whether `target` names a space file rather than a study."""
    return Path(target).suffix in (".yaml", ".yml") or (Path(target).is_file() and not is_network(target))


def _home(store: str | Path | None) -> Path:
    """Return the folder of the results, and keep decoded pictures there from now on."""
    chosen = store_folder(store)
    keep_cache_in(chosen)
    return chosen


def _replicates(command: str, mode: str | None, replicates: int | None) -> int | None:
    """Return how many replicates were asked for, by a mode or a number. Raises UserError for both."""
    if mode and replicates:
        raise UserError(f"{command}: the mode {mode} and {replicates} replicates say the same twice; give one of them")
    return _replicates_of(mode) if mode else replicates


def _replicates_of(mode: str) -> int:
    from nas.measuring.power import MODES  # over a second of imports, seldom wanted

    if mode not in MODES:
        raise UserError(f"mode: must be one of {', '.join(MODES)}, got '{mode}'")
    return MODES[mode]


def _with_mode(space: Space, mode: str | None) -> Space:
    if mode is None:
        return space
    if space.measure is None:
        raise UserError(f"{space.file} has no `measure:` section, whose replicates the mode {mode} sets; add one or leave it out")
    return replace(space, measure=replace(space.measure, replicates=_replicates_of(mode)))


def _loaded(space: Space | str | Path, plugins: Sequence[str | Path]) -> Space:
    return space if isinstance(space, Space) else load_space(space, discover(plugins))


def _train(
    study: Study, phases: Sequence[str], *, store: Path, workers: int | None, engine: str, keep: bool, watch: Watcher | None
) -> StudyResult:  # fmt: skip
    if study.measured and keep != bool(study.measured.about.get("keep")):
        study.measured.note(keep=keep)
    return conclude(study, store=store, tracker=run(study, phases, store=store, workers=workers, engine=engine, watch=watch))
