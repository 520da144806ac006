"""AlignScore's chunks and aggregate by hand, and metrics against people on FRANK."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from measure_case import Case
from theodolite.data.sentences import sentences
from theodolite.measures.call import evaluate
from theodolite.measures.judges.consistency import alignscore_aggregate, alignscore_pairs, chunks
from theodolite.measures.records import Records


def table(scores: dict[str, list[list[float | None]]]) -> Records:
    rows = [(d, i, j, s) for d, m in scores.items() for i, line in enumerate(m) for j, s in enumerate(line)]
    return Records(dict(zip(("document", "chunk", "sentence", "score"), map(list, zip(*rows)))))


GENERATOR = np.random.default_rng(0)
HUMAN = GENERATOR.normal(size=40)
FOLLOWS = Records({"metric": HUMAN + GENERATOR.normal(0, 0.3, 40), "human": HUMAN, "system": ["a", "b"] * 20})
AGAINST = Records({"metric": -HUMAN, "human": HUMAN})
HOLES = Records({"metric": [1.0, 2.0, None, 4.0], "human": [1.0, 3.0, 2.0, None]})
CASES = {
    "factual_consistency": Case(
        good=table({"a": [[0.9, 0.8], [0.2, 0.9]], "b": [[0.7]], "c": [[0.8]]}),
        bad=table({"a": [[0.1, 0.2], [0.2, 0.1]], "b": [[0.3]], "c": [[0.2]]}),
        undefined=table({"a": [[None]]}),
        missing=(table({"a": [[0.9, None]], "b": [[0.5]], "c": [[0.5]]}), 1),
    ),
    "consistency_correlation": Case(
        good=FOLLOWS, bad=AGAINST, undefined=Records({"metric": [1.0, 1.0], "human": [0.0, 1.0]}), missing=(HOLES, 2)
    ),
}


def split(text: str) -> list[str]:
    return [text[a:b] for a, b in sentences(text)]


def test_aggregate_of_the_specification() -> None:
    assert alignscore_aggregate([[0.1, 0.9], [0.8, 0.2]]) == pytest.approx(0.85)
    assert math.isnan(alignscore_aggregate(np.zeros((2, 0))))
    assert math.isnan(alignscore_aggregate([[0.5, math.nan]]))


def test_chunks_of_the_specification() -> None:
    # 7 sentences of 100 words: 700 // 350 + 1 = 3 pieces, 7 // 3 = 2 sentences each, so four: 2, 2, 2, 1
    text = " ".join(" ".join(["Word"] * 99) + " end." for _ in range(7))
    assert len(split(text)) == 7
    assert [len(split(c)) for c in chunks(text, split)] == [2, 2, 2, 1]
    assert chunks("One. Two. Three.", split) == ["One. Two. Three."]
    assert chunks("", split) == [""]
    assert chunks("One. Two. Three.", split, words=1) == ["One.", "Two.", "Three."]


def test_pairs() -> None:
    got = alignscore_pairs("Two cats. A dog.", "Cats sat. Dogs ran.", split, words=2)
    assert [(i, j) for i, j, _, _ in got] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert got[2][2:] == ("A dog.", "Cats sat.")
    assert alignscore_pairs("Two cats.", "", split) == []


@given(st.integers(0, 10**6))
def test_a_chunk_twice_changes_nothing_and_another_never_lowers(seed: int) -> None:
    generator = np.random.default_rng(seed)
    m = generator.random((3, 4))
    assert alignscore_aggregate(np.vstack([m, m[:1]])) == alignscore_aggregate(m)
    assert alignscore_aggregate(np.vstack([m, generator.random((1, 4))])) >= alignscore_aggregate(m)


def test_documents_by_hand() -> None:
    got = evaluate("factual_consistency", table({"a": [[0.1, 0.9], [0.8, 0.2]], "b": [[0.5]]}))
    assert got.value == pytest.approx((0.85 + 0.5) / 2)
    assert got.parts["weakest"] == pytest.approx((0.8 + 0.5) / 2)


def test_an_incomplete_table_is_left_out() -> None:
    full = table({"a": [[0.1, 0.9], [0.8, 0.2]], "b": [[0.5]]})
    partial = Records({k: v[1:] for k, v in full.columns.items()})
    got = evaluate("factual_consistency", partial)
    assert (got.value, got.why) == (0.5, {"some pairs of chunk and sentence are absent": 1})


def test_systems_by_hand() -> None:
    # inside each system the metric is backwards, between systems it is right
    data = {"metric": [1, 2, 11, 12], "human": [2, 1, 12, 11], "system": ["a", "a", "b", "b"]}
    got = evaluate("consistency_correlation", data)
    assert got.value == pytest.approx(0.6)  # rank differences of 1: 1 - 6 * 4 / (4 * 15)
    assert got.parts["within_systems"] == pytest.approx(-1)
    assert got.parts["systems"]["spearman"] == pytest.approx(1)
    assert got.parts["systems"]["n"] == 2


def test_on_frank(shared: Path) -> None:
    folder = shared / "honesty"
    people = json.loads((folder / "frank_human_annotations.json").read_text(encoding="utf-8"))
    metrics = json.loads((folder / "frank_baseline_metric_outputs.json").read_text(encoding="utf-8"))
    by = {(m["hash"], m["model_name"]): m for m in metrics}
    rows = [(p, by[p["hash"], p["model_name"]]) for p in people]
    found = {}
    for name in ("BertScore P Art", "Rouge L", "FactCC"):
        known = [(m[name], p["Factuality"], p["model_name"], p["hash"]) for p, m in rows if m.get(name) is not None]
        x, y, system, document = map(list, zip(*known))
        data = {"metric": x, "human": y, "system": system, "document": document}
        got = evaluate("consistency_correlation", data, resamples=300)
        assert got.value == pytest.approx(scipy_stats.spearmanr(x, y).statistic)
        assert got.parts["kendall"] == pytest.approx(scipy_stats.kendalltau(x, y).statistic)
        assert got.low < got.value < got.high
        found[name] = got
    # FRANK's finding: comparing with the article says more about factuality than comparing with the reference
    assert found["BertScore P Art"].value > found["Rouge L"].value > 0
    assert found["FactCC"].parts["within_systems"] > 0
