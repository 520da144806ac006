"""atom.xml: what became runnable, newest first; one entry for each paper and day (RFC 4287).

Identifiers are made from the paper's key and the day, so that a feed written anew names the same entries the same.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence
from xml.etree import ElementTree

from theodolite.catalogue.index import Paper

ATOM = "http://www.w3.org/2005/Atom"
SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "theodolite:papers")
EMPTY = datetime.date(2026, 1, 1)
"""day of a feed without entries"""


def atom(papers: Sequence[Paper]) -> str:
    """The feed as XML text."""
    ElementTree.register_namespace("", ATOM)
    news = sorted(became_runnable(papers), key=lambda e: (-e[0].toordinal(), e[1].title.lower()))
    root = ElementTree.Element(f"{{{ATOM}}}feed")
    _text(root, "title", "theodolite: papers that became runnable")
    _text(root, "id", SPACE.urn)
    _text(root, "updated", _moment(news[0][0] if news else EMPTY))
    _text(ElementTree.SubElement(root, f"{{{ATOM}}}author"), "name", "theodolite")
    ElementTree.SubElement(root, f"{{{ATOM}}}link", rel="alternate", href="index.html", type="text/html")
    for day, paper, methods in news:
        entry = ElementTree.SubElement(root, f"{{{ATOM}}}entry")
        _text(entry, "title", f"{paper.title}: {', '.join(_name(m) for m in methods)}")
        _text(entry, "id", uuid.uuid5(SPACE, f"{paper.key} {day.isoformat()}").urn)
        _text(entry, "updated", _moment(day))
        href = paper.url or f"index.html#{paper.key}"
        ElementTree.SubElement(entry, f"{{{ATOM}}}link", rel="alternate", href=href)
        _text(entry, "summary", f"{paper.does} Runs here as {', '.join(methods)}.")
        for family in paper.families:
            ElementTree.SubElement(entry, f"{{{ATOM}}}category", term=family)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def became_runnable(papers: Sequence[Paper]) -> list[tuple[datetime.date, Paper, list[str]]]:
    """(day, paper, methods that became runnable on it)."""
    found = []
    for paper in papers:
        for day in sorted(set(paper.runs.values())):
            found.append((day, paper, [run for run, when in paper.runs.items() if when == day]))
    return found


def _text(parent: ElementTree.Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, f"{{{ATOM}}}{tag}").text = text


def _moment(day: datetime.date) -> str:
    return f"{day.isoformat()}T00:00:00Z"


def _name(run: str) -> str:
    return run.partition(":")[2]
