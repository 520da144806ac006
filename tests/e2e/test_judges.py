"""A real small model as a judge of six LLMBar pairs, through the command, twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_small_model_judges_and_resumes(shared: Path, tmp_path: Path) -> None:
    out = tmp_path / "verdicts.jsonl"
    program = "import typer; from theodolite.cli import judging; app = typer.Typer(); app.callback()(lambda: None); "
    program += "judging.add(app); app()"
    command = [sys.executable, "-c", program, "judge-eval", "--data", "llmbar/natural", "--limit", "6", "--json"]
    command += ["--judge", "likelihood", "--judge", "response_likelihood", "--judge", "longer", "--judge", "critique"]
    command += ["--set", "critique.critique=false", "--set", "critique.max_new_tokens=8", "--out", str(out)]
    command += ["--model", "smollm2-135m-instruct"]
    environment = os.environ | {"THEODOLITE_SHARED": str(shared.parent)}
    first = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert first.returncode == 0, first.stderr
    said = json.loads(first.stdout)
    assert said["judges"].keys() == {"likelihood", "response_likelihood", "longer", "critique"}
    likelihood = said["judges"]["likelihood"]["natural"]
    assert likelihood["unparsed"]["value"] == 0
    assert likelihood["averaged"]["n"] == 6
    assert said["judges"]["response_likelihood"]["natural"]["swap_consistency"]["value"] == 1
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 12 + 6 + 6 + 12
    assert all(0 < r["verdict"]["probability"] < 1 for r in rows if r["judge"] == "likelihood")
    again = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert json.loads(again.stdout) == said
    assert len(out.read_text().splitlines()) == len(rows)
