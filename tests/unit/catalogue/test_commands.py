"""The two verbs, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from theodolite.catalogue import encoder
from theodolite.catalogue.index import papers
from theodolite.cli import catalogue
from theodolite.errors import UnknownName

app = typer.Typer()
catalogue.add(app)


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_all_papers_are_listed_and_filters_work() -> None:
    told = run("papers")
    assert all(p.title.split()[0] in told for p in papers())
    rows = json.loads(run("papers", "--family", "exact", "--runnable", "--json"))
    assert {"asymptotics", "dpo-variants"} <= {r["key"] for r in rows["papers"]}
    assert rows["by"] is None
    assert all(r["runs"] and "exact" in r["families"] for r in rows["papers"])


def test_a_question_in_several_words() -> None:
    rows = json.loads(run("papers", "my", "labels", "are", "noisy", "--words", "--limit", "3", "--json"))
    assert rows["query"] == "my labels are noisy"
    assert rows["by"] == "words"
    assert len(rows["papers"]) == 3
    assert rows["papers"][0]["state"] == "runs"
    told = run("papers", "my labels are noisy", "--words", "--limit", "1")
    assert "runs: objective:" in told
    assert "https://" in told


def test_states_are_told() -> None:
    assert "out of scope: astronomy" in run("papers", "galactic-filaments", "--words", "--limit", "1")
    assert "no paper fits" in run("papers", "zzyzx", "--words")


def test_the_page_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "folder", lambda: None)
    body = json.loads(run("papers", "--html", str(tmp_path / "site"), "--words", "--json"))
    assert Path(body["page"]).exists()
    assert Path(body["feed"]).exists()


def test_unknown_filters_are_letters() -> None:
    with pytest.raises(UnknownName, match="Did you mean"):
        run("papers", "--family", "measurs")


def test_coverage_of_a_run(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"id": "x"}')
    readings = [{"name": "pass_rate.after", "value": 0.5, "n": 3}, {"name": "kl", "value": None}]
    (tmp_path / "readings.json").write_text(json.dumps(readings))
    body = json.loads(run("coverage", str(tmp_path), "--json"))
    goal = next(t for t in body["taxonomies"] if t["key"] == "goal")
    covered = {c["key"] for c in goal["categories"] if c["by"]}
    assert covered == {"goal:human-instructions"}
    assert body["undefined"] == ["kl"]
    told = run("coverage", str(tmp_path))
    assert "Alignment goals: 1 of 9" in told
    assert "human-instructions: pass_rate" in told
    assert "measured but undefined: kl" in told


def test_coverage_of_everything_here() -> None:
    body = json.loads(run("coverage", "--json"))
    assert {t["key"] for t in body["taxonomies"]} == {"trust", "goal", "bidirectional", "aegis"}
    assert "Trustworthiness:" in run("coverage")
