"""`theodolite VERB`: errors are letters on stderr with exit code 2; results go to stdout, talk to stderr."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Annotated

import typer

from theodolite import __version__
from theodolite.cli import arena, catalogue, compare, exact, judging, look, measure, models, plan, run, runs, study
from theodolite.errors import TheodoliteError

app = typer.Typer(
    name="theodolite",
    help="Measure how far a language model points from where it should, turn it, and measure again.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if debug:
        os.environ["THEODOLITE_DEBUG"] = "1"


for module in (run, plan, runs, models, look, measure, judging, arena, compare, catalogue, study, exact):
    module.add(app)


def main() -> None:
    """Entry point of the `theodolite` command."""
    try:
        app()
    except TheodoliteError as error:
        if os.environ.get("THEODOLITE_DEBUG"):
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as end:
        stop = _interrupt(end)
        if stop is None:
            raise
        told = str(stop) if type(stop) is KeyboardInterrupt else ""  # other kinds speak to Python, not to a terminal
        letter = (
            told or "stopped. A run, a study or a survey continues where it stopped when the same command is given."
        )
        print(f"\n{letter}", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _interrupt(end: BaseException | None) -> KeyboardInterrupt | None:
    """The Ctrl-C behind the end of a command: typer turns it into an exit and says nothing."""
    while end is not None and not isinstance(end, KeyboardInterrupt):
        end = end.__cause__ or end.__context__
    return end
