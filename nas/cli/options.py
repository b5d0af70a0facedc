"""Layer 6: the options that several commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def space_argument(function: F) -> F:
    """The space file."""
    return click.argument("space", type=click.Path(dir_okay=False))(function)


def plugins_option(function: F) -> F:
    """`--plugins DIR`, any number of times."""
    text = "A folder with further plugins; ./plugins is always looked at."
    return click.option("--plugins", multiple=True, type=click.Path(), metavar="DIR", help=text)(function)


def store_option(function: F) -> F:
    """`--store DIR`."""
    text = "Where results are kept; ./mlflow by default."
    return click.option("--store", type=click.Path(path_type=Path), metavar="DIR", help=text)(function)


def storage_option(function: F) -> F:
    """`--storage URL`."""
    text = "The ledger's database, for example postgresql://…; SQLite in the store by default."
    return click.option("--storage", metavar="URL", help=text)(function)


def workers_options(function: F) -> F:
    """`--workers N` and `--engine local|ray`."""
    text = "Where workers run: on this machine, or on a Ray cluster (that at RAY_ADDRESS, or on this machine)."
    function = click.option("--engine", type=click.Choice(("local", "ray")), default="local", show_default=True, help=text)(function)
    return click.option("--workers", type=click.IntRange(1), help="Worker processes; one a core, or one a GPU, by default.")(function)


def json_option(function: F) -> F:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")(function)


def detail_options(function: F) -> F:
    """`--quiet` and `--verbose`, of which the later holds."""
    quiet = "Print the result alone, nothing while trainings run."
    verbose = "Print every training that ended with its decisions, its size and its time."
    function = click.option("-v", "--verbose", "detail", flag_value="verbose", help=verbose)(function)
    return click.option("-q", "--quiet", "detail", flag_value="quiet", help=quiet)(function)


def keep_option(function: F) -> F:
    """`--keep`."""
    text = "Keep the network of every measured training, not only the best of the search."
    return click.option("--keep", is_flag=True, help=text)(function)


def mode_option(function: F) -> F:
    """`--mode smoke|standard|publication`."""
    text = "Replicates: smoke 3 (no verdict), standard 10, publication 20; by default as the file says."
    return click.option("--mode", type=click.Choice(("smoke", "standard", "publication")), help=text)(function)


def set_option(function: F) -> F:
    """`--set PATH=VALUE`, any number of times."""
    text = "Decide one decision, for example architecture.staged.depth=9."
    return click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", callback=_pairs, help=text)(function)


def parameter_option(function: F) -> F:
    """`--set PARAMETER=VALUE`, any number of times."""
    text = "Set one of the plugin's parameters, for example layers=3; the others have their defaults."
    return click.option("--set", "settings", multiple=True, metavar="PARAMETER=VALUE", callback=_pairs, help=text)(function)


def by_option(function: F) -> F:
    """`--by PATH=A,B`, any number of times."""
    text = "Measure at each of these values of a decision, for example architecture.staged.depth=1,3,9."
    return click.option("--by", multiple=True, metavar="PATH=A,B", callback=_pairs, help=text)(function)


def reference_option(function: F) -> F:
    """`--reference PATH=VALUE`, any number of times."""
    text = "Change this decision to this level only; without it, to each other level."
    return click.option("--reference", "references", multiple=True, metavar="PATH=VALUE", callback=_pairs, help=text)(function)


def data_options(function: F) -> F:
    """`--data DATA`, and `--data-option KEY=VALUE` any number of times."""
    text = "Another data set than the file's: a name, or YAML such as '{folder: {path: pictures}}'."
    function = click.option("--data-option", "data_options", multiple=True, metavar="KEY=VALUE", callback=_pairs,
                            help="An option of the data set, that of --data or the file's own, for example size=16.")(function)  # fmt: skip
    return click.option("--data", metavar="DATA", help=text)(function)


def _pairs(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for value in values:
        path, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"'{value}' is not PATH=VALUE")
        if path in pairs:
            raise click.BadParameter(f"{path} is set twice, to '{pairs[path]}' and to '{text}'")
        pairs[path] = text
    return pairs


def print_json(document: Any) -> None:
    """Print one JSON document."""
    json.dump(document, sys.stdout, indent=2, default=str)
    sys.stdout.write("\n")
