"""examples/objectives: one recipe for each objective, written from one table, and each trains on the human data."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import pytest

from theodolite import registry
from theodolite.runs.recipe import read_recipe
from theodolite.runs.runner import run_recipe
from tiny import tiny_folder

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "examples" / "objectives"
NAMES = [e.name for e in registry.entries("objective") if e.function.__module__.startswith("theodolite.")]
PER_KIND = {registry.get("objective", n).data: n for n in reversed(NAMES)} | {"other": "npo_kl", "long": "logo"}
"""one objective for each kind of data, and those with a way of their own"""


def test_there_is_a_current_recipe_for_every_objective() -> None:
    spec = importlib.util.spec_from_file_location("recipes", ROOT / "bench" / "objectives" / "recipes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert {p.name: p.read_text(encoding="utf-8") for p in FOLDER.glob("*.yaml")} == module.every(), (
        "run: python bench/objectives/recipes.py"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_asks_for_its_objective(name: str) -> None:
    made = read_recipe(FOLDER / f"{name}.yaml")
    assert [s.kind for s in made.steps] == ["curate", "align", "report"]
    assert made.steps[1].config.objective == [{"name": name}]
    assert made.steps[0].config.view == registry.get("objective", name).data


@pytest.mark.parametrize("name", sorted(PER_KIND.values()))
def test_every_kind_of_human_data_trains_a_tiny_model(
    name: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THEODOLITE_SHARED", str(shared.parent))
    monkeypatch.setenv("THEODOLITE_HOME", str(tmp_path / "home"))
    model = tiny_folder(tmp_path / "model", context=4096)
    changes = [
        f"model.name={model}",
        "steps.align.max_steps=2",
        "steps.align.lora.r=2",
        "steps.align.learning_rate=0.001",
    ]
    text = (
        (FOLDER / f"{name}.yaml").read_text().replace("model: smollm2-135m-instruct\n", f"model: {{name: {model}}}\n")
    )
    text = text.replace("teacher: smollm2-135m-instruct", f"teacher: {model}")
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    done = run_recipe(read_recipe(path, changes), home=tmp_path / "runs")
    rows = [json.loads(line) for line in (done.folder / "training.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert all(math.isfinite(r["loss"]) for r in rows)
    asked = read_recipe(FOLDER / f"{name}.yaml").steps[0].config.read.limit
    assert json.loads((done.folder / "data.json").read_text())["train"] >= min(
        16, asked
    )  # nearly all of the file's rows fit
