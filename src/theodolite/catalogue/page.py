"""The index as a static page: index.html, papers.json (the same as data) and atom.xml.

One file without requests; it reads without scripts, works from a folder on disk, in light and dark. The script only
sorts and hides what stands there already, by the same words and weights as the command line. A content security
policy allows this one script, by its hash, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from theodolite.catalogue.feed import atom
from theodolite.catalogue.index import Paper, index
from theodolite.catalogue.ranking import Encodes, similar
from theodolite.catalogue.trees import Node, tags, taxonomies
from theodolite.catalogue.words import STOP, SUFFIXES, standard
from theodolite.runs.folder import write_text


def write(folder: Path, encoder: Encodes | None = None) -> Path:
    """Write the page, the data and the feed into a folder; returns the page's path."""
    near = similar(encoder)
    write_text(folder / "papers.json", json.dumps(data(near), indent=1, ensure_ascii=False) + "\n")
    write_text(folder / "atom.xml", atom(index().papers))
    write_text(folder / "index.html", render(near))
    return folder / "index.html"


def render(near: Mapping[str, Sequence[Paper]]) -> str:
    """The page as HTML text."""
    env = Environment(
        loader=PackageLoader("theodolite.catalogue"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    script = env.get_template("search.js.jinja").render().strip()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    found = index()
    return env.get_template("papers.html.jinja").render(
        css=Markup(env.get_template("papers.css.jinja").render()),
        script=Markup(script),
        digest=digest,
        search=Markup(_json(search_data())),
        groups=_groups(found.papers),
        families=found.families,
        stages=found.stages,
        titles={key: node.title for key, node in tags().items()},
        facets=_facets(found.papers),
        near=near,
        counts=counts(found.papers),
    )


def search_data() -> dict[str, Any]:
    """What the script searches: word -> [paper, impact, paper, impact, ...], with the table of endings."""
    impact = {
        word: [x for number, value in at.items() for x in (number, round(value, 3))]
        for word, at in standard().impact.items()
    }
    under = {n.key: [below.key for below in n.walk()] for n in tags().values() if n.children}
    return {"impact": impact, "stop": sorted(STOP), "endings": SUFFIXES, "under": under}


def data(near: Mapping[str, Sequence[Paper]]) -> list[dict[str, Any]]:
    """The index as JSON values: one object a paper."""
    return [card(p) | {"similar": [q.key for q in near[p.key]]} for p in index().papers]


def card(paper: Paper) -> dict[str, Any]:
    """One paper as JSON values."""
    return paper.model_dump(mode="json") | {"url": paper.url, "state": paper.state}


def counts(found: Sequence[Paper]) -> dict[str, int]:
    """How many papers there are in all, and in each state."""
    return {"all": len(found)} | {s: sum(p.state == s for p in found) for s in ("runs", "not yet", "out of scope")}


def _groups(found: Sequence[Paper]) -> list[tuple[str, list[tuple[int, Paper]]]]:
    """Papers with their numbers, by their first family, in the order of the families."""
    order = list(index().families)
    groups: dict[str, list[tuple[int, Paper]]] = {family: [] for family in order}
    for number, paper in enumerate(found):
        groups[paper.families[0]].append((number, paper))
    return [(family, members) for family, members in groups.items() if members]


def _facets(found: Sequence[Paper]) -> list[tuple[str, list[tuple[Node, int]]]]:
    """For each taxonomy the categories under which there are papers, with their depth."""
    used = {t for p in found for t in p.tags}
    return [
        (tree.title, [(n, len(n.path) - 1) for n in tree.walk() if used & {below.key for below in n.walk()}])
        for tree in taxonomies()
    ]


def _json(value: Any) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
