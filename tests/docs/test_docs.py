"""The generated pages are current, the recipes are valid, the command line has help."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from theodolite.runs.recipe import read_recipe
from theodolite.runs.study import cells, read_study

ROOT = Path(__file__).resolve().parents[2]


def test_the_generated_pages_are_current() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, page in module.PAGES.items():
        assert (ROOT / "docs" / name).read_text(encoding="utf-8") == page(), "run: python docs/generate.py"


def test_every_option_says_what_it_is() -> None:
    rows = [r for r in (ROOT / "docs" / "recipes.md").read_text().splitlines() if r.startswith("| `")]
    assert len(rows) > 50
    assert [r for r in rows if r.rstrip("| ").endswith("|")] == []


EXAMPLES = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "examples").rglob("*.yaml"))


@pytest.mark.parametrize("recipe", [e for e in EXAMPLES if "studies" not in e])
def test_examples_are_valid(recipe: str) -> None:
    made = read_recipe(ROOT / recipe)
    assert made.steps


@pytest.mark.parametrize("study", [e for e in EXAMPLES if "studies" in e])
def test_studies_are_valid(study: str) -> None:
    made, _ = read_study(ROOT / study)
    assert cells(made)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "theodolite.cli", *arguments], capture_output=True, text=True, check=False
    )


def test_help_answers_in_a_second() -> None:
    command("--help")
    start = time.perf_counter()
    assert command("--help").returncode == 0
    spent = time.perf_counter() - start
    modules = subprocess.run(
        [sys.executable, "-c", "import sys, theodolite.cli.app; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert modules.stdout.strip() == "False"
    assert spent < 3  # a second on a quiet machine; the guard against heavy imports is the line above


VERBS = (
    "run", "plan", "report", "runs", "models", "list", "show", "frontier", "loss", "measure", "judge-eval", "arena",
    "prompts-needed", "compare", "papers", "coverage", "study",
)  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    done = command(verb, "--help")
    assert done.returncode == 0
    assert "Example: theodolite" in done.stdout
    assert "--json" in done.stdout


def test_list_as_json() -> None:
    rows = json.loads(command("list", "measure", "--json").stdout)
    assert {"kind", "name", "summary", "source"} == set(rows[0])
    assert "pass_rate" in {r["name"] for r in rows}


def test_user_errors_are_letters_with_exit_code_two(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: x\nsteps:\n  - step: align\n    epoch: 2\n")
    done = command("run", str(tmp_path / "r.yaml"))
    assert done.returncode == 2
    assert "r.yaml:4" in done.stderr
    assert "Did you mean 'epochs'?" in done.stderr
    assert "Traceback" not in done.stderr
    assert command("show", "dpoo").returncode == 2
