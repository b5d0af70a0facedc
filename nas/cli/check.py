"""Layer 6: `nas check`: what a space is, explained before anything is trained."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console
from rich.table import Table

from nas.cli.options import json_option, plugins_option, print_json, space_argument


@click.command("check")
@space_argument
@plugins_option
@click.option("--samples", type=click.IntRange(1), default=32, show_default=True, help="Architectures to sample and build.")
@json_option
def command(space: str, plugins: tuple[str, ...], samples: int, as_json: bool) -> None:
    """Parse and validate SPACE, build samples of it without training, and say what a run would take.

    \b
    Example:
      nas check search_spaces/residual.yaml
    """
    from nas.api import load_space
    from nas.study.preview import preview

    loaded = load_space(space, plugins=plugins)
    seen = preview(loaded, samples=samples)
    if as_json:
        print_json(seen.to_dict())
        return
    console = Console(highlight=False)
    table = Table("decision", "values", "exists where", box=None, pad_edge=False)
    for placed in loaded.placed:
        under = " and ".join(f"{path.rpartition('.')[2]} = {label}" for path, label in placed.under)
        table.add_row(placed.decision.path, str(placed.decision.domain), under or "always")
    console.print(table)
    for line in sentences(seen):
        console.print(line, soft_wrap=True)


def sentences(seen: Any) -> list[str]:
    """Say what was seen of a space, in sentences."""
    size = "infinitely many configurations" if seen.size is None else f"{seen.size:,} configurations"
    architectures = "infinitely many" if seen.architectures is None else f"{seen.architectures:,}"
    lines = [
        f"The space holds {architectures} architectures and {size}.",
        f"Of {seen.samples} samples every one was built: {_range(seen.parameters)} parameters, {_range(seen.macs)} MACs, "
        f"{_range(seen.num_layers)} layers.",
    ]
    if seen.constraints:
        lines.append(f"{seen.violating:.0%} of the samples break the constraints ({', '.join(seen.constraints)}).")
    lines.append(f"The search trains {seen.planned_search or 'as many as fit into its minutes'}.")
    if seen.planned_measure:
        lines.append(
            f"The measurement trains {seen.planned_measure}: {seen.replicates} replicates of every arm at every depth. "
            f"It detects an effect of {seen.detectable:.2f} standard deviations of the differences with power .8."
        )
    if seen.replicates is not None and seen.replicates < 6:
        lines.append("With fewer than 6 replicates there is no verdict.")
    lines.append(f"On this machine that takes about {seen.minutes:.1f} minutes with {seen.workers} workers, pruning left out.")
    return lines


def _range(ends: tuple[int, int]) -> str:
    return f"{ends[0]:,}" if ends[0] == ends[1] else f"{ends[0]:,} to {ends[1]:,}"
