"""What the README shows is what happens."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from theodolite.runs.recipe import read_recipe
from tiny import tiny_folder

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.S)
    assert found is not None
    return found.group(1)


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THEODOLITE_HOME", str(tmp_path / "home"))
    folder = tiny_folder(tmp_path / "tiny")
    rows = [{"prompt": f"Question {i}", "chosen": f"Answer {i}!", "rejected": f"No {i}."} for i in range(8)]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    code = block("python")
    assert "smollm2-135m-instruct" in code
    exec(compile(code.replace("smollm2-135m-instruct", str(folder)), "README.md", "exec"), {})
    assert "out/adapter" in capsys.readouterr().out


def test_the_recipe_example_is_valid(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(block("yaml"))
    assert [s.kind for s in read_recipe(tmp_path / "mine.yaml").steps] == ["curate", "align", "measure", "report"]
    assert yaml.safe_load(block("yaml"))["model"] == "./my-model"


def test_the_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert [link for link in links if not link.startswith("http") and not (ROOT / link).exists()] == []


def test_no_number_waits_to_be_filled_in() -> None:
    for page in (ROOT / "docs").glob("*.md"):
        assert not re.search(r"^[A-Z]+_[A-Z_]+$", page.read_text(encoding="utf-8"), re.M), page
    assert not re.search(r"\b(QUICKSTART_OUTPUT|NOT_YET)\b", README)
