"""Layer 4: the architecture that is trained anew: of a space, a study's best, one training of MLflow's, a kept network's file."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nas.errors import UserError
from nas.keeping import read_about
from nas.measuring.ablation import decide
from nas.measuring.retraining import DEFAULT_SEEDS, Origin, Retraining
from nas.plugin import Task
from nas.registry import discover
from nas.sampling import refuse_unused
from nas.space import Space, parse_space
from nas.space.written_out import written_out
from nas.study.aiming import base_from_file, best_of
from nas.study.ledger.known import studies_in
from nas.study.study import Study
from nas.tracking.networks import fetch_network, is_run, tags_of
from nas.tracking.place import kept_uri
from nas.tracking.runs import identity
from nas.values.architecture import Configuration
from nas.values.domains import Scalar, Setting
from nas.values.records import TrainingRecord

Decisions = Mapping[str, Scalar]


def is_network(target: str | Path) -> bool:
    """Say whether `target` is a file of `torch.save`, as kept networks are."""
    return Path(target).is_file() and zipfile.is_zipfile(target)


def study_to_train(
    target: Space | str | Path | None, storage_url: str, *, store: Path, settings: Mapping[str, Setting], architecture: str | Path | None,
    seeds: int | None, epochs: int | None, plugins: Sequence[str | Path],
) -> Study:  # fmt: skip
    """Return the retraining of what `target` names: a space, a kept network's file, the id of one of MLflow's runs in `store`, a title.

    `seeds` is `DEFAULT_SEEDS` for None, or what a retraining that is there already has. Raises UserError where there is no such
    architecture, or an argument does not go with what is named.
    """
    if architecture and not isinstance(target, Space):
        raise UserError("train: --architecture goes with a space file, whose recipe and data it is trained with")
    count = seeds or DEFAULT_SEEDS
    if isinstance(target, Space):
        return _of_space(target, storage_url, settings, architecture, count, epochs, plugins)
    if target is not None and (is_network(target) or is_run(str(target))):
        if settings:
            raise UserError("train: --set goes with a space file or a study; a run and a kept network have decided everything")
        if is_network(target):
            return _of_file(Path(target), storage_url, count, epochs, plugins, told=f"the network of {target}")
        return _of_run(str(target), storage_url, kept_uri(store), count, epochs, plugins)
    study = Study.reopen(str(target) if target else None, storage_url, plugins=plugins)
    if not isinstance(study.design, Retraining):
        return _of_study(study, settings, count, epochs)
    if settings or epochs not in (None, study.design.epochs):
        raise UserError(f"{study.title} is decided already; give the study {study.search.name} for another retraining")
    return study.measuring(replace(study.design, seeds=seeds)) if seeds else study


def _of_space(
    space: Space, storage_url: str, settings: Mapping[str, Setting], architecture: str | Path | None, seeds: int, epochs: int | None,
    plugins: Sequence[str | Path],
) -> Study:  # fmt: skip
    """Return the retraining of what stands first in a space, under the architecture of a JSON file and `settings`."""
    chosen = space.with_settings(settings)
    fixed = {**(base_from_file(space, architecture) if architecture else {}), **chosen}
    refuse_unused(chosen, decide(space, fixed), space)
    told = f"the architecture of {architecture}" if architecture else f"what stands first in {space.file}"
    told += f", with {_listed(settings)}" if settings else ""
    return _retraining(Study.open(space, storage_url, plugins=plugins), fixed, Origin(told), seeds, epochs)


def _of_study(study: Study, settings: Mapping[str, Setting], seeds: int, epochs: int | None) -> Study:
    """Return the retraining of the best architecture of a study's search, under `settings`."""
    best, space = best_of(study), study.space
    made, fixed = dict(best.decisions), space.with_settings(settings)
    base = {**made, **fixed}
    refuse_unused(fixed, decide(space, base), space)
    if changed := {path: text for path, text in settings.items() if made.get(path) != fixed[path]}:
        return _retraining(study, base, Origin(f"the best of {study.search.name} with {_listed(changed)}"), seeds, epochs)
    told = study.search.count_told()
    origin = _origin(f"trial {best.number}, the best of {told} in {study.search.name}", best, space)
    return _retraining(study, base, replace(origin, chosen_from=told), seeds, epochs)


