"""Layer 5: the small Python interface around a space: load it, decide it, build it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.building import build as build_network
from nas.errors import UserError
from nas.keeping import KeptNetwork, read_network
from nas.paths import store_folder
from nas.plugin import Network
from nas.registry import discover
from nas.sampling import Sample, first_choice, fixing, refuse_unused, sample
from nas.space import Space
from nas.space import load_space_with as load
from nas.study.jobs.kept import FOLDER, best_file
from nas.study.jobs.materials import context_of
from nas.study.ledger.storage import default_storage
from nas.study.study import Study
from nas.tracking.networks import fetch_network, is_run
from nas.tracking.place import kept_uri
from nas.values.domains import Setting


def load_space(
    file: str | Path, *, plugins: Sequence[str | Path] = (), data: str | None = None, data_options: Mapping[str, str] | None = None
) -> Space:
    """Read and check a space file with the shipped plugins, those of `./plugins`, and those of the folders `plugins`.

    `data`, a name or YAML, replaces the file's data set; `data_options` are set in it, or in the file's own.
    Raises SpaceError with file, line, path, rule and value for anything wrong in it, PluginError for a faulty plugin.
    """
    return load(file, discover(plugins), data=data, options=data_options)


def load_network(
    source: str | Path, *, store: str | Path | None = None, storage: str | None = None, plugins: Sequence[str | Path] = ()
) -> KeptNetwork:
    """Return a trained network, in eval mode, that takes inputs as its data set gives them.

    Args:
        source: a kept file, the title of a study (for the best network of its search), or the id of an MLflow run, of a study
            or of one training.
        store: the folder of the results; `./mlflow` by default.
        storage: the ledger's database URL; SQLite in the store by default.
        plugins: folders with further plugins, beside those that a study was run with.

    Raises:
        UserError: there is no such network, its file cannot be read, or the plugins here build another one of it.
    """
    place = store_folder(store)
    if Path(source).is_file():
        return read_network(Path(source), discover(plugins))
    if is_run(str(source)):
        with tempfile.TemporaryDirectory() as folder:
            found = fetch_network(kept_uri(place), str(source), Path(folder))
            if found is None:
                raise UserError(f"run {source}: it keeps no network; the best trial of a search has one, and the run of its study")
            return read_network(found, discover(plugins))
    study = Study.reopen(str(source), storage or default_storage(place), plugins=plugins)
    if study.design and study.design.phase == "train":
        raise UserError(f"{study.title}: has a network a seed; name the file of one, in {place / FOLDER / study.title}")
    best = best_file(place / FOLDER, study.search)
    if best is None:
        raise UserError(
            f"{study.title}: {place / FOLDER} has no network of it; it lies in the store of the worker that trained it, and "
            f"`nas train {study.title}` trains its architecture anew and keeps the networks here"
        )
    return read_network(best, study.space.registry)


def decide(space: Space, settings: Mapping[str, Setting] | None = None) -> Sample:
    """Decide a space: `settings` where given, what stands first elsewhere. Raises SpaceError for a wrong path or value."""
    fixed = space.with_settings(settings or {})
    decided = sample(space, fixing(fixed, first_choice))
    refuse_unused(fixed, decided, space)
    return decided


def build(space: Space | str | Path, settings: Mapping[str, Setting] | None = None, *, seed: int = 0) -> Network:
    """Build one network of a space: `settings` gives decisions by path, the others take what stands first.

    Returns a torch module (B, C, H, W) -> (B, num_outputs) with initial values keyed by (`seed`, parameter path).
    Raises SpaceError for a wrong path or value.
    """
    loaded = space if isinstance(space, Space) else load_space(space)
    decided = decide(loaded, settings)
    context = context_of(loaded, decided.configuration)
    return build_network(decided.configuration.architecture, loaded.registry, context, seed=seed)
