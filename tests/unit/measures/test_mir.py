"""MIR: the Frechet distance in closed forms and against a matrix square root; the released fast mode; edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from measure_case import Case
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.likeness.mir import frechet, layer_distances, text_scaled
from theodolite.measures.records import Records


def tokens(gap: float, seed: int = 0, layers: int = 2, d: int = 5) -> Records:
    rng = np.random.default_rng(seed)
    text = rng.normal(size=(layers, 60, d)) + 3
    vision = rng.normal(size=(layers, 80, d)) + 3 + gap
    return Records({"vision": vision, "text": text})


def reordered(data: Records, rng: np.random.Generator) -> Records:
    v, t = data.array("vision"), data.array("text")
    return Records({"vision": v[:, rng.permutation(v.shape[1])], "text": t[:, rng.permutation(t.shape[1])]})


def with_gaps() -> Records:
    data = tokens(1.0)
    v, t = data.array("vision"), data.array("text")
    v[1, 3, 2], t[0, 7, 0], t[1, 8, 1] = math.nan, math.inf, math.nan
    return Records({"vision": v, "text": t})


CASES = {
    "mir": Case(
        good=tokens(0.1),
        bad=tokens(3.0),
        undefined=Records({"vision": np.ones((1, 4)), "text": np.ones((5, 4))}),
        missing=(with_gaps(), 3),
        shuffle=reordered,
    )
}


def by_matrix_root(x: np.ndarray, y: np.ndarray) -> float:
    a, b = (np.atleast_2d(np.cov(v.T)) for v in (x, y))
    root = np.real(sqrtm(a @ b))
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * np.trace(root))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(12, 40), st.integers(12, 40), st.integers(1, 8))
def test_distance_equals_the_matrix_root(seed: int, n: int, m: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)), rng.normal(size=(m, d)) + rng.normal(size=d)
    assert frechet(x, y) == pytest.approx(by_matrix_root(x, y), rel=1e-6, abs=1e-6)


def test_fewer_tokens_than_features() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 30)), rng.normal(size=(9, 30))
    values = np.linalg.eigvals(np.cov(x.T) @ np.cov(y.T))
    trace = np.sqrt(np.clip(values.real, 0, None)).sum()
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(np.cov(x.T)) + np.trace(np.cov(y.T)) - 2 * trace
    assert frechet(x, y) == pytest.approx(expected, rel=1e-5)


def test_closed_forms() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 4))
    shift = np.array([1.0, -2.0, 0.5, 3.0])
    assert frechet(x, x + shift) == pytest.approx((shift**2).sum())
    assert frechet(x, x) == 0.0
    whitened = (x - x.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
    s1, s2 = np.array([1.0, 2.0, 3.0, 0.5]), np.array([2.0, 2.0, 1.0, 4.0])
    assert frechet(whitened * s1, whitened * s2) == pytest.approx(((s1 - s2) ** 2).sum())
    block = np.full((50, 3), 7.0)
    assert frechet(np.hstack([x, block]), np.hstack([x + shift, block])) == pytest.approx((shift**2).sum())


def test_the_released_fast_mode_is_another_number() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(200, 4)), 2 * rng.normal(size=(300, 4))
    a, b = np.cov(x.T), np.cov(y.T)
    # the released iteration: Y <- (Y + inv(Z) M)/2, Z <- (Z + inv(Y) M)/2 from Y = M, Z = I
    m = a @ b
    root, z = m, np.eye(4)
    for _ in range(5):
        root = 0.5 * (root + np.linalg.inv(z) @ m)
        z = 0.5 * (z + np.linalg.inv(root) @ m)
    theirs = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * np.trace(root)
    assert frechet(x, y, "official_fast") == pytest.approx(theirs, rel=1e-9)
    assert abs(frechet(x, y) - theirs) > 0.5


def test_value_by_hand() -> None:
    # norms of text 3, 4, 5: scale 1/4; vision is text + (0, 8): the distance of a shift is (8/4)^2 = 4, in both layers
    text = np.array([[3.0, 0.0], [0.0, 4.0], [3.0, 4.0]])
    vision = text + np.array([0.0, 8.0])
    assert evaluate("mir", {"vision": vision, "text": text}).value == pytest.approx(math.log10(4))
    got = evaluate("mir", {"vision": [vision, vision], "text": [text, text]})
    assert got.value == pytest.approx(math.log10(8))
    assert got.parts["layers"] == pytest.approx([4.0, 4.0])
    assert got.n == 6


def test_scale_of_both_is_irrelevant() -> None:
    data = tokens(1.0)
    v, t = data.array("vision"), data.array("text")
    assert layer_distances(v * 40, t * 40) == pytest.approx(layer_distances(v, t))


def test_outliers_become_the_median_row() -> None:
    x = np.vstack([np.random.default_rng(0).normal(size=(40, 3)), [[500.0, 0.0, 0.0]]])
    tamed, _ = text_scaled(x, np.eye(3))
    np.testing.assert_allclose(tamed[-1], np.median(x, axis=0))
    np.testing.assert_allclose(tamed[:-1], x[:-1])
    low, _ = text_scaled(np.vstack([x, x[:1]]), np.eye(3), low_median=True)
    np.testing.assert_allclose(low[-2], np.sort(np.vstack([x, x[:1]]), axis=0)[20])


def test_equal_sets_and_zero_text() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    got = evaluate("mir", {"vision": x, "text": x})
    assert got.value == -math.inf
    assert "equal" in got.note
    assert math.isnan(evaluate("mir", {"vision": x, "text": np.zeros((5, 3))}).value)
    with pytest.raises(DataError, match="same layers"):
        evaluate("mir", {"vision": x, "text": x[:, :2]})


def test_prompts_give_the_interval() -> None:
    data = dict(tokens(1.0))
    rng = np.random.default_rng(0)
    data |= {"vision_prompt": rng.integers(0, 25, 80), "text_prompt": rng.integers(0, 25, 60)}
    got = evaluate("mir", data)
    assert got.low < got.value < got.high
    assert got.method == "jackknife over 20 groups of prompts"
    assert "no interval" in evaluate("mir", tokens(1.0)).note
