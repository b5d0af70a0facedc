"""Layer 6: `nas best`: the best architecture of a search, its score there beside what fresh seeds say."""

from __future__ import annotations

import textwrap
from pathlib import Path

import click

from nas.cli.options import json_option, plugins_option, print_json, storage_option, store_option


@click.command("best")
@click.argument("study", required=False)
@store_option
@storage_option
@plugins_option
@json_option
def command(study: str | None, store: Path | None, storage: str | None, plugins: tuple[str, ...], as_json: bool) -> None:
    """Show the best architecture of STUDY's search, by default of the study that ran last.

    Its score in the search stands beside what fresh seeds gave, where `nas train` has trained it anew.

    \b
    Example:
      nas best residual-digits-9738de0a
    """
    from nas.cli.show import drawn, formulas, told
    from nas.report.front_text import fronts_told
    from nas.report.retest import lines
    from nas.report.text import WIDTH
    from nas.report.words import Unit, over_seeds, plural
    from nas.standing import best

    found = best(study, store=store, storage=storage, plugins=plugins)
    if as_json:
        print_json(found.to_dict())
        return
    outcome, configuration, title = found.best.outcome, found.best.configuration, found.record.title
    assert outcome is not None, "the best trial has its outcome"
    assert configuration is not None, "the best trial has its configuration"
    for line in (*told(found.best.decisions, ""), *drawn(found.rows, found.input_shape), "", *formulas(found.rows), ""):
        click.echo(line)
    key, cost = configuration.architecture.key, outcome.cost
    click.echo(f"{cost.num_layers} layers, {cost.parameters:,} parameters, {cost.macs:,} MACs, key {key}")
    unit = Unit.of(found.record.metric(found.record.objective))
    seeds = over_seeds(outcome, unit)
    score = f"{unit.level(outcome.score)}{unit.mark} {found.record.objective}" + (f" ({seeds})" if seeds else "")
    click.echo(f"Trial {found.best.number} of {title}: {score}")
    click.echo(f"Its network: {found.network or 'not kept in this store'}")
    for line in (*fronts_told(found.record), ""):
        click.echo(textwrap.fill(line, WIDTH, subsequent_indent="  "))
    for retrained in found.retrained:
        for line in lines(retrained.retest):
            click.echo(textwrap.fill(line, WIDTH))
        for line in (*(f"  {file}" for file in retrained.networks), ""):
            click.echo(line)
    if not found.retrained:
        click.echo(f"That is the luckiest of {plural(found.chosen_from, 'trial')}. What fresh seeds give: nas train {title}")
