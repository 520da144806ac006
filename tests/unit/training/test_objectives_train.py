"""Every objective whose data can be fed trains a tiny model; statistics shared by a step do not see its split."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from theodolite import registry
from theodolite.engine import token_logps
from theodolite.models import load_model
from theodolite.models.adapters import Lora
from theodolite.objectives.combine import parse
from theodolite.training.bundles import KINDS, prepare
from theodolite.training.config import Align
from theodolite.training.offline import Trained, train
from theodolite.types import Example, Response, Span
from tiny import tiny_folder

FED = [e.name for e in registry.entries("objective") if e.data in KINDS and set(e.extras) <= {"log1mp"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


def rows(kind: str) -> list[Example]:
    """A few rows of each kind; answers differ in length and letter."""
    good = [f"It is {w}." for w in ("red", "green", "bluish", "a dark kind of grey")]
    bad = [f"No {w}!" for w in ("one", "idea at all", "way", "thanks")]
    made = []
    for i in range(8):
        g, b = good[i % 4], bad[(i + 1) % 4]
        spans = (Span(0, len(g), "ok"),), (Span(0, len(b), "hallucination"),)
        answers = {
            "sft": [Response(g)],
            "pairs": [Response(g, 2.0), Response(b, 1.0)],
            "rankings": [Response(g, 2.0), Response(b, 1.0), Response("?", 0.0)],
            "labels": [Response(g, label=True) if i % 2 else Response(b, label=False)],
            "spans": [Response(g, spans=spans[0]), Response(b, spans=spans[1])],
            "judgments": [Response(b, judgment="wrong" if i % 2 else None)],
            "edits": [Response(g, 1.0), Response(g.replace("is", "was"), 0.0)],
            "negatives": [
                Response(b, label=False),
                Response("x", tokens=(40 + i, 2)),
                Response("y", tokens=(50, 60, 2)),
            ],
            "teacher": [Response(g, score=-1.0 - i / 4)],
        }[kind]
        made.append(Example.of(f"Question {i}?", *answers, id=str(i)))
    return made


def go(folder: Path, out: Path, name: str, **options: object) -> Trained:
    loaded = load_model(str(folder))
    objective = parse([{"name": name}])
    data = prepare(rows(objective.data), objective.data, loaded.tokenizer, max_length=1000, roles=objective.roles)
    settings = {
        "objective": name,
        "lora": Lora(r=4),
        "learning_rate": 3e-3,
        "epochs": 6,
        "batch": 8,
        "cache_reference": False,
    }
    return train(loaded, data, Align(**(settings | options)), out)


@pytest.mark.parametrize("name", FED)
def test_trains(folder: Path, tmp_path: Path, name: str) -> None:
    made = go(folder, tmp_path, name)
    losses = [r["loss"] for r in made.log]
    assert all(math.isfinite(x) for x in losses)
    assert losses[-1] < losses[0], losses


@pytest.mark.parametrize("name", ["kto", "bco", "mask_dpo", "cut", "pro"])
def test_the_split_of_a_batch_does_not_show(folder: Path, tmp_path: Path, name: str) -> None:
    whole = go(folder, tmp_path / "a", name, epochs=2)
    split = go(folder, tmp_path / "b", name, epochs=2, batch=2, accumulate=4, token_budget=70)
    a, b = (load_file(m.folder / "adapter_model.safetensors") for m in (whole, split))
    assert max(float((a[k] - b[k]).abs().max()) for k in a) < 3e-5


def test_what_is_not_fed_yet_says_so() -> None:
    left = {e.name for e in registry.entries("objective")} - set(FED)
    assert left == {"bialign", "bidirectional_kl", "npo_kl", "scir", "spo"}


def test_labels_of_rows_survive_the_bundles(folder: Path) -> None:
    loaded = load_model(str(folder))
    made = prepare(rows("labels"), "labels", loaded.tokenizer, max_length=1000, roles=("other", "mismatched"))
    p = token_logps(loaded.model, [replace(g) for b in made.bundles for g in b])
    assert p.label.tolist()[:4] == [0, -1, 1, -1]
    assert torch.equal(p.role, torch.tensor([0, 2] * 8))
