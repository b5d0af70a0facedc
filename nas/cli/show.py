"""Layer 6: `nas show`: one architecture, before anything is trained."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from nas.cli.options import data_options, json_option, plugins_option, print_json, set_option, space_argument

if TYPE_CHECKING:
    from nas.sampling import Sample
    from nas.space import Space
    from nas.values.domains import Scalar
    from nas.values.outline import LayerRow


@click.command("show")
@space_argument
@set_option
@plugins_option
@data_options
@json_option
def command(
    space: str, data: str | None, data_options: dict[str, str], settings: dict[str, str], plugins: tuple[str, ...], as_json: bool
) -> None:
    """Show one architecture of SPACE: what stands first, with the decisions of `--set`.

    \b
    Example:
      nas show search_spaces/residual.yaml --set architecture.staged.depth=9
    """
    from nas.api import load_space
    from nas.building import cost_of
    from nas.outlining import outline
    from nas.study.jobs.materials import context_of
    from nas.study.preview import saying_the_decisions

    loaded = load_space(space, plugins=plugins, data=data, data_options=data_options)
    decided = _decide(loaded, settings)
    architecture, context = decided.configuration.architecture, context_of(loaded, decided.configuration)
    with saying_the_decisions(loaded, decided):
        cost = cost_of(architecture, loaded.registry, context)
    if as_json:
        print_json({
            "parameters": cost.parameters,
            "macs": cost.macs,
            "num_layers": cost.num_layers,
            "key": architecture.key,
            "architecture": architecture.to_dict(),
            "decisions": dict(decided.decisions),
        })  # fmt: skip
        return
    rows = outline(architecture, loaded.registry, context)
    for line in (*told(decided.decisions), *drawn(rows, context.input_shape), "", *formulas(rows), ""):
        click.echo(line)
    click.echo(f"{cost.num_layers} layers, {cost.parameters:,} parameters, {cost.macs:,} MACs, key {architecture.key}")


def told(decisions: Sequence[tuple[str, Scalar]], hint: str = " (change one with --set PATH=VALUE)") -> Iterator[str]:
    """Yield the decisions, one a line."""
    from nas.values.domains import written

    if decisions:
        yield f"Decided{hint}:"
        yield from (f"  {path} = {written(value)}" for path, value in decisions)
        yield ""


def drawn(rows: Sequence[LayerRow], input_shape: Sequence[int]) -> Iterator[str]:
    """Yield the network from its input down: a unit's branch on the left rail, its shortcut beside it, figures on the right.

    Units that differ by nothing but their place are drawn once, with the figures of all of them. 80 columns hold it where
    the names of plugins are no longer than those that ship.
    """
    groups = list(_collapsed(rows))
    left = max([len("conv3x3"), *(len(row.kind) if row.shortcut else len(row.name) for row in rows)])
    wide = max([0, *(len(row.shortcut) for row in rows if row.has_shortcut)])
    width = max(left + 3 + wide, 12)
    yield f"{'':<{width}}{'output':>13}{'parameters':>12}{'MACs':>15}"
    yield f"{'input':<{width}}{_shape(input_shape):>13}"
    for group in groups:
        row, count = group[0], len(group)
        figures = f"{_shape(row.output):>13}{row.parameters * count:>12,}{row.macs * count:>15,}"
        if not row.shortcut:
            yield "   │"
            yield f"{row.name:<{width}}{figures}"
            continue
        plain = not row.has_shortcut
        turn = left + 2 + wide // 2
        joint = "⊕" if "+" in row.formula.partition("F(x) =")[0] else "○"
        rails = ("   │", "   │") if plain else (f"   ├{'─' * (turn - 4)}╮", f"   {joint}{'─' * (turn - 4)}╯")
        names = row.kind if plain else f"{row.kind:<{left}}  {row.shortcut:^{wide}}"
        yield f"{rails[0]:<{width}}  {_place(group)}"
        yield f"{names:<{width}}{figures}"
        if not plain:
            yield rails[1]


def formulas(rows: Sequence[LayerRow]) -> Iterator[str]:
    """Yield what each kind of unit computes."""
    kinds: dict[tuple[str, str, str], None] = dict.fromkeys((row.kind, row.shortcut, row.formula) for row in rows if row.formula)
    for kind, shortcut, formula in kinds:
        name = f"{kind} with {shortcut}: " if len(kinds) > 1 else ""
        yield textwrap.fill(f"{name}{formula}", 80, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _decide(space: Space, settings: Mapping[str, str]) -> Sample:
    from nas.sampling import first_choice, fixing, refuse_unused, sample

    fixed = space.with_settings(settings)
    decided = sample(space, fixing(fixed, first_choice))
    refuse_unused(fixed, decided, space)
    return decided


def _collapsed(rows: Sequence[LayerRow]) -> Iterator[list[LayerRow]]:
    group: list[LayerRow] = []
    for row in rows:
        if group and not (row.shortcut and group[-1].alike(row)):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _place(group: Sequence[LayerRow]) -> str:
    """Write where a group of units stands: `stage 1 · units 2–9`."""
    first, last = group[0].name, group[-1].name.rpartition(" ")[2]
    if len(group) == 1:
        return first
    stage, _, number = first.rpartition(" ")
    return f"{stage}s {number}–{last}"


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))
