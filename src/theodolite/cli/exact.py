"""theodolite frontier, theodolite loss"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from theodolite.cli.voice import Voice


def add(app: typer.Typer) -> None:
    app.command(epilog="Example: theodolite frontier --worlds random --worlds length_biased --html frontier.html")(
        frontier
    )
    app.command(epilog="Example: theodolite loss dpo --data logps.json --set beta=0.2 --json")(loss)


def frontier(
    worlds: Annotated[
        list[str] | None,
        typer.Option("--worlds", help="A world by name (see theodolite list world); may be repeated. Default: all."),
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Preferences as expectations instead of samples.")] = False,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Worlds drawn of each kind.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers to this file.")] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the picture and the table to this file.")] = None,
) -> None:
    """How far does each objective end from the best possible policy? Exact worlds, exact Pareto frontier."""
    from theodolite.exact import frontier as exact_frontier
    from theodolite.exact.picture import html as picture
    from theodolite.runs.folder import write_json, write_text

    with Voice() as voice:
        result = exact_frontier.run(
            worlds or None,
            exact,
            seeds,
            lambda done, total, name: voice.progress("training in exact worlds", done, total),
        )
    if json_file is not None:
        write_json(json_file, result.to_json())
    if html is not None:
        write_text(html, picture(result))
    _table(result.to_json()["methods"])


def _table(methods: dict[str, dict[str, float | None]]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    def text(value: float | None) -> str:
        return "—" if value is None else f"{value:.3g}"

    heads = ("method", "regret", "interval", "KL to optimum", "samples to 90 %")
    table = Table(*(Column(h, no_wrap=True) for h in heads), box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name, m in sorted(methods.items(), key=lambda x: (x[1]["regret"] is None, x[1]["regret"])):
        span = f"{text(m['regret_low'])} to {text(m['regret_high'])}"
        table.add_row(name, text(m["regret"]), span, text(m["kl_to_optimum"]), text(m["samples_to_90"]))
    Console(highlight=False).print(table)


def loss(
    name: Annotated[str, typer.Argument(help="An objective (see theodolite list objective).", show_default=False)],
    data: Annotated[
        Path, typer.Option("--data", help="Per-token log-probs, in the format of conformance/objectives.json.")
    ],
    options: Annotated[list[str] | None, typer.Option("--set", help="An option of the objective, key=value.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object: loss, per_example, weight, gradient, metrics.")
    ] = False,
) -> None:
    """Evaluate one objective on given log-probs: loss per example and gradient, in float64."""
    from theodolite.config import Source
    from theodolite.errors import DataError
    from theodolite.objectives.conformance import evaluate

    try:
        body = json.loads(data.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{data} cannot be read as JSON: {error}.") from None
    if not isinstance(body, dict):
        raise DataError(
            f"{data} must hold one object with 'policy' and what else the objective needs, got {type(body).__name__}."
        )
    config = dict(body.get("config", {})) | Source({}, {}, "--set").override(options or ()).data
    made = evaluate(name, body.get("data", body), config)
    if as_json:
        print(json.dumps(made))
        return
    print(f"{name}: loss {made['loss']:.6f}")
    for i, (value, weight) in enumerate(zip(made["per_example"], made["weight"])):
        print(f"  example {i}: {value:.6f} (weight {weight:g})")
    for i, row in enumerate(made["gradient"]["policy"]):
        print(f"  gradient, row {i}: " + " ".join(f"{g:+.4f}" for g in row))
