"""theodolite run RECIPE [key=value ...]"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from theodolite.cli.voice import Voice


def add(app: typer.Typer) -> None:
    app.command(epilog="Example: theodolite run examples/quickstart.yaml seed=1 steps.align.epochs=1")(run)
    app.command(epilog="Example: theodolite report quickstart")(report)


def run(
    recipe: Annotated[Path, typer.Argument(help="A recipe, see docs/recipes.md.", show_default=False)],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="key=value, such as seed=1 or steps.align.epochs=2.")
    ] = None,
    runs: Annotated[
        Path | None, typer.Option("--runs", help="Folder for runs (default: $THEODOLITE_RUNS or ./runs).")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="End with one line of JSON: run, report, seconds, readings.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No talk, only the result.")] = False,
) -> None:
    """Do what a recipe says: curate, align, measure, report. Finished steps are not redone."""
    from theodolite.runs.folder import runs_home
    from theodolite.runs.recipe import read_recipe

    plan = read_recipe(recipe, overrides or ())
    _calm()
    from theodolite.runs.runner import run_recipe

    with Voice(quiet) as voice:
        done = run_recipe(plan, home=runs or runs_home(), progress=voice.progress, hear=voice.hear)
    if as_json:
        print(json.dumps(done.to_json(), allow_nan=False))
        return
    _print_result(done.folder, done.readings, done.report, done.seconds)


def report(
    name: Annotated[str, typer.Argument(help="A run's folder, id or name.", show_default=False)],
    runs: Annotated[Path | None, typer.Option("--runs", help="Folder for runs.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print run and report as one line of JSON.")] = False,
) -> None:
    """Write a run's page again and print where it is."""
    from theodolite.cli.runs import folder_of
    from theodolite.reports import page

    folder = folder_of(name, runs)
    path = page.write(folder)
    print(json.dumps({"run": str(folder), "report": str(path)}) if as_json else path)


def _print_result(folder: Path, readings: list[dict[str, Any]], report: Path | None, seconds: float) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    from theodolite.runs.folder import read_json

    console = Console(highlight=False)
    surveyed = read_json(folder / "survey.json", None)
    if surveyed is not None:
        _print_survey(console, surveyed)
    elif readings:
        name = Column("reading", no_wrap=True, min_width=max(len(r["name"]) for r in readings))
        table = Table(
            name,
            "value",
            f"{100 * readings[0]['level']:.3g} % interval",
            "n",
            "p",
            box=None,
            padding=(0, 2),
            header_style="dim",
        )
        for r in readings:
            table.add_row(r["name"], _value(r["value"], r["unit"]), _span(r), str(r["n"]), _p(r.get("p_value")))
        console.print(table)
    if report is not None:
        from theodolite.reports import page

        console.print(f"\n{page.headline(folder)}", style="bold", soft_wrap=True)
        console.print(f"\nreport: {report}", soft_wrap=True)
    console.print(f"run:    {folder}   ({seconds:.0f} s)", soft_wrap=True)


def _print_survey(console: Any, found: dict[str, Any]) -> None:
    """One row a reading, one column a model; the intervals and all else are on the page."""
    from rich.table import Column, Table

    models = found["models"]
    names = list(dict.fromkeys(r["name"] for r in found["readings"]))
    by = {(r["provenance"]["model"], r["name"]): r for r in found["readings"]}
    first = Column("reading", no_wrap=True, min_width=max(map(len, names), default=0))
    table = Table(first, *[Path(m).name for m in models], box=None, padding=(0, 2), header_style="dim")
    for name in names:
        rows = [by.get((m, name)) for m in models]
        table.add_row(name, *["—" if r is None else _value(r["value"], r["unit"]) for r in rows])
    console.print(table)


def _value(value: float | None, unit: str) -> str:
    if value is None:
        return "undefined"
    return f"{100 * value:.1f} %" if unit == "share" else f"{value:.3g} {unit}"


def _span(row: dict[str, Any]) -> str:
    if row["low"] is None:
        return ""
    scale, end = (100, " %") if row["unit"] == "share" else (1, "")
    return f"{scale * row['low']:.3g} to {scale * row['high']:.3g}{end}"


def _p(p: float | None) -> str:
    return "" if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def _calm() -> None:
    """Libraries below us stay silent; a run speaks for itself."""
    import logging
    import warnings

    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\..*|peft\..*")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
