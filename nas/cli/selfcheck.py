"""Layer 6: `nas selfcheck`: the estimator on data whose truth is known, figure by figure against bounds."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from nas.cli.options import json_option, print_json

if TYPE_CHECKING:
    from nas.measuring.simulate import Figure
    from nas.study.trap import Reading

GROUPS = {
    "Cover: how often a 95% interval holds the truth": (
        "theta covered",
        "beta covered",
        "all theta_d covered at once",
        "mean covered by t",
    ),
    "False positives: how often an effect is seen where there is none": (
        "theta rejected",
        "beta rejected",
        "any of two arms rejected after Holm",
        "no effect rejected at some planned look",
        "t of replicate means rejects",
        "effect claimed with the rule for failures",
    ),
    "Power: how often a true effect is seen": ("effect found", "detectable effect found"),
    "What is not done, and how wrong it would be": (
        "no effect rejected at some peek",
        "pooled t rejects",
        "cluster bootstrap rejects",
        "mixed model, Wald rejects",
        "mean covered by percentile bootstrap",
        "theta covered by t alone",
        "effect claimed by t alone",
    ),
}
_SYMBOLS = (("theta_d", "θ_d"), ("theta", "θ"), ("beta", "β"))


@click.command("selfcheck")
@click.option("--full", is_flag=True, help="Ten times as many simulations and 120 searches: some minutes.")
@json_option
@click.pass_context
def command(context: click.Context, full: bool, as_json: bool) -> None:
    """Measure cover, false positives and power of the estimator, and replay the trap of adaptive sampling.

    Each line is a measured share, its Monte-Carlo error and the bounds it must lie in. The exit code is 1
    where one lies outside. Half a minute of one core.

    \b
    Example:
      nas selfcheck
    """
    from nas.measuring.simulate import run_simulations
    from nas.study.trap import FULL, QUICK, replay

    started = time.monotonic()
    click.echo("Measurements are simulated, then searches are replayed ...", err=True)
    figures = run_simulations(quick=not full)
    if not as_json:
        click.echo("\n".join(figure_lines(figures)))
    readings = replay(FULL if full else QUICK)
    everything: tuple[Figure | Reading, ...] = (*figures, *readings)
    out = sum(not one.holds for one in everything)
    duration_s = time.monotonic() - started
    if as_json:
        print_json(_document(figures, readings, form="full" if full else "quick", duration_s=duration_s))
    else:
        click.echo("\n".join(reading_lines(readings)))
        told = f"{out} of {len(everything)} figures out of bounds" if out else f"All {len(everything)} figures lie in their bounds"
        click.echo(f"\n{told} ({duration_s:.0f} s).")
    context.exit(1 if out else 0)


def figure_lines(figures: Sequence[Figure]) -> Iterator[str]:
    """Yield a line for each simulated share, under headings, in 80 columns."""
    named = {name for names in GROUPS.values() for name in names}
    others = tuple(dict.fromkeys(figure.name for figure in figures if figure.name not in named))
    for title, names in {**GROUPS, **({"Others": others} if others else {})}.items():
        yield f"\n{title}"
        for name in names:
            yield f" {_people(name)}"
            for one in (figure for figure in figures if figure.name == name):
                measured = f"{_share(one.value)} ± {_share(one.error)}"
                yield f"  {one.setting:<51}{measured:>13}{_bounds(one):>10} {_mark(one)}"


def reading_lines(readings: Sequence[Reading]) -> Iterator[str]:
    """Yield a line for each way to read a known effect, in 80 columns."""
    from nas.study.trap import EFFECT, TRIALS

    yield f"\nAdaptive sampling: a known effect of {100 * EFFECT:+.2f} points, read off {TRIALS} trainings"
    yield f"  {'studies':>7} {'read as':<29}{'bias, points':>14}{'95% cover':>13}"
    for one in readings:
        bias = f"{100 * one.bias:+z.2f} ± {100 * one.bias_error:.3f}"
        cover = f"{_share(one.cover, 3)} ± {_share(one.cover_error, 3)}"
        yield f"  {one.num_studies:>7} {one.name:<28}{bias:>15}{cover:>14}{_bounds(one):>8} {_mark(one)}"


def _document(figures: Sequence[Figure], readings: Sequence[Reading], *, form: str, duration_s: float) -> dict[str, Any]:
    from nas.study.trap import EFFECT, TRIALS

    return {
        "form": form,
        "holds": all(figure.holds for figure in figures) and all(reading.holds for reading in readings),
        "duration_s": round(duration_s, 1),
        "simulations": [{**asdict(one), "holds": one.holds} for one in figures],
        "adaptive_sampling": {
            "true_effect": EFFECT,
            "trainings_a_study": TRIALS,
            "readings": [{**asdict(one), "holds": one.holds} for one in readings],
        },
    }


def _people(name: str) -> str:
    for word, symbol in _SYMBOLS:
        name = name.replace(word, symbol)
    return name


def _share(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}f}".removeprefix("0")


def _bounds(one: Figure | Reading) -> str:
    return "-".join(f"{bound:.3g}".removeprefix("0") or "0" for bound in (one.low, one.high))


def _mark(one: Figure | Reading) -> str:
    return "ok" if one.holds else "OUT"
