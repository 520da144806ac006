"""The Atom feed: what RFC 4287 asks for, stable identifiers, newest first."""

from __future__ import annotations

import datetime
from xml.etree import ElementTree

from theodolite.catalogue.feed import ATOM, atom, became_runnable
from theodolite.catalogue.index import Paper, papers

NS = {"a": ATOM}


def paper(key: str, **runs: str) -> Paper:
    days = {f"objective:{name}": datetime.date.fromisoformat(day) for name, day in runs.items()}
    return Paper(
        key=key, title=f"On <{key}> & co", does="Does it.", families=("data",), stage="collect", wave=1, runs=days
    )


def test_one_entry_a_paper_and_day_newest_first() -> None:
    found = ElementTree.fromstring(atom([paper("a", x="2026-01-02", y="2026-01-05", z="2026-01-05"), paper("b")]))
    titles = [e.text for e in found.findall("a:entry/a:title", NS)]
    assert titles == ["On <a> & co: y, z", "On <a> & co: x"]
    assert found.findtext("a:updated", "", NS) == "2026-01-05T00:00:00Z"


def test_required_elements_are_there_and_ids_are_stable_and_distinct() -> None:
    first, again = atom(papers()), atom(papers())
    assert first == again
    root = ElementTree.fromstring(first)
    for name in ("id", "title", "updated", "author/a:name"):
        assert root.findtext(f"a:{name}", "", NS), name
    entries = root.findall("a:entry", NS)
    assert len(entries) == len(became_runnable(papers())) > 20
    ids = [e.findtext("a:id", "", NS) for e in entries]
    assert len(set(ids)) == len(ids)
    assert all(i.startswith("urn:uuid:") for i in ids)
    for entry in entries:
        assert entry.findtext("a:updated", "", NS)
        assert entry.find("a:link", NS) is not None
        assert "Runs here as" in entry.findtext("a:summary", "", NS)


def test_a_later_method_leaves_older_entries_as_they_were() -> None:
    before = ElementTree.fromstring(atom([paper("a", x="2026-01-02")]))
    after = ElementTree.fromstring(atom([paper("a", x="2026-01-02", y="2026-02-02")]))
    old = [e.text for e in before.findall("a:entry/a:id", NS)]
    assert old == [e.text for e in after.findall("a:entry/a:id", NS)][1:]


def test_an_index_that_runs_nothing_has_an_empty_feed() -> None:
    assert ElementTree.fromstring(atom([paper("b")])).findall("a:entry", NS) == []
