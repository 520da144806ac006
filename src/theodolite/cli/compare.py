"""theodolite compare A B [C...]"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

WIDE = 124
"""columns a terminal needs for the table; a narrower one gets sentences"""


def add(app: typer.Typer) -> None:
    app.command(
        epilog="Example: theodolite compare base/samples_gsm8k.jsonl tuned/samples_gsm8k.jsonl --html comparison.html"
    )(compare)


def compare(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Two or more result files, folders or runs; FILE:MODEL or RUN:before for one part of it.",
            show_default=False,
        ),
    ],
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Compare this metric only; may be repeated.")
    ] = None,
    baseline: Annotated[
        str,
        typer.Option(
            "--baseline", show_default=False, help="Compare each side with this one only: its name, or as typed."
        ),
    ] = "",
    level: Annotated[
        float, typer.Option("--level", help="Coverage of intervals; 1 - level is the level of tests.")
    ] = 0.95,
    correction: Annotated[
        str, typer.Option("--correction", help="For many comparisons: holm, bh (Benjamini-Hochberg) or none.")
    ] = "holm",
    despite: Annotated[
        list[str] | None,
        typer.Option("--despite", help="Go on although this part of the protocol differs; may be repeated."),
    ] = None,
    judge_reliability: Annotated[
        list[str] | None,
        typer.Option("--judge-reliability", help="FILE or JUDGE=FILE: JSON of judge-eval, or accuracy and kappa."),
    ] = None,
    higher: Annotated[
        list[str] | None,
        typer.Option("--higher", help="More of this metric is better; may be repeated. Known for common names."),
    ] = None,
    lower: Annotated[
        list[str] | None, typer.Option("--lower", help="Less of this metric is better; may be repeated.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to this file.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="All chance comes from it.")] = 0,
    runs: Annotated[
        Path | None, typer.Option("--runs", help="Folder for runs (default: $THEODOLITE_RUNS or ./runs).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: rows, protocol, cautions.")] = False,
) -> None:
    """Compare models item by item: difference, interval, corrected test, power and a verdict for each metric."""
    from theodolite.data.results.comparing import compare as made
    from theodolite.data.results.reading import gather
    from theodolite.data.results.reliability import asked_for
    from theodolite.reports import comparison

    places = [_place(s, runs) for s in sources]
    sides = gather(places)
    found = made(
        sides,
        metrics=metric or (),
        baseline=_baseline(baseline, sources, places, sides),
        level=level,
        correction=correction,  # type: ignore[arg-type]
        despite=despite or (),
        higher=higher or (),
        lower=lower or (),
        reliability=asked_for(judge_reliability or ()),
        seed=seed,
    )
    written = comparison.write(found, html) if html is not None else None
    if as_json:
        print(comparison.as_json(found))
        return
    _print(comparison.contents(found), written)


def _place(source: str, runs: Path | None) -> str:
    """A path as it stands; the name or id of a run becomes its folder, `:PART` stays behind it."""
    from theodolite.cli.runs import folder_of
    from theodolite.errors import UnknownName

    head, colon, part = source.partition(":")
    if Path(source).exists() or Path(head).exists() or "/" in head or Path(head).suffix:
        return source
    try:
        return f"{folder_of(head, runs)}{colon}{part}"
    except UnknownName as error:
        raise UnknownName(f"there is no file or folder '{head}', and {error}") from None


def _baseline(asked: str, sources: list[str], places: list[str], sides: Any) -> str:
    """The side meant: by its name, or the one that was read from the argument as typed."""
    if not asked or any(s.name == asked for s in sides):
        return asked
    if asked in sources:
        here = [s.name for s in sides if s.source == places[sources.index(asked)]]
        if len(here) == 1:
            return str(here[0])
    return asked


def _print(data: dict[str, Any], written: Path | None) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, 160))

    def say(line: str, style: str = "") -> None:
        console.print(Text(line), style=style, soft_wrap=True)

    rows = data["rows"]
    letters = {s["name"]: chr(65 + i) if i < 26 else str(i + 1) for i, s in enumerate(data["sides"])}
    for s in data["sides"]:
        say(f" {letters[s['name']]}  {s['name']}  ({s['format']}, {s['items']:,} items)")
    say("")
    if console.width >= WIDE:
        console.print(_table(rows, letters, data["level"]))
    else:
        for r in rows:
            say(_sentence(r, letters))
    say(f"\n{data['claim']}.", "bold")
    say(data["standfirst"])
    for told in dict.fromkeys(f"judge {r['judge']['name']}: {r['judge']['said']}" for r in rows if _measured(r)):
        say(told)
    for line in [f"not compared: {m}" for m in data["left_out"]] + data["cautions"]:
        say(f"! {line}")
    if written is not None:
        say(f"\npage: {written}")


def _table(rows: list[dict[str, Any]], letters: dict[str, str], level: float) -> Any:
    from rich.table import Column, Table
    from rich.text import Text

    several, many = len({(r["a"], r["b"]) for r in rows}) > 1, len(rows) > 1
    pair = ["sides", "first", "second"] if several else [letters[rows[0]["a"]], letters[rows[0]["b"]]]
    heads = [*pair, "difference", f"{100 * level:g} % interval", "p", *(["corrected"] if many else [])]
    heads += ["could detect", "n", "verdict"]
    fixed = [Column(h, no_wrap=True) for h in heads]
    table = Table(Column("metric", overflow="fold"), *fixed, box=None, padding=(0, 1), header_style="dim")
    for r in rows:
        shown = r["shown"]
        sides = [f"{letters[r['a']]} → {letters[r['b']]}"] if several else []
        cells = [r["metric"], *sides, shown["a"], shown["b"], shown["difference"], shown["span"], shown["p"]]
        cells += [*([shown["p_corrected"]] if many else []), shown["detectable"], _count(r), r["verdict"]]
        table.add_row(*map(Text, cells))
    return table


def _measured(r: dict[str, Any]) -> bool:
    return r["judge"] is not None and r["judge"]["reliability"] is not None


def _count(r: dict[str, Any]) -> str:
    """Items, and in how many clusters where prompts repeat."""
    return f"{r['n']:,}" + (f" in {r['clusters']:,}" if r["clusters"] != r["n"] else "")


def _sentence(r: dict[str, Any], letters: dict[str, str]) -> str:
    """One comparison on a narrow terminal."""
    s = r["shown"]
    span = f" ({s['span']})" if s["span"] else ""
    could = f", could detect {s['detectable']}" if s["detectable"] else ""
    return (
        f" {r['metric']}: {letters[r['a']]} {s['a']}, {letters[r['b']]} {s['b']}, {s['difference']}{span}, corrected p "
        f"{s['p_corrected']}{could}, n = {_count(r)}: {r['verdict']}"
    )
