"""The page: everything is there without a script, nothing is fetched, the script finds what the command line finds."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from theodolite.catalogue import page
from theodolite.catalogue.index import index, papers
from theodolite.catalogue.ranking import rank, similar
from theodolite.catalogue.words import tokens

VOID = {"meta", "link", "input", "br"}


class Page(HTMLParser):
    """Elements with their attributes and texts; complains of tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))


@pytest.fixture(scope="module")
def html() -> str:
    return page.render(similar())


def test_every_paper_stands_on_the_page_with_its_facts(html: str) -> None:
    made = Page(html)
    cards = {a["id"]: a for tag, a in made.seen if tag == "article"}
    assert list(cards) == [p.key for _, group in page._groups(papers()) for _, p in group]
    assert len(cards) == len(papers())
    text = " ".join(t for tag, t in made.texts if tag not in ("script", "style"))
    for number, p in enumerate(papers()):
        assert p.title in text
        assert p.does in text
        assert int(cards[p.key]["data-n"] or -1) == number
        assert ("data-runs" in cards[p.key]) == bool(p.runs)
    hrefs = {a.get("href") for tag, a in made.seen if tag == "a"}
    assert {p.url for p in papers() if p.url} <= hrefs
    assert {f"#{k}" for near in similar().values() for k in (q.key for q in near)} <= hrefs


def test_nothing_is_fetched_and_only_our_script_may_run(html: str) -> None:
    made = Page(html)
    assert not [a for tag, a in made.seen if "src" in a or tag in ("img", "iframe", "object", "base")]
    links = [a for tag, a in made.seen if tag == "link"]
    assert [a["href"] for a in links] == ["atom.xml"]
    policy = next(a["content"] or "" for tag, a in made.seen if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    script = html[html.rindex("<script>") + len("<script>") : html.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "url(" not in html[: html.index("</style>")]


def test_light_and_dark_and_controls_only_with_a_script(html: str) -> None:
    assert "prefers-color-scheme: dark" in html
    assert re.search(r'<form id="ask"[^>]* hidden>', html)


def test_three_files_are_written_and_agree(tmp_path: Path) -> None:
    written = page.write(tmp_path / "site")
    assert written == tmp_path / "site" / "index.html"
    rows = json.loads((tmp_path / "site" / "papers.json").read_text())
    assert [r["key"] for r in rows] == [p.key for p in papers()]
    assert all(len(r["similar"]) == 4 for r in rows)
    assert (tmp_path / "site" / "atom.xml").read_text().startswith("<?xml")


def test_the_scripts_numbers_are_the_papers_numbers() -> None:
    found = page.search_data()
    word = tokens("hallucination")[0]
    numbers = found["impact"][word][::2]
    assert {index().papers[n].key for n in numbers} >= {"mask-dpo", "alignscore"}


@pytest.mark.skipif(
    shutil.which("node") is None, reason="node is not installed; the script is compared with Python by it"
)
def test_the_script_scores_as_python_does(html: str) -> None:
    queries = ["my labels are noisy", "Krippendorff's α", "hallu", "naïve JUDGES, judging!", "2404.04656", "", "the"]
    script = html[html.rindex("<script>") + len("<script>") : html.rindex("</script>")]
    head = script.split("const by =")[0]
    body = json.dumps(page.search_data())
    program = (
        f"const document = {{getElementById: () => ({{textContent: {json.dumps(body)}}})}};\n{head}\n"
        f"console.log(JSON.stringify({json.dumps(queries)}.map((q) => [tokens(q), [...scores(q)]])));"
    )
    done = subprocess.run(["node", "-"], input=program, capture_output=True, text=True, check=True)
    for query, (words, scored) in zip(queries, json.loads(done.stdout), strict=True):
        assert words == tokens(query)
        there = {int(n): s for n, s in scored}
        here = {papers().index(h.paper): h.score for h in rank(query) if h.score < 100}
        for number, score in here.items():
            assert there[number] == pytest.approx(score, abs=0.01)