def _of_run(run: str, storage_url: str, uri: str, seeds: int, epochs: int | None, plugins: Sequence[str | Path]) -> Study:
    """Return the retraining of what an MLflow run trained; of a search's run, of its best.

    A run whose study is not in the ledger is read from the network that it keeps.
    """
    tags = tags_of(uri, run)
    title, phase = tags.get("nas.study", ""), tags.get("nas.phase", "")
    if title.partition("/")[0] not in {about["title"] for about in studies_in(storage_url)}:
        with tempfile.TemporaryDirectory() as folder:
            file = fetch_network(uri, run, Path(folder))
            if file is None:
                raise UserError(f"run {run}: the ledger {storage_url} has no study '{title}', and the run keeps no network")
            return _of_file(file, storage_url, seeds, epochs, plugins, told=f"the network of run {run}")
    study = Study.reopen(title, storage_url, plugins=plugins)
    if phase == "study":
        if study.is_beside:
            raise UserError(f"run {run}: is that of {title}, which is no search; name the run of one of its trainings, or a study")
        return _of_study(study, {}, seeds, epochs)
    found = next((t for t in study.record().trainings if identity(t) == (phase, tags.get("nas.number"))), None)
    if found is None or found.configuration is None:
        raise UserError(f"run {run}: {title} has no such training with a configuration; it never got as far as being built")
    space, decisions = study.space, dict(found.decisions)
    origin = _origin(f"{phase} training {found.number} of {title}", found, space)
    if decide(space, decisions).configuration == found.configuration:
        return _retraining(Study.reopen(study.search.name, storage_url, plugins=plugins), decisions, origin, seeds, epochs)
    # The widths of a matched reference, another number of epochs: the space does not lead there.
    text = _written_out(found.configuration, space.seed, space.search.objective, maximize=space.search.direction == "maximize")
    alone = parse_space(text, space.file, space.registry)
    return _retraining(Study.open(alone, storage_url, plugins=study.plugins), {}, origin, seeds, epochs)


def _of_file(file: Path, storage_url: str, seeds: int, epochs: int | None, plugins: Sequence[str | Path], *, told: str) -> Study:
    """Return the retraining of a kept network's architecture and recipe, on its data: all of it stands in the file."""
    about, registry = read_about(file), discover(plugins)
    task = registry.find("task", about.configuration.task.name).cls
    assert issubclass(task, Task), "its kind says so"
    objective = f"val_{task.metrics[0].name}"
    text = _written_out(about.configuration, about.split_seed, objective, maximize=task.metrics[0].direction == "maximize")
    score = dict(about.figures).get(objective)
    origin = Origin(told, objective if score is not None else "", score)
    return _retraining(Study.open(parse_space(text, str(file), registry), storage_url, plugins=plugins), {}, origin, seeds, epochs)


def _written_out(configuration: Configuration, seed: int, objective: str, *, maximize: bool) -> str:
    return written_out(configuration, name=configuration.architecture.network.name, seed=seed, objective=objective, maximize=maximize)


def _origin(told: str, training: TrainingRecord, space: Space) -> Origin:
    """Return where a training stands, with its score in the metric that the search is for."""
    objective, outcome = space.search.objective, training.outcome
    if outcome is None:
        return Origin(told)
    score = outcome.score if training.phase == "search" else outcome.metrics.get(objective)
    seeds = max(len(outcome.seed_scores), 1)
    return Origin(told, objective, score, epochs=outcome.num_epochs, seeds=seeds) if score is not None else Origin(told)


def _retraining(study: Study, base: Decisions, origin: Origin, seeds: int, epochs: int | None) -> Study:
    """Return the study with a retraining as its design. Raises UserError where the architecture breaks the space's constraints."""
    space = study.space
    decided = decide(space, base)
    if not study.fits(decided.configuration):
        raise UserError(f"{origin.told}: breaks {' or '.join(map(str, space.constraints))}; decide otherwise with --set")
    metric = f"test_{space.search.objective.partition('_')[2]}"
    vectorise = space.measure.vectorise if space.measure else 1
    return study.measuring(Retraining(decided.decisions, seeds, metric, space.search.direction, origin, epochs, vectorise))


def _listed(settings: Mapping[str, Setting]) -> str:
    return ", ".join(f"{path}={value}" for path, value in settings.items())
