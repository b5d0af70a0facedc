"""Layer 6: `nas probe`: train one network of a space and measure it with one probe."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import click

from nas.cli.options import json_option, plugins_option, print_json, set_option, space_argument

if TYPE_CHECKING:
    from nas.plugin import Probe
    from nas.values.outcome import Outcome

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 80


@click.command("probe")
@click.argument("name", metavar="NAME")
@space_argument
@set_option
@click.option("--seed", type=int, default=0, show_default=True, help="The seed of the training and of the split.")
@plugins_option
@json_option
def command(name: str, space: str, settings: dict[str, str], seed: int, plugins: tuple[str, ...], as_json: bool) -> None:
    """Train one network of SPACE, what stands first in it with the decisions of --set, and measure it with the probe NAME.

    NAME is a probe, or a probe with parameters as a space file writes them. Nothing is recorded; list probes under `probes:`
    in a space file to have them measured and recorded with every training.

    \b
    Example:
      nas probe lesion search_spaces/residual.yaml --set architecture.staged.depth=3
      nas probe '{lesion: {counts: [1, 2, 4]}}' search_spaces/residual.yaml
    """
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
        for line in told(node.name, cast("type[Probe]", loaded.registry.find("probe", node.name).cls), outcome):
            click.echo(line)


def told(name: str, probe: type[Probe], outcome: Outcome) -> Iterator[str]:
    """Yield the reading of a probe: its words, each figure with what it is, each series with its first and last number."""
    if name in outcome.words:
        yield from (textwrap.fill(outcome.words[name], WIDTH), "")
    for figure in probe.figures:
        if f"{name}.{figure.name}" in outcome.metrics:
            yield f"{figure.name:<24}{outcome.metrics[f'{name}.{figure.name}']:>12.4g}  {figure.told}"
    for figure in probe.series:
        values = outcome.series.get(f"{name}.{figure.name}", ())
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
