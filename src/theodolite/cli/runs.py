"""theodolite runs"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    app.command(epilog="Example: theodolite runs --json")(runs)


def runs(
    home: Annotated[
        Path | None, typer.Option("--runs", help="Folder for runs (default: $THEODOLITE_RUNS or ./runs).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
) -> None:
    """List the runs, newest first."""
    from theodolite.runs.folder import runs_home
    from theodolite.runs.ledger import Ledger

    place = home or runs_home()
    rows = Ledger(place).rows() if (place / "ledger.sqlite").exists() else []
    if as_json:
        print(json.dumps(rows))
        return
    if not rows:
        print(f"no runs in {place} yet. Make one: theodolite run examples/quickstart.yaml")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("run", "status", "when", "seconds", "model", "headline", box=None, padding=(0, 2), header_style="dim")
    for r in rows:
        table.add_row(r["id"], r["status"], r["created"][:16], f"{r['seconds']:.0f}", r["model"], r["headline"])
    Console(highlight=False).print(table)


def folder_of(name: str, home: Path | None) -> Path:
    """A run's folder by path, id or name."""
    from theodolite.errors import UnknownName, did_you_mean
    from theodolite.runs.folder import runs_home
    from theodolite.runs.ledger import Ledger

    if (Path(name) / "run.json").exists():
        return Path(name)
    place = home or runs_home()
    rows = Ledger(place).rows() if (place / "ledger.sqlite").exists() else []
    found = next((r for r in rows if name in (r["id"], r["name"])), None)
    if found is None:
        known = [r["id"] for r in rows] + [r["name"] for r in rows]
        raise UnknownName(f"no run in {place} is called '{name}'.{did_you_mean(name, known)} See: theodolite runs")
    return Path(found["folder"])
