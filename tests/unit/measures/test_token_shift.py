"""Token shift: ranks and ties, KL, shares by hand, intervals over prompts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax
from scipy.stats import entropy, rankdata

from measure_case import Case
from theodolite import stats
from theodolite.errors import DataError, UsageError
from theodolite.measures.call import evaluate
from theodolite.measures.records import Records
from theodolite.measures.turning.token_shift import base_ranks, by_position, classes, token_kl

RANKS = np.random.default_rng(0).choice([1, 2, 3, 4, 90], p=[0.8, 0.07, 0.05, 0.05, 0.03], size=300)

CASES = {
    "token_shift": Case(
        good=Records({"rank": RANKS, "prompt": np.arange(300) // 20}),
        undefined=Records({"rank": [None, None]}),
        missing=(Records({"rank": [1, 2, None, 5, 1], "prompt": ["a", "a", "a", None, "b"]}), 2),
    )
}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(1, 12))
def test_ranks_equal_scipy(seed: int, v: int, t: int) -> None:
    rng = np.random.default_rng(seed)
    logits, chosen = rng.integers(-2, 3, (t, v)).astype(float), rng.integers(0, v, t)
    for ours, theirs in (("optimistic", "min"), ("average", "average"), ("pessimistic", "max")):
        expected = rankdata(-logits, theirs, axis=1)[np.arange(t), chosen]
        np.testing.assert_array_equal(base_ranks(logits, chosen, ours), expected)  # type: ignore[arg-type]
    np.testing.assert_array_equal(base_ranks(logits + 7, chosen), base_ranks(logits, chosen))


def test_uniform_base_and_padding() -> None:
    flat = np.zeros((3, 8))
    assert base_ranks(flat, [0, 3, 7]).tolist() == [1, 1, 1]
    assert base_ranks(flat, [0, 3, 7], "average").tolist() == [4.5, 4.5, 4.5]
    assert base_ranks(flat, [0, 3, 7], "pessimistic").tolist() == [8, 8, 8]
    padded = np.hstack([np.array([[1.0, 2.0]]), [[9.0, 9.0]]])
    assert base_ranks(padded, [1], vocabulary=2).tolist() == [1]
    assert base_ranks(padded, [1]).tolist() == [3]
    with pytest.raises(UsageError, match="from 0 to 1"):
        base_ranks(padded, [2], vocabulary=2)


def test_many_rows_in_blocks() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(90, 100_000)).astype(np.float32)  # three blocks
    chosen = logits.argmax(1)
    assert (base_ranks(logits, chosen) == 1).all()
    assert base_ranks(logits[-1:], [5])[0] == (logits[-1] > logits[-1, 5]).sum() + 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_kl_equals_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = 5 * rng.normal(size=(4, 7)), 5 * rng.normal(size=(4, 7))
    expected = entropy(np.exp(log_softmax(a, 1)), np.exp(log_softmax(b, 1)), axis=1)
    np.testing.assert_allclose(token_kl(a, b), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(token_kl(a, a + 3), 0, atol=1e-12)


def test_kl_of_excluded_tokens() -> None:
    a, b = np.array([[0.0, -math.inf]]), np.array([[0.0, 0.0]])
    assert token_kl(a, b) == pytest.approx([math.log(2)])
    assert token_kl(b, a)[0] == math.inf
    with pytest.raises(UsageError, match="one shape"):
        token_kl(a, np.zeros((1, 3)))


def test_classes_and_value_by_hand() -> None:
    assert classes([1, 1.5, 2, 3, 3.5, 4, 900]).tolist() == [0, 1, 1, 1, 2, 2, 2]
    data = {
        "rank": [1, 1, 2, 3, 4, 50],
        "prompt": ["a", "a", "a", "b", "b", "b"],
        "position": [0, 1, 2, 0, 1, 2],
        "kl": [0, 0, 1, 1, 2, 2],
        "p_base": [0.9, 0.9, 0.3, 0.1, 0.05, 0.05],
        "token": ["x", "y", "z", "x", "Sure", "Sure"],
    }
    got = evaluate("token_shift", data)
    assert got.value == pytest.approx(2 / 6)
    assert [got.parts[k] for k in ("unshifted", "marginal", "shifted")] == pytest.approx([1 / 3] * 3)
    assert got.parts["kl"] == pytest.approx(1)
    assert got.parts["p_base"] == pytest.approx(2.3 / 6)
    assert got.parts["tokens"] == {"Sure": 2}
    assert [r["shifted"] for r in got.parts["by_position"]] == [0, 0.5, 0.5]
    assert got.n == 2
    assert (got.low, got.high) == pytest.approx((0, 2 / 3))  # the two answers' own shares


def test_same_model_shifts_nothing() -> None:
    logits = np.random.default_rng(0).normal(size=(30, 50))
    ranks = base_ranks(logits, logits.argmax(1))
    got = evaluate("token_shift", {"rank": ranks})
    assert got.value == 0
    assert got.parts["unshifted"] == 1
    span = stats.wilson(0, 30)
    assert (got.low, got.high) == pytest.approx((span.low, span.high))
    assert "independent" in got.note


def test_positions_double() -> None:
    rows = by_position(np.r_[np.arange(16), math.nan], np.r_[np.full(16, 2), 0])
    assert [(r["from"], r["to"], r["n"]) for r in rows] == [(0, 0, 1), (1, 1, 1), (2, 3, 2), (4, 7, 4), (8, 15, 8)]
    assert all(r["shifted"] == 1 for r in rows)


def test_ranks_count_from_one() -> None:
    with pytest.raises(DataError, match="count from 1"):
        evaluate("token_shift", {"rank": [0, 1]})
