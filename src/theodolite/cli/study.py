"""theodolite study RECIPE | theodolite study --objective A --objective B --data PATH"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from theodolite.cli.voice import Voice


def add(app: typer.Typer) -> None:
    app.command(
        epilog="Example: theodolite study --objective dpo --objective ipo --data pairs.jsonl --seeds 3 --html study.html"
    )(study)


def study(
    recipe: Annotated[
        Path | None, typer.Argument(help="A study, such as examples/studies/dpo_variants.yaml.", show_default=False)
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value, such as align.max_steps=50.")] = None,
    objective: Annotated[
        list[str] | None, typer.Option("--objective", help="An objective; repeat it. The first is the baseline.")
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="File, folder or hub name of the data.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="The model to start from.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="Number of seeds.")] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Optimizer steps of each training.")] = None,
    runs: Annotated[
        Path | None, typer.Option("--runs", help="Folder for runs (default: $THEODOLITE_RUNS or ./runs).")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the page to this file too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one line of JSON, the whole result.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No talk, only the result.")] = False,
) -> None:
    """Compare objectives on one data set with one budget and several seeds. Finished runs are not redone."""
    made, folder = _asked(recipe, overrides or [], objective or [], data, model, seeds, steps)
    from theodolite.cli.run import _calm
    from theodolite.runs.folder import runs_home, write_text

    _calm()
    from theodolite.runs import study_page
    from theodolite.runs.study_desk import run_study

    with Voice(quiet) as voice:
        result = run_study(made, folder, home=runs or runs_home(), progress=voice.progress, hear=voice.hear)
    page = study_page.html(result)
    for place in (Path(result["folder"]) / "report.html", html):
        if place is not None:
            write_text(place, page)
    if as_json:
        print(json.dumps(result, allow_nan=False))
        return
    _table(result)
    print(f"\n{study_page.sentence(result)}\nreport: {Path(result['folder']) / 'report.html'}")


def _asked(
    recipe: Path | None,
    overrides: list[str],
    objectives: list[str],
    data: str | None,
    model: str | None,
    seeds: int | None,
    steps: int | None,
) -> tuple[Any, Path]:
    """The study of a file, with what the options change, or one made of the options alone."""
    from theodolite.config import Source
    from theodolite.errors import UsageError
    from theodolite.runs.study import Study

    if recipe is None and not (objectives and data):
        raise UsageError("name a study's file, or give --objective (twice or more) and --data.")
    if recipe is None:
        source, folder = Source({"name": "study", "curate": {"held_out": 0.2}}, {}, "the study"), Path.cwd()
    else:
        source, folder = Source.read(recipe), recipe.resolve().parent
    body = dict(source.override(overrides).data)
    if objectives:
        body["objectives"] = objectives
    if data is not None:
        body["curate"] = {
            **body.get("curate", {}),
            "read": {**(body.get("curate", {}).get("read") or {}), "path": data},
        }
    if model is not None:
        body["scenarios"] = [{"name": "start", "model": model}]
    if seeds is not None:
        body["seeds"] = seeds
    if steps is not None:
        body["align"] = {**body.get("align", {}), "max_steps": steps}
    return Source(body, source.lines, source.name).validate(Study), folder


def _table(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for scenario in result["scenarios"]:
        table = Table("objective", "accuracy", "interval", f"minus {scenario['baseline']}", "interval", "p (Holm)")
        table.title, table.box, table.padding = scenario["title"], None, (0, 2)
        for row in scenario["objectives"]:
            a, d = row["accuracy"], row["difference"] or {}
            table.add_row(
                row["objective"],
                _share(a["value"]),
                _between(a),
                _share(d.get("value")) if d else "baseline",
                _between(d) if d else "",
                "" if d.get("p_holm") is None else f"{d['p_holm']:.3f}",
            )
        console.print(table)
    for row in result["failed"]:
        console.print(f"{row['objective']} ({row['scenario']}) could not be run: {row['why']}", style="yellow")


def _share(value: float | None) -> str:
    return "undefined" if value is None else f"{100 * value:.1f} %"


def _between(row: dict[str, Any]) -> str:
    return "" if row.get("low") is None else f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
