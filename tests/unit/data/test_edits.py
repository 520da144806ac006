"""Alignment of edits: hand-worked tags, an obvious slow version as oracle, invariants, speed."""

from __future__ import annotations

import functools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theodolite.data.edits import align, words

CASES = [
    ("abc", "abc", "CCC", "CCC", 3),
    ("abc", "axc", "CSC", "CSC", 1),
    ("abc", "ac", "CDC", "CC", 1),
    ("ac", "abc", "CC", "CIC", 1),
    ("", "ab", "", "II", -2),
    ("ab", "", "DD", "", -2),
    ("", "", "", "", 0),
    ("a", "b", "S", "S", -1),  # one substitution (-1) beats a deletion and an insertion (-2)
    ("ab", "b", "DC", "C", 0),
    ("aa", "a", "DC", "C", 0),  # going back from the end the diagonal comes first: the last 'a' is kept
    ("a", "aa", "C", "IC", 0),
]


@pytest.mark.parametrize(("before", "after", "tags_before", "tags_after", "score"), CASES)
def test_by_hand(before, after, tags_before, tags_after, score):
    got = align(before, after)
    assert (got.before, got.after, got.score) == (tags_before, tags_after, score)


def slow(x, y):
    """The recursion as the textbook writes it, with the tie rule diagonal, up, left."""

    @functools.cache
    def h(i, j):
        if i == 0 or j == 0:
            return -i - j
        return max(h(i - 1, j - 1) + (1 if x[i - 1] == y[j - 1] else -1), h(i - 1, j) - 1, h(i, j - 1) - 1)

    i, j, a, b = len(x), len(y), [], []
    while i or j:
        match = 1 if i and j and x[i - 1] == y[j - 1] else -1
        if i and j and h(i, j) == h(i - 1, j - 1) + match:
            tag = "C" if match == 1 else "S"
            a, b, i, j = [tag, *a], [tag, *b], i - 1, j - 1
        elif i and h(i, j) == h(i - 1, j) - 1:
            a, i = ["D", *a], i - 1
        else:
            b, j = ["I", *b], j - 1
    return "".join(a), "".join(b), h(len(x), len(y))


tokens = st.lists(st.integers(0, 3), max_size=12)


@given(tokens, tokens)
def test_equals_the_slow_version(x, y):
    got = align(x, y)
    assert (got.before, got.after, got.score) == slow(x, y)


@given(tokens, tokens)
def test_tags_account_for_every_token_and_rebuild_the_score(x, y):
    got = align(x, y)
    assert (len(got.before), len(got.after)) == (len(x), len(y))
    assert set(got.before) <= set("CDS")
    assert set(got.after) <= set("CIS")
    kept, changed = got.before.count("C"), got.before.count("S")
    assert (kept, changed) == (got.after.count("C"), got.after.count("S"))
    assert got.score == kept - changed - got.before.count("D") - got.after.count("I")
    assert [t for t, g in zip(x, got.before) if g == "C"] == [t for t, g in zip(y, got.after) if g == "C"]


def test_two_thousand_tokens_take_about_a_second():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 300, 2000).tolist()
    y = [t if rng.random() > 0.1 else 999 for t in x]
    start = time.perf_counter()
    got = align(x, y)
    assert time.perf_counter() - start < 5  # 0.1 s on a quiet machine
    assert got.before.count("S") == y.count(999)


def test_words_keep_marks_apart():
    assert words("Don't, 3.5!") == ["Don", "'", "t", ",", "3", ".", "5", "!"]
