"""Splits, duplicates, leakage, lengths: hand-worked cases and slow obvious versions beside the fast ones."""

from __future__ import annotations

import random

import numpy as np
import pytest

from theodolite.data import duplicates, select
from theodolite.errors import DataError, UsageError
from theodolite.types import Example, Message, Response


def asked(*questions):
    return [Example.of(q, f"answer {i}", id=str(i)) for i, q in enumerate(questions)]


def test_split_never_parts_equal_prompts():
    examples = asked(*[f"question {i % 40}" for i in range(200)], *["Question  7", "question\n7"])
    for seed in range(5):
        train, held = select.split(examples, 0.25, seed)
        assert len(train) + len(held) == 202
        assert 40 <= len(held) <= 50
        keys = [{" ".join(e.question.lower().split()) for e in side} for side in (train, held)]
        assert not keys[0] & keys[1]


def test_split_takes_the_exact_number_where_prompts_differ_and_depends_on_the_seed_alone():
    examples = asked(*[f"question {i}" for i in range(100)])
    ids = [[e.id for e in select.split(examples, 30, seed).held_out] for seed in (1, 1, 2)]
    assert len(ids[0]) == 30
    assert ids[0] == ids[1] != ids[2]
    assert ids[0] == sorted(ids[0], key=int)


def test_split_by_meta_and_by_group():
    examples = [Example.of(f"q {i}", meta_key=i % 5) for i in range(50)]
    train, held = select.split(examples, 10, 0, by="meta_key")
    assert {e.meta["meta_key"] for e in held}.isdisjoint(e.meta["meta_key"] for e in train)
    trees = [Example.of(f"q {i}", group=f"tree {i // 10}") for i in range(50)]
    train, held = select.split(trees, 0.2, 0)
    assert len({e.meta["group"] for e in held}) == 1
    assert len(held) == 10
    with pytest.raises(UsageError, match="no 'topic' to split by"):
        select.split(examples, 10, 0, by="topic")


@pytest.mark.parametrize("held_out", [0, 10, 11, -1, 0.0, 1.0, 1.5])
def test_a_split_with_an_empty_side_is_refused(held_out):
    with pytest.raises(UsageError, match="A share lies between 0 and 1"):
        select.split(asked(*map(str, range(10))), held_out, 0)


def test_a_split_that_no_group_fits_is_refused():
    with pytest.raises(DataError, match="the smallest has 10"):
        select.split(asked(*["same"] * 10, *["other"] * 10), 5, 0)


def jaccard(a, b, n):
    def grams(text):
        words = duplicates.tokens(text)
        return {tuple(words[i : i + n]) for i in range(max(len(words) - n + 1, 1))} if words else set()

    x, y = grams(a), grams(b)
    return len(x & y) / len(x | y) if x and y else 0.0


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 1.0])
def test_near_duplicates_are_exactly_those_of_the_slow_version(n, threshold):
    rng = random.Random(n)
    base = [[rng.choice("abcdefgh") * 2 for _ in range(rng.randint(0, 25))] for _ in range(40)]
    texts = []
    for words in base:
        texts.append(" ".join(words))
        texts.append(" ".join(w if rng.random() > 0.05 else "zz" for w in words))
    a, b = texts[:50], texts[30:]
    slow = {(i, j): jaccard(x, y, n) for i, x in enumerate(a) for j, y in enumerate(b)}
    fast = {(i, j): s for i, j, s in duplicates.near_duplicates(a, b, threshold, n)}
    assert fast == pytest.approx({k: s for k, s in slow.items() if s >= threshold})
    assert fast
    within = {(i, j) for i, j, _ in duplicates.near_duplicates(a, None, threshold, n)}
    assert within == {(i, j) for i in range(50) for j in range(i + 1, 50) if jaccard(a[i], a[j], n) >= threshold}


def test_near_duplicates_ignore_case_and_punctuation_and_see_chinese():
    assert duplicates.near_duplicates(["Name, a COLOUR!"], ["name a colour"]) == [(0, 0, 1.0)]
    assert duplicates.near_duplicates(["Name a colour"], ["name one colour"]) == []
    assert duplicates.near_duplicates(["请解释一下颜色空间的区别"], ["请解释一下颜色空间的区别。"])[0][2] == 1.0
    assert duplicates.near_duplicates([], []) == duplicates.near_duplicates(["", "!"], ["", "?"]) == []
    with pytest.raises(UsageError, match="threshold"):
        duplicates.near_duplicates(["a"], ["b"], 80)


