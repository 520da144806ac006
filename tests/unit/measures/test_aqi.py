"""AQI: indices by hand and against scikit-learn, the redundancy of two of them, invariances, edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, pdist
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score

from measure_case import Case
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.likeness.aqi import prepared, squash
from theodolite.measures.likeness.separation import ClassSums, pairwise_extremes, separation
from theodolite.measures.records import Records

SQUARE = np.array([[0.0, 0.0], [0.0, 2.0], [4.0, 0.0], [4.0, 2.0]])
SIDES = np.array([0, 0, 1, 1])


def two_clouds(gap: float, n: int = 60, d: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    return rng.normal(size=(n, d)) + gap * label[:, None] * np.eye(d)[0], label


def table(gap: float, **rest: object) -> Records:
    x, y = two_clouds(gap)
    return Records({"states": x, "label": y, **rest})


def with_gaps() -> Records:
    x, y = two_clouds(4.0)
    label = [None if i in (3, 5) else int(v) for i, v in enumerate(y)]
    x[10, 2] = math.nan
    return Records({"states": x, "label": label})


CASES = {
    "aqi": Case(
        good=table(12.0),
        bad=table(0.0),
        undefined=Records({"states": SQUARE, "label": [1, 1, 1, 1]}),
        missing=(with_gaps(), 3),
    )
}


def test_indices_by_hand() -> None:
    # centroids (0,1) and (4,1), W = 4, n = 4: CHI = [2*4 + 2*4]/1 / (4/2) = 8; XBI = 4/(4*16); DBS = (1+1)/4; DI = 4/2
    got = separation(SQUARE, SIDES)
    assert {k: got[k] for k in ("chi", "xbi", "dbs", "di")} == pytest.approx(
        {"chi": 8, "xbi": 0.0625, "dbs": 0.5, "di": 2}
    )
    # of each point: own 2, other (4 + sqrt(20))/2, so s = 1 - 2/4.23607
    assert got["silhouette"] == pytest.approx(1 - 2 / ((4 + math.sqrt(20)) / 2))


def test_value_by_hand() -> None:
    got = evaluate("aqi", {"states": SQUARE, "label": SIDES}, standardise=False)
    assert got.value == pytest.approx(0.5 * (1 / 1.5) + 0.5 * (2 / 3))
    got = evaluate("aqi", {"states": SQUARE, "label": SIDES}, standardise=False, gamma=0.25, indices=("di", "dbs"))
    assert got.value == pytest.approx(0.25 * (2 / 3) + 0.75 * (1 / 1.5))
    assert math.isnan(got.low)
    assert "Dunn" in got.note


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(5, 60), st.integers(1, 5), st.integers(2, 4), st.booleans())
def test_indices_equal_scikit_learn(seed: int, n: int, d: int, classes: int, coarse: bool) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) + 3.0
    x = np.round(x) if coarse else x  # ties and coincident points
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, n - classes)])
    got = separation(x, y)
    if classes < n and got["chi"] < 1e12 and got["dbs"] < 1e12:
        assert got["chi"] == pytest.approx(calinski_harabasz_score(x, y), rel=1e-8)
        assert got["silhouette"] == pytest.approx(silhouette_score(x, y), abs=1e-6)
        means = np.array([x[y == k].mean(0) for k in range(classes)])
        if pdist(means).min() > 1e-9:
            assert got["dbs"] == pytest.approx(davies_bouldin_score(x, y), rel=1e-6)
            within = sum(((x[y == k] - means[k]) ** 2).sum() for k in range(classes))
            assert got["xbi"] == pytest.approx(within / n / pdist(means).min() ** 2, rel=1e-8)
    between = min(cdist(x[y == a], x[y == b]).min() for a in range(classes) for b in range(a))
    inside = max([*(pdist(x[y == k]).max(initial=0.0) for k in range(classes))])
    assert got["di"] == (pytest.approx(between / inside, rel=1e-9, abs=1e-12) if inside else pytest.approx(math.inf))


def test_blocks_do_not_change_distances() -> None:
    x, y = two_clouds(1.0, n=47)
    a, b = pairwise_extremes(x, y, block=5), pairwise_extremes(x, y)
    np.testing.assert_allclose(a[0], b[0], atol=1e-12)
    assert a[1:] == pytest.approx(b[1:])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(2, 40))
def test_chi_times_xbi_is_fixed_by_the_class_sizes(seed: int, n0: int, n1: int) -> None:
    x = np.random.default_rng(seed).normal(size=(n0 + n1, 3))
    got = separation(x, np.r_[np.zeros(n0), np.ones(n1)])
    n = n0 + n1
    assert got["chi"] * got["xbi"] == pytest.approx(n0 * n1 * (n - 2) / n**2, rel=1e-9)


def test_the_redundant_pair_is_told() -> None:
    assert "adds nothing" in evaluate("aqi", table(3.0), indices=("chi", "xbi")).note


def test_indices_ignore_shift_rotation_scale_and_names() -> None:
    x, y = two_clouds(2.0)
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(6, 6)))
    there = separation(x, y)
    for other in (x + 100, x @ turn, x * 7.5):
        assert separation(other, y) == pytest.approx(there, rel=1e-7)
    assert separation(x, 1 - y) == pytest.approx(there)


def test_batches_of_all_layers_add_up() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(4, 50, 5)) + 1000, rng.integers(0, 2, 50)  # (L, n, d), far from 0
    whole = ClassSums.of(x, y)
    parts = ClassSums.of(x[:, :7], y[:7]).merge(ClassSums.of(x[:, 7:8], y[7:8])).merge(ClassSums.of(x[:, 8:], y[8:]))
    np.testing.assert_allclose(parts.chi(), whole.chi(), rtol=1e-9)
    np.testing.assert_allclose(parts.xbi(), whole.xbi(), rtol=1e-9)
    assert whole.chi()[2] == pytest.approx(calinski_harabasz_score(x[2], y), rel=1e-9)


def test_edges() -> None:
    same = np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 1.0], [1.0, -1.0]])  # both centroids at (1, 0)
    got = separation(same, SIDES)
    assert (got["xbi"], got["chi"], got["dbs"]) == (math.inf, 0.0, math.inf)
    assert squash("dbs", got["dbs"]) == squash("xbi", got["xbi"]) == 0
    points = separation(np.array([[0.0], [0.0], [5.0], [5.0]]), SIDES)  # no scatter at all
    assert points["chi"] == points["di"] == math.inf
    assert points["silhouette"] == 1
    assert squash("chi", math.inf) == squash("di", math.inf) == 1
    assert all(math.isnan(v) for v in separation(SQUARE, [1, 1, 1, 1]).values())
    assert all(math.isnan(v) for v in separation(SQUARE[:2], [0, 1]).values())
    touching = separation(np.array([[0.0], [1.0], [1.0], [3.0]]), SIDES)
    assert touching["di"] == 0  # a distance of 0 between classes counts


def test_interval_covers_and_shrinks() -> None:
    options = {"indices": ("dbs", "silhouette")}
    small, big = (two_clouds(3.0, n=n, seed=2) for n in (60, 1500))
    a, b = (evaluate("aqi", {"states": x, "label": y}, **options) for x, y in (small, big))
    assert a.low < a.value < a.high
    assert b.high - b.low < (a.high - a.low) / 2
    assert b.method == "jackknife over groups of items"


def test_interval_holds_its_share() -> None:
    rng, found = np.random.default_rng(0), []
    for _ in range(40):
        label = np.arange(80) % 2
        x = rng.normal(size=(80, 30)) + label[:, None] * np.eye(30)[0]
        found.append(evaluate("aqi", {"states": x, "label": label}, indices=("dbs", "silhouette")))
    expected = np.mean([f.value for f in found])
    assert all(f.low < f.value < f.high for f in found)
    assert sum(f.low <= expected <= f.high for f in found) >= 35


def test_layers_axioms_weights_and_cap() -> None:
    rng = np.random.default_rng(0)
    x, y = two_clouds(8.0)
    layers = np.stack([rng.normal(size=x.shape), x], 1)
    axiom = np.where(np.arange(60) < 30, "care", "fairness")
    got = evaluate("aqi", {"states": layers, "label": y, "axiom": axiom})
    assert got.parts["layers"][1] == pytest.approx(got.value)
    assert got.parts["layers"][0] < got.parts["layers"][1]
    assert set(got.parts["by_axiom"]) == {"care", "fairness"}
    first = evaluate("aqi", {"states": layers, "label": y, "layer_weights": [1, 0]})
    assert first.value == pytest.approx(got.parts["layers"][0])
    capped = evaluate("aqi", {"states": x, "label": y}, cap=10)
    assert capped.n == 20
    assert capped.missing == 40
    with pytest.raises(DataError, match="one a layer"):
        evaluate("aqi", {"states": layers, "label": y, "layer_weights": [1, 0, 0]})
    with pytest.raises(DataError, match="two values"):
        evaluate("aqi", {"states": SQUARE, "label": [0, 1, 2, 3]})


def test_principal_axes_keep_distances_when_they_can() -> None:
    x = np.random.default_rng(0).normal(size=(20, 80))
    np.testing.assert_allclose(pdist(prepared(x, False, 20)), pdist(x), atol=1e-6)
    tall = np.random.default_rng(0).normal(size=(200, 30)) * np.r_[np.full(3, 10.0), np.full(27, 1e-6)]
    np.testing.assert_allclose(pdist(prepared(tall, False, 3)), pdist(tall), atol=1e-4)
    standard = prepared(np.c_[tall, np.full(200, 0.1)], True, None)  # a constant feature is dropped, not blown up
    np.testing.assert_allclose(standard.std(0), np.ones(30))
