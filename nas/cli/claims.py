"""Layer 6: `nas claims`: statements of the literature, settled by measurement."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from nas.cli.lines import Watcher, tell_lines
from nas.cli.options import (
    detail_options,
    json_option,
    mode_option,
    plugins_option,
    print_json,
    storage_option,
    store_option,
    workers_options,
)
from nas.cli.progress import Detail, is_live, progress
from nas.paths import store_folder

if TYPE_CHECKING:
    from nas.study.study import Study
    from nas.values.claims import Claim, Finding


def _claims_option(function: Any) -> Any:
    text = "A folder with further claim files; ./claims is always looked at."
    return click.option("--claims", "folders", multiple=True, type=click.Path(), metavar="DIR", help=text)(function)


@click.group("claims", invoke_without_command=True)
@_claims_option
@store_option
@json_option
@click.pass_context
def command(context: click.Context, folders: tuple[str, ...], store: Path | None, as_json: bool) -> None:
    """List what is said about residual networks, each with the rule that decides it and, once run, the verdict.

    \b
    Example:
      nas claims run degradation --mode smoke
    """
    context.obj = (folders, store)
    if context.invoked_subcommand is None:
        _list(folders, store, as_json)


@command.command("run")
@click.argument("names", nargs=-1, metavar="[NAME]…")
@_claims_option
@mode_option
@click.option("--data", metavar="DATA", help="A data set to test the claims on, a name or YAML; those it is not for keep their own.")
@store_option
@storage_option
@plugins_option
@workers_options
@detail_options
@json_option
@click.pass_obj
def run(
    above: tuple[tuple[str, ...], Path | None], names: tuple[str, ...], folders: tuple[str, ...], mode: str | None, data: str | None,
    store: Path | None, storage: str | None, plugins: tuple[str, ...], workers: int | None, engine: str, detail: Detail,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure what the claims NAME, or all of them, state, and decide them by their rules.

    A training that another claim has made already is not made again. Interrupt it at any time: the same command goes on.

    \b
    Example:
      nas claims run degradation one-layer-skip --mode standard
    """
    from nas.settling import settle

    console, rows = Console(stderr=as_json), []
    with progress(console, detail) as shown:
        for done in settle(
            names, folders=(*above[0], *folders), mode=mode, data=data, store=store or above[1], storage=storage, plugins=plugins,
            workers=workers, engine=engine, watch=lambda claim: _watcher(claim, console, shown, detail),
        ):  # fmt: skip
            rows.append((done.claim, done.finding))
            if detail != "quiet":
                console.print(f"{done.claim.name}: {done.finding.verdict} ({done.seconds:.0f} s)", highlight=False)
    if as_json:
        print_json([_described(claim, finding) for claim, finding in rows])
    else:
        _show(rows, console)


@command.command("report")
@_claims_option
@store_option
@storage_option
@plugins_option
@click.pass_obj
def report(
    above: tuple[tuple[str, ...], Path | None], folders: tuple[str, ...], store: Path | None, storage: str | None, plugins: tuple[str, ...]
) -> None:
    """Write one HTML page of every claim that was run, from the records.

    \b
    Example:
      nas claims report
    """
    from nas.report.claims_page import write_claims
    from nas.settling import settled

    store = store_folder(store or above[1])
    found = settled(folders=(*above[0], *folders), store=store, storage=storage, plugins=plugins)
    page = write_claims([(one.claim, one.finding, one.record) for one in found], folder=store / "reports")
    Console().print(f"Report   {page}", soft_wrap=True)


def _list(folders: Sequence[str], store: Path | None, as_json: bool) -> None:
    from nas.claims.files import load_claims
    from nas.values.claims import Finding

    place = store_folder(store) / "claims"
    known = {file.stem: Finding.from_dict(json.loads(file.read_text())) for file in place.glob("*.json")}
    claims = load_claims((), folders)
    # A finding of an older text of the claim says nothing about the present one.
    found = {claim.name: known[claim.name] for claim in claims if claim.name in known and known[claim.name].claim_key == claim.key}
    if as_json:
        print_json([_described(claim, found.get(claim.name)) for claim in claims])
        return
    console, topic = Console(), ""
    for claim in claims:
        if claim.topic != topic:
            topic = claim.topic
            console.print(f"\n{topic}", style="bold", highlight=False, markup=False)
        verdict = f"  [{found[claim.name].verdict}]" if claim.name in found else ""
        console.print(f"  {claim.name:24}{claim.statement}{verdict}", highlight=False, markup=False, soft_wrap=True)
    console.print("\nRun one: nas claims run NAME --mode standard", highlight=False)


def _watcher(claim: Claim, console: Console, shown: Watcher, detail: Detail) -> Callable[[Mapping[str, Any], Study], None]:
    """Return a watcher of a claim's study: what is shown anyway, or on plain output a line for every tenth of its trainings."""
    if detail or is_live(console):
        shown.head(f"{claim.name}: {claim.statement}")
        return shown
    said = -1

    def watch(event: Mapping[str, Any], study: Study) -> None:
        nonlocal said
        if event["event"] == "told":
            tell_lines(console, event)
        if event["event"] == "broken":
            console.print(f"{claim.name}: a training broke: {str(event['error']).strip().splitlines()[-1]}", markup=False, highlight=False)
        if event["event"] == "finished" or said < 0:
            done = sum(t.state in ("complete", "failed") for t in study.record().measured)
            if said < 0 or 10 * done // study.planned_measure > said:
                console.print(f"{claim.name}: {done} of {study.planned_measure} trainings", markup=False, highlight=False)
            said = 10 * done // study.planned_measure

    return watch


def _described(claim: Claim, finding: Finding | None) -> dict[str, Any]:
    return {**claim.to_dict(), **({"verdict": finding.verdict, "finding": finding.to_dict()} if finding else {})}


def _show(rows: Sequence[tuple[Claim, Finding]], console: Console) -> None:
    from nas.report.claims_text import claims_table

    console.print()
    console.print(claims_table(rows))
    for claim, finding in rows:
        if finding.reason:
            console.print(f"- {claim.name}: {finding.reason}", style="dim", markup=False, highlight=False)
    console.print("\nOne page with figures: nas claims report", highlight=False)
