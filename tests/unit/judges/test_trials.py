"""Where human labels come from: the named sets, files of several kinds, and what is left out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from theodolite.errors import DataError, UsageError
from theodolite.judges.trials import read_trials


def saved(tmp_path: Path, rows: list[dict[str, Any]], name: str = "mine.jsonl") -> str:
    (tmp_path / name).write_text("\n".join(json.dumps(r) for r in rows) + "\n")
    return str(tmp_path / name)


def test_the_named_sets(shared: Path) -> None:
    folder = shared / "preference"
    bar = read_trials("llmbar", folder=folder)
    assert Counter(t.subset for t in bar.pairs) == {"natural": 100, "neighbor": 134, "gptinst": 92, "gptout": 47}
    assert {t.human for t in bar.pairs} == {"A", "B"}
    assert len({t.item.id for t in bar.pairs}) == 373
    natural = read_trials("llmbar/natural", folder=folder)
    assert [t.item for t in natural.pairs] == [t.item for t in bar.pairs if t.subset == "natural"]
    panda = read_trials("pandalm", folder=folder)
    assert len(panda.pairs) + sum(panda.left_out.values()) == 999
    assert len(panda.pairs) == 938  # the others have an answer that is empty or a boolean, or no instruction
    assert {len(t.votes) for t in panda.pairs} == {3}
    assert {t.human for t in panda.pairs} == {"A", "B", "tie"}
    bench = read_trials("judgebench", folder=folder)
    assert len(bench.pairs) == 350


def test_a_limit_is_drawn_by_the_seed_from_each_subset(shared: Path) -> None:
    folder = shared / "preference"
    some = read_trials("llmbar", limit=5, seed=1, folder=folder)
    assert Counter(t.subset for t in some.pairs) == dict.fromkeys(("natural", "neighbor", "gptinst", "gptout"), 5)
    assert some == read_trials("llmbar", limit=5, seed=1, folder=folder)
    assert some != read_trials("llmbar", limit=5, seed=2, folder=folder)


def test_what_cannot_be_found(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Set THEODOLITE_SHARED"):
        read_trials("llmbar", folder=tmp_path)
    with pytest.raises(UsageError, match="no subset 'naturl'"):
        read_trials("llmbar/naturl", folder=tmp_path)
    with pytest.raises(DataError, match="Sets: llmbar"):
        read_trials("lmbar")
    with pytest.raises(UsageError, match="at least 1"):
        read_trials("llmbar", limit=0)


def test_the_better_answer_first_is_no_giveaway(tmp_path: Path) -> None:
    rows = [{"prompt": f"q{i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(200)]
    found = read_trials(saved(tmp_path, rows))
    assert 70 < sum(t.human == "A" for t in found.pairs) < 130
    assert all((t.item.a if t.human == "A" else t.item.b).startswith("good") for t in found.pairs)
    assert "turned round" in found.note
    assert found == read_trials(saved(tmp_path, rows))


def test_rankings_become_pairs(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "responses": ["x", "y", "z"], "scores": [1, 3, 1]}]
    found = read_trials(saved(tmp_path, rows))
    assert [(t.item.a, t.item.b, t.human) for t in found.pairs] == [
        ("x", "y", "B"),
        ("y", "z", "A"),
    ]  # x and z are level
    assert found.note == ""


def test_labelled_answers_with_references(tmp_path: Path) -> None:
    rows = [
        {"question": "2 + 2?", "response": "It is 4.", "label": True, "references": ["4", "four"]},
        {"question": "3 + 3?", "response": "5", "label": False, "reference": "6"},
    ]
    found = read_trials(saved(tmp_path, rows))
    assert [(t.item.text, t.human, t.item.references) for t in found.answers] == [
        ("It is 4.", True, ("4", "four")),
        ("5", False, ("6",)),
    ]
    assert found.pairs == ()


def test_examples_without_a_label_are_counted(tmp_path: Path) -> None:
    rows = [
        {"prompt": "q", "responses": ["x", "y"], "scores": [1, 0]},
        {"prompt": "r", "responses": ["x", "y"], "scores": [0, 1]},
        {"prompt": "p", "responses": ["x", "z"], "scores": [0, 1, 2]},
    ]
    found = read_trials(saved(tmp_path, rows))
    assert len(found.pairs) == 2
    assert list(found.left_out.values()) == [1]
    assert "3 scores for 2 answers" in next(iter(found.left_out))
    with pytest.raises(DataError, match="none of its 1 examples has a human label"):
        read_trials(saved(tmp_path, [{"prompt": "q", "responses": ["x", "y"]}], "bare.jsonl"))
