"""`theodolite compare` as a user meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from unit.data import result_files as files

COMMAND = [sys.executable, "-m", "theodolite.cli"]


def theodolite(*arguments: object, ok: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*COMMAND, "compare", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "220", "OMP_NUM_THREADS": "1"} | environment,
    )
    if ok:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 2, done.stdout
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two lm-evaluation-harness outputs on 60 items, the second clearly better."""
    folder, r = tmp_path_factory.mktemp("lm"), np.random.default_rng(0)
    weak = (r.random(60) < 0.3).astype(float)
    strong = np.maximum(weak, r.random(60) < 0.5)
    return files.lm_eval(folder, weak.tolist(), "o/base"), files.lm_eval(folder, strong.tolist(), "o/tuned")


def test_table_json_and_page(pair: tuple[Path, Path], tmp_path: Path) -> None:
    page = tmp_path / "comparison.html"
    said = theodolite(*pair, "--html", page).stdout
    assert "better" in said
    assert "Against base, tuned is better on" in said
    assert page.read_text().startswith("<!DOCTYPE html>")
    data = json.loads(theodolite(*pair, "--json").stdout)
    assert [r["verdict"] for r in data["rows"]] == ["better", "better"]
    assert data["correction"] == "holm"
    assert [s["name"] for s in data["sides"]] == ["base", "tuned"]


def test_a_folder_does_as_well_as_a_file(pair: tuple[Path, Path]) -> None:
    data = json.loads(
        theodolite(pair[0].parent, pair[1].parent, "--json", "--metric", "gsm8k/exact_match (strict-match)").stdout
    )
    assert len(data["rows"]) == 1


def test_no_detectable_change_is_an_answer(tmp_path: Path) -> None:
    for name, values in (("a", [1, 0] * 20), ("b", [0, 1] * 20)):
        lines = "".join(f"q{i},{v}\n" for i, v in enumerate(values))
        (tmp_path / f"{name}.csv").write_text("item,correct\n" + lines)
    said = theodolite(tmp_path / "a.csv", tmp_path / "b.csv").stdout
    assert "No detectable change in correct from a to b" in said


def test_three_sides_a_baseline_and_a_correction(tmp_path: Path) -> None:
    path = files.mt_bench(
        tmp_path / "gpt-4_single.jsonl", {m: [5 + k + i % 2 for i in range(20)] for k, m in enumerate("xyz")}
    )
    data = json.loads(theodolite(path, "--baseline", "y", "--correction", "bh", "--level", "0.9", "--json").stdout)
    assert [(r["a"], r["b"], r["verdict"]) for r in data["rows"]] == [("y", "x", "worse"), ("y", "z", "better")]
    assert (data["level"], data["correction"]) == (0.9, "bh")
    assert data["rows"][0]["clusters"] == 10
    assert any("udge not measured" in c for c in data["cautions"])
    judge = files.dumped(tmp_path / "judge.json", {"judge": "gpt-4", "accuracy": 0.85, "kappa": 0.7, "n": 100})
    said = theodolite(path, "--judge-reliability", judge).stdout
    assert "agrees with people on 85.0 %, kappa 0.70, 100 items" in said


def test_runs_by_name_and_their_parts(tmp_path: Path) -> None:
    folder = files.run_folder(tmp_path, "tuned-ab12", [[True, True]] * 12, [[False, True]] * 12)
    data = json.loads(theodolite(f"{folder}:before", folder, "--json", "--baseline", f"{folder}:before").stdout)
    assert {r["metric"]: r["verdict"] for r in data["rows"]}["pass_rate"] == "better"
    assert data["baseline"] == "tuned-ab12 before"
    from theodolite.runs.ledger import Ledger

    Ledger(tmp_path).put(id="tuned-ab12", name="tuned", folder=str(folder), status="done", created="2025", seconds=1.0)
    by_name = json.loads(theodolite("tuned", "--runs", tmp_path, "--json").stdout)
    assert [s["part"] for s in by_name["sides"]] == ["before", "after"]
    parts = json.loads(theodolite("tuned:before", "tuned:after", "--json", THEODOLITE_RUNS=str(tmp_path)).stdout)
    assert [s["name"] for s in parts["sides"]] == ["tuned-ab12 before", "tuned-ab12"]


def test_refusal_and_despite(pair: tuple[Path, Path], tmp_path: Path) -> None:
    config = {"model": "vllm", "model_args": "pretrained=o/other,dtype=bfloat16"}
    other = files.lm_eval(tmp_path, [1.0] * 60, "o/other", config=config)
    letter = theodolite(pair[0], other, ok=False).stderr
    assert "backend: base has 'hf', other has 'vllm'" in letter
    page = tmp_path / "c.html"
    said = theodolite(pair[0], other, "--despite", "backend", "--html", page).stdout
    assert "Compared despite a difference of protocol. backend: base has 'hf', other has 'vllm'" in said
    assert "Compared despite a difference of protocol" in page.read_text()


@pytest.mark.parametrize(
    ("arguments", "letter"),
    [
        (["{a}"], "needs two models"),
        (["{a}", "nothing.jsonl"], "there is no file or folder nothing.jsonl"),
        (["{a}", "somerun"], "there is no file or folder 'somerun', and no run"),
        (["{a}", "{b}", "--metric", "f1"], "no metric is called 'f1'"),
        (["{a}", "{b}", "--baseline", "zzz"], "no side is called 'zzz'"),
        (["{a}", "{b}", "--level", "95"], "95 % is 0.95"),
        (["{a}", "{b}", "--correction", "bonferroni"], "holm, bh or none"),
        (["{a}", "{b}", "--despite", "tempalte"], "Did you mean 'template'"),
        (["{a}", "{b}", "--judge-reliability", "no.json"], "there is no file no.json"),
        (["{a}", "{b}", "--html", "no/such/folder.html"], "there is no folder no/such"),
        (["{a}", "{a}"], "named twice"),
    ],
)
def test_every_mistake_is_a_letter(pair: tuple[Path, Path], arguments: list[str], letter: str, tmp_path: Path) -> None:
    filled = [a.format(a=pair[0], b=pair[1]) for a in arguments]
    assert letter in theodolite(*filled, ok=False, THEODOLITE_RUNS=str(tmp_path)).stderr


def test_help_has_an_example() -> None:
    said = theodolite("--help").stdout
    assert "Example: theodolite compare" in said
    assert "--json" in said
