"""theodolite arena, theodolite prompts-needed"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer


def add(app: typer.Typer) -> None:
    app.command(epilog="Example: theodolite arena --data matches.csv --json")(arena)
    app.command("prompts-needed", epilog="Example: theodolite prompts-needed 3 --rate 0.6 --answers 1 --answers 8")(
        prompts_needed
    )


def arena(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Matches: columns model_a, model_b, outcome (or winner), optional prompt, weight."),
    ] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Compare designs at equal matches on simulated models instead.")
    ] = False,
    models: Annotated[int, typer.Option("--models", min=2, help="Simulation: number of models.")] = 10,
    prompts: Annotated[
        list[int] | None,
        typer.Option("--prompts", min=2, help="Simulation: brackets played; may be repeated. Default: 10 to 300."),
    ] = None,
    noise: Annotated[float, typer.Option("--noise", help="Simulation: share of verdicts the judge flips.")] = 0.1,
    spread: Annotated[float, typer.Option("--spread", help="Simulation: sd of the true ratings in Elo points.")] = 150,
    anchor: Annotated[
        float, typer.Option("--anchor", help="Simulation: the reference's rating, 0 being the models' mean.")
    ] = 0,
    repeats: Annotated[int, typer.Option("--repeats", min=2, help="Simulation: simulated worlds.")] = 300,
    ridge: Annotated[float, typer.Option("--ridge", min=0, help="Penalty of the Bradley-Terry fit.")] = 0,
    resamples: Annotated[int, typer.Option("--resamples", min=100, help="Bootstrap resamples.")] = 2000,
    level: Annotated[float, typer.Option("--level", help="Coverage of the intervals.")] = 0.95,
    seed: Annotated[int, typer.Option("--seed", help="Seed of all chance.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Rank models from matches, or ask which design of matches ranks best before judging anything."""
    from theodolite.errors import UsageError

    if simulate == (data is not None):
        raise UsageError("give either --data FILE with matches, or --simulate.")
    if not 0 < level < 1:
        raise UsageError(f"--level lies between 0 and 1, got {level}. 95 % is 0.95.")
    if data is not None:
        _fit(data, seed, as_json, ridge=ridge, resamples=resamples, level=level)
        return
    import numpy as np

    from theodolite.measures.arenas import designs

    rng = np.random.default_rng(seed)
    found = [
        row
        for count in prompts or [10, 30, 100, 300]
        for row in designs.rows(
            designs.simulate(models, count, noise, rng, spread=spread, anchor=anchor, repeats=repeats, level=level)
        )
    ]
    if as_json:
        asked = {"models": models, "noise": noise, "spread": spread, "anchor": anchor, "repeats": repeats, "seed": seed}
        print(json.dumps({**asked, "level": level, "designs": found}, allow_nan=False))
        return
    table = [("matches", "design", "Spearman to the truth", "over the anchored design", "finds the best")]
    for r in found:
        gap = "" if r["design"] == "anchored" else _span(r["over_anchored"], r["over_low"], r["over_high"], "+.3f")
        alike = _span(r["spearman"], r["low"], r["high"], ".3f")
        table.append((str(r["matches"]), r["design"].replace("_", " "), alike, gap, f"{r['best']:.0%}"))
    _print(table)
    print(
        f"\n{models} models, sd {spread:g} Elo, {noise:.0%} of verdicts flipped, anchor at {anchor:g}, {repeats} worlds."
    )


def _fit(data: Path, seed: int, as_json: bool, **options: Any) -> None:
    from theodolite.data.tables import read_table
    from theodolite.measures.call import evaluate

    reading = evaluate("bradley_terry", read_table(data), seed=seed, **options)
    if as_json:
        print(json.dumps(reading.to_json(), allow_nan=False))
        return
    table = [("rank", "model", "Elo", "interval", "ranks", "matches", "win rate", "first")]
    for r in reading.parts.get("table", ()):
        drawn = not math.isnan(r["low"])
        table.append(
            (
                str(r["rank"]), r["model"], f"{r['rating']:.0f}",
                f"{r['low']:.0f} to {r['high']:.0f}" if drawn else "—",
                f"{r['rank_low']:.0f} to {r['rank_high']:.0f}" if drawn else "—",
                str(r["matches"]), f"{r['win_rate']:.1%}", f"{r['first_share']:.0%}" if drawn else "—",
            )
        )  # fmt: skip
    _print(table)
    print(f"\n{reading}" + (f"\n{reading.method}, level {reading.level:g}" if reading.method else ""))
    for reason, count in reading.why.items():
        print(f"left out: {count} ({reason})")
    if reading.note:
        print(f"note: {reading.note}")


def prompts_needed(
    points: Annotated[float, typer.Argument(help="Difference to see, in percentage points.", show_default=False)],
    rate: Annotated[float, typer.Option("--rate", help="Pass rate before.")] = 0.5,
    answers: Annotated[
        list[int] | None, typer.Option("--answers", min=1, help="Answers a prompt; may be repeated. Default: 1 to 16.")
    ] = None,
    correlation: Annotated[
        float, typer.Option("--correlation", help="Correlation of the prompts' pass rates before and after.")
    ] = 0.7,
    between: Annotated[
        float, typer.Option("--between", help="Share of an answer's variance that lies between prompts.")
    ] = 0.5,
    level: Annotated[float, typer.Option("--level", help="Coverage of the interval that must exclude 0.")] = 0.95,
    power: Annotated[float, typer.Option("--power", help="Chance of seeing the difference.")] = 0.8,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False,
) -> None:
    """How many prompts does it take to see a difference between before and after, paired by prompt?"""
    from theodolite.errors import UsageError
    from theodolite.measures import planner

    if not 0 < level < 1:
        raise UsageError(f"--level lies between 0 and 1, got {level}. 95 % is 0.95.")
    made = []
    for k in answers or [1, 2, 4, 8, 16]:
        n = planner.prompts_needed(points / 100, rate, k, correlation, between, level, power)
        made.append({"answers": k, "prompts": n, "answers_in_all": 2 * k * n})
    if as_json:
        print(json.dumps(made))
        return
    head = ("answers a prompt", "prompts", "answers in all")
    _print([head, *(tuple(str(v) for v in row.values()) for row in made)])
    print(
        f"\nto see {points:+g} points from {rate:.0%} with a chance of {power:.0%} at level {level:g}; correlation "
        f"{correlation:g}, between {between:g} (take them from a pilot: theodolite.measures.planner.estimate)"
    )


def _span(value: float | None, low: float | None, high: float | None, form: str) -> str:
    if value is None or low is None or high is None:
        return "undefined"
    return f"{value:{form}} [{low:{form}}, {high:{form}}]"


def _print(table: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they need, head first; lines are never wrapped, so they can be cut and sorted."""
    widths = [max(map(len, column)) for column in zip(*table)]
    for row in table:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths)).rstrip())
