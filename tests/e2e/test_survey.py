"""A survey from a recipe: two models, one page, asked once, continued after a kill; and `theodolite measure`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from theodolite.errors import ConfigError
from theodolite.runs.folder import read_json
from theodolite.runs.recipe import read_recipe
from tiny import tiny_folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Path:
    folder = tmp_path_factory.mktemp("survey")
    tiny_folder(folder / "one", context=4096)
    tiny_folder(folder / "two", template=None, seed=1, context=4096)
    return folder


def theodolite(*arguments: object, place: Path, shared: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "THEODOLITE_HOME": str(place / "home"),
        "THEODOLITE_RUNS": str(place / "runs"),
        "THEODOLITE_SHARED": str(shared.parent),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "theodolite.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def recipe(place: Path, **changes: object) -> Path:
    step = {
        "step": "survey",
        "models": [str(place / "two")],
        "limit": 8,
        "surveys": [
            "truthfulqa",
            {"name": "facts", "limit": 10},
            "separation",
            {"name": "token_shift", "max_new_tokens": 4},
        ],
    }
    path = place / "survey.yaml"
    path.write_text(
        yaml.safe_dump({"name": "s", "model": str(place / "one"), "steps": [step | changes, {"step": "report"}]})
    )
    return path


def test_two_models_one_page(place: Path, shared: Path) -> None:
    done = theodolite("run", recipe(place), "--json", place=place, shared=shared)
    assert done.returncode == 0, done.stderr
    run = Path(json.loads(done.stdout)["run"])
    found = read_json(run / "survey.json")
    assert found["models"] == [str(place / "one"), str(place / "two")]
    names = {r["name"] for r in found["readings"]}
    assert {"truthfulqa_mc1", "truthfulqa_mc2", "facts.accuracy", "ece", "aqi"} <= names
    assert {g["survey"] for g in found["gaps"]} == {"token_shift"}  # it needs a base, and says so
    assert {r["name"] for r in found["differences"]} >= {"truthfulqa_mc1.difference", "facts.accuracy.difference"}
    page = (run / "report.html").read_text(encoding="utf-8")
    for text in ("Does the model find true answers likelier", "token_shift was not asked", "plain", "paired by item"):
        assert text in page, text
    assert "<script" not in page
    assert "NaN" not in page
    items = read_json(run / "items.json")
    assert len(items[str(place / "one")]["facts.accuracy"]) == 10


def test_a_killed_survey_goes_on(place: Path, shared: Path) -> None:
    """What was asked stands on disk: without the finished step, the same survey asks nothing again."""
    done = theodolite("run", recipe(place, surveys=["truthfulqa"], limit=9), "--json", place=place, shared=shared)
    assert done.returncode == 0, done.stderr
    (cached,) = [
        p for p in (place / "runs" / "cache").glob("survey-*") if p.is_dir()
        and [s["name"] for s in read_json(p / "survey.json")["surveys"]] == ["truthfulqa"]
    ]  # fmt: skip
    for name in ("survey.json", "readings.json", "readings-0.json", "readings-1.json", "step.json", "items.json"):
        (cached / name).unlink()
    cached.rename(cached.with_name(cached.name + ".partial"))
    again = theodolite("run", recipe(place, surveys=["truthfulqa"], limit=9), "--json", place=place, shared=shared)
    assert again.returncode == 0, again.stderr
    passes = read_json(cached / "survey.json")["passes"]
    assert all(p["options"] == 0 and p["reused"] > 0 for p in passes.values())
    assert [r["value"] for r in json.loads(again.stdout)["readings"]] == [
        r["value"] for r in json.loads(done.stdout)["readings"]
    ]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"surveys": ["truthfulness"]}, "truthfulqa"),
        ({"surveys": [{"name": "facts", "limits": 3}]}, "limits"),
        ({"surveys": ["facts", "facts"]}, "twice"),
        ({"surveys": [{"limit": 3}]}, "does not say its name"),
    ],
)
def test_a_bad_survey_is_a_letter_before_anything_is_loaded(place: Path, change: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        read_recipe(recipe(place, **change))


def test_measure_on_the_command_line(place: Path, shared: Path, tmp_path: Path) -> None:
    ratings = tmp_path / "ratings.csv"
    ratings.write_text("item,ann,ben,cy\n1,1,1,2\n2,3,3,3\n3,2,,2\n4,1,1,1\n")
    done = theodolite(
        "measure",
        "krippendorff_alpha",
        "--data",
        ratings,
        "--set",
        "metric=ordinal",
        "--json",
        place=place,
        shared=shared,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["name"] == "krippendorff_alpha"
    assert 0 < found["value"] < 1
    assert found["n"] == 4
    both = theodolite(
        "measure", "percent_agreement", "krippendorff_alpha", "--data", ratings, place=place, shared=shared
    )
    assert both.stdout.count("(n=") == 2
    asked = theodolite(
        "measure",
        "facts",
        "truthfulqa",
        "--model",
        place / "one",
        "--set",
        "limit=5",
        "--json",
        place=place,
        shared=shared,
    )
    assert asked.returncode == 0, asked.stderr
    assert {r["name"] for r in json.loads(asked.stdout)} >= {"facts.accuracy", "truthfulqa_mc2"}
    wrong = theodolite("measure", "cohen_kapa", "--data", ratings, place=place, shared=shared)
    assert wrong.returncode == 2
    assert "cohen_kappa" in wrong.stderr
