"""Brain encoding: ridge and penalties against scikit-learn, leave-one-out against brute force, limits, ceilings."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GroupKFold

from measure_case import Case
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.likeness.encoding import (
    ALPHAS,
    assign_folds,
    extrapolated_ceiling,
    ridge_predict,
    voxel_correlations,
)
from theodolite.measures.records import Records


def recording(noise: float, t: int = 120, d: int = 8, v: int = 5, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(t, d))
    y = x @ rng.normal(size=(d, v)) + noise * rng.normal(size=(t, v)) * math.sqrt(d)
    return {"features": x, "responses": y, "groups": np.array([f"story {i}" for i in np.arange(t) // 6])}


def with_gaps() -> Records:
    data = recording(0.5)
    data["features"][4, 1], data["responses"][[9, 30], 2] = math.nan, math.nan
    groups = data["groups"].astype(object)
    groups[50] = None
    return Records(data | {"groups": groups})


CASES = {
    "brain_encoding": Case(
        good=Records(recording(0.3)),
        bad=Records(recording(30.0)),
        undefined=Records({"features": np.ones((30, 2)), "responses": recording(1.0, t=30)["responses"]}),
        missing=(with_gaps(), 4),
    )
}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(20, 40), st.integers(2, 12))
def test_ridge_and_penalty_equal_scikit_learn(seed: int, t: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(t, d)) * 3 + 1, rng.normal(size=(t, 4)) + 2
    y[:, 0] += x[:, 0]
    standard = (x - x.mean(0)) / x.std(0)
    test = rng.normal(size=(7, d))
    found, alpha = ridge_predict(x, y, test)
    theirs = RidgeCV(ALPHAS, alpha_per_target=True).fit(standard, y)
    np.testing.assert_allclose(alpha, theirs.alpha_)
    np.testing.assert_allclose(found, theirs.predict((test - x.mean(0)) / x.std(0)), rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("d", [5, 60])
def test_one_penalty_equals_ridge_in_both_forms(d: int) -> None:
    rng = np.random.default_rng(0)
    x, y, test = rng.normal(size=(25, d)), rng.normal(size=(25, 3)), rng.normal(size=(9, d))
    found, _ = ridge_predict(x, y, test, (2.0,))
    mean, scale = x.mean(0), x.std(0)
    theirs = Ridge(2.0).fit((x - mean) / scale, y).predict((test - mean) / scale)
    np.testing.assert_allclose(found, theirs, atol=1e-10)


def test_penalty_is_that_of_brute_force_leave_one_out() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(18, 6)), rng.normal(size=(18, 3))
    y[:, 0] += 2 * x[:, 1]
    x = (x - x.mean(0)) / x.std(0)
    errors = []
    for a in ALPHAS:
        rest = []
        for i in range(18):
            there = np.arange(18) != i
            model = Ridge(a).fit(x[there], y[there])
            rest.append(y[i] - model.predict(x[i : i + 1])[0])
        errors.append((np.array(rest) ** 2).mean(0))
    best = np.array(ALPHAS)[np.argmin(errors, 0)]
    assert ridge_predict(x, y, x)[1].tolist() == best.tolist()


def test_folds_equal_group_k_fold() -> None:
    rng = np.random.default_rng(0)
    groups = [f"g{i}" for i in rng.choice(9, size=80, p=np.arange(1, 10) / 45)]
    ours = assign_folds(groups, 80, 4)
    theirs = sorted(len(test) for _, test in GroupKFold(4).split(np.zeros(80), groups=groups))
    assert sorted(np.bincount(ours)) == theirs
    for g in set(groups):
        assert len({ours[i] for i in range(80) if groups[i] == g}) == 1
    assert assign_folds(None, 10, 3).tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_noiseless_is_one_and_scrambled_is_zero() -> None:
    data = recording(0.0)
    assert evaluate("brain_encoding", data).value == pytest.approx(1, abs=1e-4)
    big = recording(0.0, t=600, v=40)
    lost = big | {"features": np.random.default_rng(1).permutation(big["features"])}
    assert evaluate("brain_encoding", lost).value == pytest.approx(0, abs=0.1)
    gcv = evaluate("brain_encoding", data, select="gcv", folds=4)
    assert gcv.value == pytest.approx(1, abs=1e-4)
    assert len(gcv.parts["folds"]) == 4


def test_units_of_voxels_are_irrelevant() -> None:
    data = recording(0.5)
    scaled = data | {"responses": data["responses"] * np.array([1, 10, 0.1, 5, 3]) + 100}
    assert evaluate("brain_encoding", scaled).value == pytest.approx(evaluate("brain_encoding", data).value)


def test_value_is_mean_over_folds_of_medians() -> None:
    data = recording(0.8)
    got = evaluate("brain_encoding", data, folds=5)
    fold = assign_folds(data["groups"].tolist(), 120, 5)
    medians = []
    for k in range(5):
        train, test = fold != k, fold == k
        x, y = data["features"], data["responses"]
        mean, scale = x[train].mean(0), x[train].std(0)
        model = RidgeCV(ALPHAS, alpha_per_target=True).fit((x[train] - mean) / scale, y[train])
        guess = model.predict((x[test] - mean) / scale)
        medians.append(np.median([np.corrcoef(guess[:, v], y[test][:, v])[0, 1] for v in range(5)]))
    assert got.value == pytest.approx(np.mean(medians))
    assert sum(got.parts["alphas"].values()) == 25


def test_ceiling_divides_and_drops_voxels() -> None:
    data = recording(0.8)
    raw = evaluate("brain_encoding", data)
    half = evaluate("brain_encoding", data | {"ceiling": np.full(5, 0.8)})
    assert half.value == pytest.approx(raw.value / 0.8)
    assert half.parts["raw"] == pytest.approx(raw.value)
    partial = evaluate("brain_encoding", data | {"ceiling": [0.8, math.nan, 0.0, 0.04, 0.8]}, threshold=0.05)
    assert partial.parts["voxels_left_out"] == 3
    assert evaluate("brain_encoding", recording(0.0) | {"ceiling": np.full(5, 0.5)}).value == 1  # clipped
    assert math.isnan(evaluate("brain_encoding", data | {"ceiling": np.zeros(5)}).value)
    with pytest.raises(DataError, match="5 voxels"):
        evaluate("brain_encoding", data | {"ceiling": [1.0]})


def test_constant_voxel_has_no_correlation() -> None:
    y = np.random.default_rng(0).normal(size=(20, 3))
    r = voxel_correlations(y, np.c_[y[:, 0], -y[:, 1], np.full(20, 3.0)])
    assert r[:2] == pytest.approx([1, -1])
    assert math.isnan(r[2])
    alone = {k: v for k, v in recording(0.3).items() if k != "groups"}
    assert "neighbouring" in evaluate("brain_encoding", alone).note


def test_ceiling_is_extrapolated() -> None:
    sizes = np.repeat(np.arange(2, 11), 4)
    truth, tau = np.array([0.3, 0.6, 0.9]), np.array([1.0, 3.0, 5.0])
    scores = truth * (1 - np.exp(-sizes[:, None] / tau))
    np.testing.assert_allclose(extrapolated_ceiling(sizes, scores, np.random.default_rng(0)), truth, rtol=0.02)
    assert extrapolated_ceiling(sizes, np.full(36, 7.0), np.random.default_rng(0)) == pytest.approx([1.0])
    assert extrapolated_ceiling(sizes, np.full(36, -1.0), np.random.default_rng(0)) == pytest.approx([0.0])
    assert math.isnan(extrapolated_ceiling([2], [[0.5]], np.random.default_rng(0))[0])
