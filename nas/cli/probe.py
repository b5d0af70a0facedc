"""Layer 6: `nas probe`: one network, of a space or kept, measured with one probe."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from nas.cli.options import json_option, plugins_option, print_json, set_option, storage_option, store_option
from nas.errors import UserError

if TYPE_CHECKING:
    from nas.plugin import Probe
    from nas.registry import Registry

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 80
SPACE_SUFFIXES = (".yaml", ".yml")


@click.command("probe")
@click.argument("name", metavar="NAME")
@click.argument("target", metavar="SPACE|FILE|STUDY|RUN")
@set_option
@click.option("--seed", type=int, help="The seed of the training and of the split, where one is trained; 0 by default.")
@store_option
@storage_option
@plugins_option
@json_option
def command(
    name: str, target: str, settings: dict[str, str], seed: int | None, store: Path | None, storage: str | None,
    plugins: tuple[str, ...], as_json: bool,
) -> None:  # fmt: skip
    """Measure one network with the probe NAME: one of a space file, trained for it now, or one that was kept.

    NAME is a probe, or a probe with parameters as a space file writes them. Of SPACE the network that stands first is trained,
    with the decisions of --set. A kept network is a FILE of `networks/` in the store, the best of a STUDY's search, or what an
    MLflow RUN keeps. Nothing is recorded; list probes under `probes:` in a space file to have them measured and recorded with
    every training.

    \b
    Example:
      nas probe lesion search_spaces/residual.yaml --set architecture.staged.depth=3
      nas probe '{lesion: {counts: [1, 2, 4]}}' residual-digits-9738de0a
    """
    if Path(target).suffix in SPACE_SUFFIXES:
        _trained(name, target, settings, seed or 0, plugins, as_json)
        return
    if settings or seed is not None:
        raise UserError("probe: --set and --seed go with a space file; a network that was kept is measured as it is")
    _kept(name, target, store, storage, plugins, as_json)


def _trained(name: str, space: str, settings: dict[str, str], seed: int, plugins: tuple[str, ...], as_json: bool) -> None:
    """Train the network that stands first in a space, and measure it."""
    from nas.api import load_space
    from nas.errors import StudyError
    from nas.space import parse_probe
    from nas.study.probing import probe_space

    loaded = load_space(space, plugins=plugins)
    node = parse_probe(name, loaded.registry)
    decided, outcome = probe_space(loaded, node, settings=loaded.with_settings(settings), seed=seed)
    if as_json:
        print_json({"probe": node.to_dict(), "decisions": dict(decided.decisions), "seed": seed, **outcome.to_dict()})
    else:
        for path, value in decided.decisions:
            click.echo(f"{path} = {value}")
        scored = ", ".join(f"{metric} {value:.4g}" for metric, value in outcome.metrics.items() if metric.startswith("test_"))
        click.echo(f"trained for {outcome.num_epochs} epochs: {scored}{f' ({outcome.failure})' if outcome.failure else ''}\n")
    if node.name in outcome.errors:
        raise StudyError(f"the probe '{node.name}' could not measure this network: {outcome.errors[node.name].strip()}")
    if not as_json:
        for line in told(node.name, loaded.registry, outcome.metrics, outcome.series, outcome.words.get(node.name, "")):
            click.echo(line)


def _kept(name: str, source: str, store: Path | None, storage: str | None, plugins: tuple[str, ...], as_json: bool) -> None:
    """Measure a network that was kept."""
    from nas.api import load_network
    from nas.registry import discover
    from nas.space import parse_probe
    from nas.study.probing import probe_kept

    registry = discover(plugins)
    node = parse_probe(name, registry)
    kept = load_network(source, store=store, storage=storage, plugins=plugins)
    reading, without = probe_kept(kept, node, registry)
    figures = {f"{node.name}.{key}": value for key, value in reading.figures.items()}
    series = {f"{node.name}.{key}": values for key, values in reading.series.items()}
    if as_json:
        found = {"metrics": figures, "series": series, "words": reading.words, "without": list(without)}
        print_json({"probe": node.to_dict(), "seed": kept.about.seed, "split_seed": kept.about.split_seed, **found})
        return
    for line in told(node.name, registry, figures, series, reading.words):
        click.echo(line)
    if without:
        moments = ", ".join(f"step {moment}" for moment in without)
        click.echo(f"\nA kept network is the end of its training: what belongs to {moments} needs `probes:` in the space file.")


def told(name: str, registry: Registry, figures: Mapping[str, float], series: Mapping[str, tuple[float, ...]], words: str) -> Iterator[str]:
    """Yield the reading of a probe: its words, each figure with what it is, each series with its first and last number."""
    probe = cast("type[Probe]", registry.find("probe", name).cls)
    if words:
        yield from (textwrap.fill(words, WIDTH), "")
    for figure in probe.figures:
        if f"{name}.{figure.name}" in figures:
            yield f"{figure.name:<24}{figures[f'{name}.{figure.name}']:>12.4g}  {figure.told}"
    for figure in probe.series:
        values = series.get(f"{name}.{figure.name}", ())
        if values:
            yield ""
            yield f"{figure.name}: {figure.told}"
            yield f"  {values[0]:.3g} {drawn(values)} {values[-1]:.3g}   ({len(values)} from {min(values):.3g} to {max(values):.3g})"


def drawn(values: tuple[float, ...], width: int = 40) -> str:
    """Draw numbers as bars between their smallest and largest, at most `width` of them; one that is not finite as a space."""
    import math

    step = max(1, -(-len(values) // width))
    kept = values[::step]
    finite = [value for value in kept if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    span = (high - low) or 1.0
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1))] if math.isfinite(value) else " " for value in kept)
