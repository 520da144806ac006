"""Concept shift: cosines in closed form, k-means against scikit-learn, exact recovery, edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from measure_case import Case
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.likeness.concept_shift import (
    kmeans,
    mean_cosine,
    mean_cosine_variance,
    principal_concepts,
    recovery,
)
from theodolite.measures.records import Records


def moved(spread: float = 0.2, gaps: bool = False) -> Records:
    """Three far concepts of 30 samples, each moved its own way."""
    rng = np.random.default_rng(0)
    centres, ways = 20 * np.eye(6)[:3], rng.normal(size=(3, 6))
    concept = np.repeat(np.arange(3), 30)
    before = centres[concept] + rng.normal(size=(90, 6))
    after = before + ways[concept] + spread * rng.normal(size=(90, 6))
    if gaps:
        before[4, 1] = after[11, 2] = math.nan
    return Records({"before": before, "after": after})


CASES = {
    "concept_shift": Case(
        good=moved(),
        undefined=Records({"before": np.eye(5), "after": np.eye(5)}),
        missing=(moved(gaps=True), 2),
        options={"k": 3},
    )
}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(1, 5))
def test_closed_forms_equal_loops(seed: int, n: int, d: int) -> None:
    v = np.random.default_rng(seed).normal(size=(n, d))

    def slow(rows: np.ndarray) -> float:
        u = rows / np.linalg.norm(rows, axis=1)[:, None]
        return float(np.mean([u[i] @ u[j] for i in range(len(u)) for j in range(i)]))

    assert mean_cosine(np.vstack([v, np.zeros((1, d))])) == pytest.approx(slow(v))  # a zero row has no direction
    if n > 2:
        left = np.array([slow(np.delete(v, i, 0)) for i in range(n)])
        expected = (n - 1) / n * ((left - left.mean()) ** 2).sum()
        assert mean_cosine_variance(v) == pytest.approx(expected, abs=1e-12)


def test_cosine_by_hand() -> None:
    assert mean_cosine(np.array([[1.0, 0], [0, 2], [3, 0]])) == pytest.approx(1 / 3)  # pairs 0, 1, 0
    assert math.isnan(mean_cosine(np.array([[1.0, 0.0]])))
    assert math.isnan(mean_cosine(np.zeros((4, 2))))


@pytest.mark.parametrize("seed", range(5))
def test_kmeans_is_as_tight_as_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(120, 3)) + 6 * rng.normal(size=(4, 3))[np.arange(120) % 4]
    centres, code = kmeans(x, 4, rng, starts=10)
    ours = ((x - centres[code]) ** 2).sum()
    assert ours <= KMeans(4, n_init=10, random_state=seed).fit(x).inertia_ * 1.001
    for k in range(4):
        np.testing.assert_allclose(centres[k], x[code == k].mean(0))


def test_one_constant_shift_is_consistent_and_recovered() -> None:
    data = moved()
    before = data["before"]
    got = evaluate("concept_shift", {"before": before, "after": before + np.arange(6)}, k=3)
    assert got.value == pytest.approx(1)
    assert (got.low, got.high) == pytest.approx((1, 1))
    assert got.parts["magnitude"] == pytest.approx([math.sqrt(55)] * 3)
    assert got.parts["l2"] == pytest.approx([1, 1, 1])  # the shift leads exactly to where the concept is found again
    assert (got.parts["cosine"] > 0).all()


def test_value_by_hand() -> None:
    # concept one: shifts (1,0), (0,1): cosine 0; concept two: (2,0), (1,0): cosine 1. Mean 1/2.
    before = np.array([[0, 0], [0.1, 0], [9, 9], [9.1, 9]])
    after = before + np.array([[1, 0], [0, 1], [2, 0], [1, 0.0]])
    got = evaluate("concept_shift", {"before": before, "after": after}, k=2)
    assert got.value == pytest.approx(0.5)
    assert sorted(got.parts["consistency"]) == pytest.approx([0, 1])
    assert sorted(got.parts["magnitude"]) == pytest.approx([math.sqrt(0.5), 1.5])
    assert "no interval" in got.note


def test_recovery_by_hand() -> None:
    u, v = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 1.0], [0.0, 0.0]])
    tuned = np.array([[0.0, 2.0], [1.0, 1.0]])  # given in the other order
    got = recovery(u, v, tuned)
    assert got["match"].tolist() == [1, 0]
    assert got["cosine"] == pytest.approx([(1 - math.sqrt(0.5)) / math.sqrt(0.5), 0])
    assert got["l2"] == pytest.approx([1, 0])


def test_rotation_turns_nothing_else() -> None:
    data, (turn, _) = moved(), np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))
    there = evaluate("concept_shift", data, k=3)
    turned = {"before": data["before"] @ turn, "after": data["after"] @ turn}
    again = evaluate("concept_shift", turned, k=3)
    assert again.value == pytest.approx(there.value)
    assert sorted(again.parts["magnitude"]) == pytest.approx(sorted(there.parts["magnitude"]))


def test_principal_axes() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)) * np.array([9, 5, 0.1, 0.1])
    axes, code = principal_concepts(x, 2)
    np.testing.assert_allclose(np.abs(axes), np.eye(4)[:2], atol=0.05)
    assert (axes.max(1) > 0.9).all()  # the sign is settled
    assert (code == (np.abs(x[:, 1] - x[:, 1].mean()) > np.abs(x[:, 0] - x[:, 0].mean()))).mean() > 0.95
    assert evaluate("concept_shift", moved(), k=2, method="pca").n == 90


def test_interval_covers_and_letters() -> None:
    got = evaluate("concept_shift", moved(spread=1.0), k=3)
    assert got.low < got.value < got.high
    assert got.method == "jackknife over samples"
    with pytest.raises(DataError, match="same samples"):
        evaluate("concept_shift", {"before": np.ones((3, 2)), "after": np.ones((4, 2))})
    assert "lower k" in evaluate("concept_shift", {"before": np.eye(3), "after": np.eye(3)}).note
    some = evaluate("concept_shift", moved(), k=3)
    still = dict(moved())
    still["after"] = np.where(np.arange(90)[:, None] < 5, still["before"], still["after"])
    assert evaluate("concept_shift", still, k=3).parts["unmoved"] == 5
    assert some.parts["unmoved"] == 0
