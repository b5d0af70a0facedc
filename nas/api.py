"""Layer 5: the small Python interface around a space: load it, decide it, build it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nas.building import build as build_network
from nas.plugin import Network
from nas.registry import discover
from nas.sampling import Sample, first_choice, fixing, refuse_unused, sample
from nas.space import Space
from nas.space import load_space_with as load
from nas.study.materials import context_of
from nas.values.domains import Scalar


def load_space(
    file: str | Path, *, plugins: Sequence[str | Path] = (), data: str | None = None, data_options: Mapping[str, str] | None = None
) -> Space:
    """Read and check a space file with the shipped plugins, those of `./plugins`, and those of the folders `plugins`.

    `data`, a name or YAML, replaces the file's data set; `data_options` are set in it, or in the file's own.
    Raises SpaceError with file, line, path, rule and value for anything wrong in it, PluginError for a faulty plugin.
    """
    return load(file, discover(plugins), data=data, options=data_options)


def decide(space: Space, settings: Mapping[str, Scalar] | None = None) -> Sample:
    """Decide a space: `settings` where given, what stands first elsewhere. Raises SpaceError for a wrong path or value."""
    fixed = space.with_settings({path: str(value) for path, value in (settings or {}).items()})
    decided = sample(space, fixing(fixed, first_choice))
    refuse_unused(fixed, decided, space)
    return decided


def build(space: Space | str | Path, settings: Mapping[str, Scalar] | None = None, *, seed: int = 0) -> Network:
    """Build one network of a space: `settings` gives decisions by path, the others take what stands first.

    Returns a torch module (B, C, H, W) -> (B, num_outputs) with initial values keyed by (`seed`, parameter path).
    Raises SpaceError for a wrong path or value.
    """
    loaded = space if isinstance(space, Space) else load_space(space)
    decided = decide(loaded, settings)
    context = context_of(loaded, decided.configuration)
    return build_network(decided.configuration.architecture, loaded.registry, context, seed=seed)
