"""Positions of a short prompt made long: the properties of the paper's synthesis, and that training takes them."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from theodolite.engine.positions import Placed
from theodolite.errors import UsageError
from theodolite.models import load_model
from theodolite.models.adapters import Lora
from theodolite.training.bundles import prepare
from theodolite.training.config import Align, Stretch
from theodolite.training.offline import train
from theodolite.training.positions import places, stretched
from theodolite.types import Example, Group, Response
from tiny import tiny_folder


@given(
    prompt=st.integers(1, 80), answer=st.integers(1, 40), room=st.integers(2, 400), chunks=st.integers(1, 12),
    question=st.integers(1, 20), seed=st.integers(0, 9),
)  # fmt: skip
def test_positions_ascend_end_in_place_and_keep_chunks_and_question_together(
    prompt: int, answer: int, room: int, chunks: int, question: int, seed: int
) -> None:
    how = Stretch(positions=room, chunks=chunks, question=question)
    at = places(prompt, answer, how, random.Random(seed))
    assert len(at) == prompt
    assert all(b > a for a, b in itertools.pairwise(at))
    jumps = sum(b != a + 1 for a, b in itertools.pairwise(at))
    if prompt + answer >= room or prompt == 1:
        assert at == list(range(prompt)) or at[-1] + answer == room - 1
    else:
        tail = min(question, prompt - 1)
        assert at[-1] + answer == room - 1
        assert at[prompt - tail :] == list(range(room - answer - tail, room - answer))
        assert jumps <= min(chunks, prompt - tail)


def test_the_places_of_a_chunk_cover_its_span() -> None:
    how = Stretch(positions=20, chunks=2, question=1)
    seen = {tuple(places(7, 3, how, random.Random(s))) for s in range(300)}
    assert {p for at in seen for p in at[:-1]} == set(
        range(16)
    )  # 6 tokens of context, 16 positions before the question
    assert {at[-1] for at in seen} == {16}
    assert len(seen) == 9  # three places for each of two chunks


def test_a_text_as_long_as_asked_is_left_alone() -> None:
    how = Stretch(positions=30, chunks=3, question=2)
    assert places(20, 10, how, random.Random(0)) == list(range(20))
    assert places(25, 10, how, random.Random(0)) == list(range(25))


def test_bundles_are_placed_once_and_the_same_each_time() -> None:
    groups = [(Group((1,) * 12, ((2, 3), (4,)), id="a"),), (Group((1,) * 12, ((2, 3),), id="b"),)]
    how = Stretch(positions=64, chunks=3, question=2)
    once, again = stretched(groups, how, 0), stretched(groups, how, 0)
    assert once == again
    assert once != stretched(groups, how, 1)
    assert all(isinstance(b[0], Placed) and b[0].responses == g[0].responses for b, g in zip(once, groups))
    assert once[0][0].positions[-1] + 2 == 63


def examples() -> list[Example]:
    return [
        Example.of(
            f"Tell me about {i} in words?", Response(f"It is {i}.", 2.0), Response("No.", 1.0), Response("?", 0.0)
        )
        for i in range(8)
    ]


@pytest.mark.parametrize("objective", ["logo", "dpo"])
def test_training_sees_the_places(tmp_path: Path, objective: str) -> None:
    folder = tiny_folder(tmp_path / "model")
    found = {}
    for name, stretch in (("natural", None), ("far", {"positions": 500, "chunks": 4, "question": 8})):
        loaded = load_model(str(folder))
        kind = "rankings" if objective == "logo" else "pairs"
        rows = examples() if kind == "rankings" else [e.with_responses(e.responses[:2]) for e in examples()]
        data = prepare(rows, kind, loaded.tokenizer, max_length=1000)
        config = Align(objective=objective, lora=Lora(r=4), epochs=3, learning_rate=3e-3, stretch=stretch)
        made = train(loaded, data, config, tmp_path / name, reference_cache=tmp_path / "cache")
        assert made.log[-1]["loss"] < made.log[0]["loss"]
        found[name] = load_file(made.folder / "adapter_model.safetensors")
    assert any((found["far"][k] - found["natural"][k]).abs().max() > 1e-4 for k in found["far"])
    kept = list((tmp_path / "cache").glob("*.npy"))
    assert len(kept) == (0 if objective == "logo" else 1)  # stretched references are not kept under the tokens' key


def test_more_positions_than_the_model_has_are_refused(tmp_path: Path) -> None:
    loaded = load_model(str(tiny_folder(tmp_path / "model", context=256)))
    data = prepare(examples(), "rankings", loaded.tokenizer, max_length=256)
    with pytest.raises(UsageError, match="has 256"):
        train(loaded, data, Align(objective="logo", stretch={"positions": 4096}), tmp_path / "out")