def test_near_duplicates_are_fast_enough_for_a_data_set():
    import time

    rng = np.random.default_rng(0)
    words = np.array([f"w{i}" for i in range(5000)])
    texts = [" ".join(words[rng.zipf(1.4, 40) % 5000]) for _ in range(10_000)]
    start = time.perf_counter()
    found = duplicates.near_duplicates(texts, [texts[7] + " more", texts[9]])
    assert time.perf_counter() - start < 20  # about 0.6 s on a quiet machine
    assert {(i, j) for i, j, _ in found} >= {(7, 0), (9, 1)}


def test_leakage_compares_prompts_without_system_turns():
    system = Message("system", "You are a helpful assistant that answers every question at length and with care.")
    long = "Write a poem about the river that runs behind my house in spring."
    train = [Example((system, Message("user", q))) for q in ("What is two plus two?", long)]
    held = [Example((system, Message("user", q))) for q in ("Where do birds go?", long.lower())]
    assert select.leakage(train, held) == [(1, 1, 1.0)]


def test_unique_and_merge():
    a, b = Example.of("q", "x", "y", id="a"), Example.of("q", "x", "y", id="b")
    c = Example.of("q", "y", "z", id="c")
    kept, out = select.unique([a, b, c])
    assert [e.id for e in kept] == ["a", "c"]
    assert [o.id for o in out] == ["b"]
    merged = select.merge([a, c, Example.of("other", "x")])
    assert [[r.text for r in e.responses] for e in merged] == [["x", "y", "z"], ["x"]]


def test_by_length_names_what_was_too_long():
    examples = [
        Example.of("one two three", "a b"),
        Example.of("one", "a b c d", "a"),
        Example.of("one", "a b", "a b c"),
    ]
    kept, out = select.by_length(examples, max_prompt=2, max_response=3, min_response=2)
    assert kept == [examples[2]]
    assert [o.reason for o in out] == ["a prompt longer than 2", "a response longer than 3"]
    assert select.by_length(examples, min_response=2).left_out[0].reason == "a response shorter than 2"
    assert len(select.by_length(examples, max_response=3, count=len).examples) == 1  # characters: 'a b' has 3
    assert select.by_length(examples).examples == examples
    assert select.word_count("don't 你好 3.5") == 6


def pair(chosen, rejected, i, **meta):
    return Example.of(f"q{i}", Response("w " * chosen), Response("w " * rejected), id=str(i), **meta)


def test_length_bias_by_hand():
    """Three of four unequal pairs have the longer chosen: 0.75. Differences 2, 3, 1, -4, 0: mean 0.4 words."""
    reading = select.length_bias([pair(4, 2, 0), pair(5, 2, 1), pair(2, 1, 2), pair(1, 5, 3), pair(3, 3, 4)])
    assert reading.value == 0.75
    assert (reading.n, reading.missing, dict(reading.why)) == (4, 1, {"equal length": 1})
    assert reading.parts["mean_difference"] == pytest.approx(0.4)
    assert reading.parts["mean_chosen"] - reading.parts["mean_rejected"] == pytest.approx(0.4)
    assert reading.p_value == pytest.approx(0.625)  # 3 of 4 heads or more extreme: 2 * (4 + 1) / 16
    assert (reading.low, reading.high) == pytest.approx((0.3006, 0.9544), abs=1e-4)


def test_length_bias_counts_prompts_not_pairs():
    twice = [pair(4, 2, 0, prompt_id="p"), pair(2, 4, 1, prompt_id="p"), pair(3, 1, 2, prompt_id="q")]
    reading = select.length_bias(twice)
    assert (reading.value, reading.n) == (0.75, 2)
    swapped = select.length_bias([e.with_responses(e.responses[::-1]) for e in twice])
    assert swapped.value == 0.25


def test_length_bias_of_nothing_and_of_no_pairs():
    assert "undefined" in str(select.length_bias([]))
    assert np.isnan(select.length_bias([pair(2, 2, 0)]).value)
    with pytest.raises(DataError, match="has 3 responses"):
        select.length_bias([Example.of("q", "a", "b", "c", id="x")])
