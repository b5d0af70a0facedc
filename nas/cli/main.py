"""Layer 6: the command `nas`: one module a command, each imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Any, NoReturn

import click

from nas.errors import NasError, UserError, disk_trouble

COMMANDS = {
    "init": "Write a commented space file for your own data.",
    "search": "Search a space, measure its factor, report the verdict.",
    "measure": "Measure the factor of a space, without searching.",
    "ablate": "Change each decision of one architecture, one at a time.",
    "train": "Train one architecture anew and keep its networks.",
    "best": "Show a search's best architecture, beside its retest.",
    "export": "Write a kept network as files for other programs.",
    "rerun": "Run one recorded training again: do its numbers come back?",
    "probe": "Measure one network, of a space or kept, with a probe.",
    "check": "Explain a space and build samples of it, without training.",
    "show": "Show one architecture: diagram, formula, parameters, MACs.",
    "claims": "Settle what is said about residual networks.",
    "studies": "List the studies of a store and how far they got.",
    "report": "Write the report of a study again from the records.",
    "effects": "Say what a choice is worth, from a CSV table of results.",
    "selfcheck": "Check the estimator on data whose truth is known.",
    "ui": "Open the MLflow UI on the store.",
    "plugins": "List, show, test and start plugins.",
    "sync": "Bring MLflow up to the ledger, after it was away.",
    "worker": "Join a study as one more worker.",
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is used; its help needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of a person's day."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"nas.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find a command; for an unknown one name the nearest."""
        from nas.errors import nearest

        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise UserError(f"'{args[0]}' is no command of nas{nearest(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nas-ablation", prog_name="nas")
@click.option("--no-color", is_flag=True, help="Print without colours, as with NO_COLOR in the environment.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def nas(no_color: bool, debug: bool) -> None:
    """Search neural architectures, and measure what each design choice is worth.

    \b
    Example:
      nas search search_spaces/residual.yaml
    """


def main() -> None:
    """Run the command line. Exit codes: 0 success, 2 a user's mistake, 1 a failure, 130 interrupted."""
    debug = "--debug" in sys.argv
    if "--no-color" in sys.argv:
        os.environ["NO_COLOR"] = "1"
    # These may stand anywhere on the line.
    arguments = [a for a in sys.argv[1:] if a not in ("--debug", "--no-color")]
    try:
        nas.main(args=arguments, prog_name="nas", standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _interrupted()
    except NasError as error:
        if _was_interrupted(error):
            _interrupted()
        if debug:
            traceback.print_exc()
        click.echo(f"Error: {error}", err=True)
        sys.exit(2 if isinstance(error, UserError) else 1)
    except Exception as error:
        if debug:
            raise
        said = disk_trouble(error) or f"{type(error).__name__}: {error}\nThis is a fault of nas itself; --debug shows where."
        click.echo(f"Error: {said}", err=True)
        sys.exit(1)


def _was_interrupted(error: BaseException | None) -> bool:
    """Say whether an error came of tidying up behind Ctrl-C: a ledger that does not answer cannot be told of it."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _interrupted() -> NoReturn:
    click.echo("Interrupted. Everything finished is kept; run the same command again to go on.", err=True)
    sys.exit(130)
