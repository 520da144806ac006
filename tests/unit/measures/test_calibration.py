"""Calibration: by hand, scikit-learn's curve and losses, simulations with a known truth, limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from measure_case import Case
from theodolite import stats
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.honesty.calibration import calibration_error, folded_normal
from theodolite.measures.records import Records

CASES = {
    "ece": Case(
        good=Records({"probability": [0.9] * 10 + [0.1] * 10, "correct": [1] * 9 + [0] + [0] * 9 + [1]}),
        bad=Records({"probability": [0.9] * 10 + [0.1] * 10, "correct": [0] * 9 + [1] + [1] * 9 + [0]}),
        undefined=Records({"probability": [0.3, None], "correct": [None, 1]}),
        missing=(Records({"probability": [0.3, None, 0.6, 0.2], "correct": [0, 1, 1, None]}), 2),
    )
}


def test_by_hand() -> None:
    # .8 .8 | .6: bins (.7, .8] and (.5, .6]: |1.6 - 1| = .6 and |.6 - 1| = .4, over 3
    assert calibration_error([0.8, 0.8, 0.6], [1, 0, 1]) == pytest.approx(1 / 3)
    got = evaluate("ece", {"probability": [0.8, 0.8, 0.6], "correct": [1, 0, 1]})
    assert got.value == pytest.approx(1 / 3)
    assert got.parts["ace"] == pytest.approx((0.3 + 0.4) / 2)
    assert got.parts["mce"] == pytest.approx(0.4)
    assert got.parts["brier"] == pytest.approx((0.04 + 0.64 + 0.16) / 3)
    assert got.parts["nll"] == pytest.approx(-(math.log(0.8) + math.log(0.2) + math.log(0.6)) / 3)
    assert [(b["n"], b["correct"]) for b in got.parts["bins"]] == [(1, 1.0), (2, 0.5)]


def test_edges_are_closed_above_and_zero_has_a_bin() -> None:
    got = evaluate("ece", {"probability": [0.0, 0.1, 0.1 + 1e-9, 1.0], "correct": [0, 0, 1, 1]})
    assert [(round(b["from"], 2), b["n"]) for b in got.parts["bins"]] == [(0.0, 2), (0.1, 1), (0.9, 1)]


PROBABILITIES = st.lists(st.tuples(st.floats(0.001, 0.999), st.booleans()), min_size=2, max_size=60)


@given(PROBABILITIES)
@settings(deadline=None)
def test_agrees_with_scikit_learn(rows: list[tuple[float, bool]]) -> None:
    p, y = np.array([r[0] for r in rows]), np.array([int(r[1]) for r in rows])
    got = evaluate("ece", {"probability": p, "correct": y}, bins=5, resamples=100)
    hits, means = calibration_curve(y, p, n_bins=5)  # non-empty bins, open above; the edges are never hit here
    counts = np.histogram(p, bins=np.linspace(0, 1, 6))[0]
    counts = counts[counts > 0]
    if not np.isin(np.round(p, 12), [0.2, 0.4, 0.6, 0.8]).any():
        assert got.value == pytest.approx(float(counts @ np.abs(hits - means) / len(p)), abs=1e-12)
        assert got.parts["mce"] == pytest.approx(float(np.abs(hits - means).max()), abs=1e-12)
    assert got.parts["brier"] == pytest.approx(brier_score_loss(y, p))
    assert got.parts["nll"] == pytest.approx(log_loss(y, p, labels=[0, 1]))
    assert got.low <= got.value <= got.high


def test_limits() -> None:
    right = {"probability": [1.0, 0.0, 1.0], "correct": [1, 0, 1]}
    assert evaluate("ece", right).value == 0.0
    assert evaluate("ece", {"probability": [0.5] * 4, "correct": [1, 0, 1, 0]}).value == 0.0
    wrong = evaluate("ece", {"probability": [1.0, 0.0], "correct": [0, 1]})
    assert wrong.value == 1.0
    assert math.isfinite(wrong.parts["nll"])
    one = evaluate("ece", {"probability": [0.7], "correct": [1]})
    assert one.value == pytest.approx(0.3)
    assert math.isnan(one.low)


def test_chance_shrinks_as_the_root_of_n_and_is_foretold() -> None:
    rng = np.random.default_rng(0)
    for n in (400, 10_000):
        values, foretold, debiased, lows = [], [], [], []
        for _ in range(30):
            p = rng.random(n)
            got = evaluate("ece", {"probability": p, "correct": (rng.random(n) < p).astype(int)}, resamples=100)
            values.append(got.value)
            foretold.append(got.parts["expected_if_calibrated"])
            debiased.append(got.parts["debiased"])
            lows.append(got.low)
        assert np.mean(values) == pytest.approx(np.mean(foretold), rel=0.15)
        assert np.mean(values) * math.sqrt(n) == pytest.approx(1.0, abs=0.25)
        assert np.mean(np.array(lows) > 0) <= 0.1  # a calibrated source is found out in 2.5 % of samples
        assert np.mean(debiased) < 0.7 * np.mean(values)


def test_a_known_error_lies_in_the_interval() -> None:
    rng = np.random.default_rng(1)
    p = rng.integers(0, 10, 3000) / 10 + 0.05
    y = (rng.random(3000) < p**2).astype(int)  # the true gap of a bin is p - p^2
    got = evaluate("ece", {"probability": p, "correct": y})
    truth = float(np.mean(p - p**2))
    assert got.low < truth < got.high
    assert got.parts["debiased"] == pytest.approx(truth, abs=0.02)


def test_quantile_bins_hold_alike_many_and_keep_ties_together() -> None:
    rng = np.random.default_rng(2)
    p = rng.random(1000) ** 3
    got = evaluate("ece", {"probability": p, "correct": (rng.random(1000) < p).astype(int)}, scheme="quantile")
    assert [b["n"] for b in got.parts["bins"]] == [100] * 10
    tied = evaluate("ece", {"probability": [0.3] * 50 + [0.8] * 50, "correct": [0, 1] * 50}, scheme="quantile")
    assert [b["n"] for b in tied.parts["bins"]] == [50, 50]
    assert tied.value == pytest.approx((0.2 + 0.3) / 2)


def test_folded_normal_by_simulation() -> None:
    x = np.random.default_rng(0).normal(0.3, 0.5, 400_000)
    assert folded_normal(np.array([0.3, -0.3, 0.2]), np.array([0.5, 0.5, 0.0])) == pytest.approx(
        [np.abs(x).mean(), np.abs(x).mean(), 0.2], abs=2e-3
    )


def test_the_normal_limit_gives_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    p = rng.random(2000)
    data = {"probability": p, "correct": (rng.random(2000) < np.sqrt(p)).astype(int)}
    exact = evaluate("ece", data)
    monkeypatch.setattr(stats, "LIMIT", 0)
    limit = evaluate("ece", data)
    assert "limit" in limit.method
    assert (limit.low, limit.high) == pytest.approx((exact.low, exact.high), abs=0.005)


def test_percentages_get_a_letter() -> None:
    with pytest.raises(DataError, match=r"got 72 in row 2. 72 % is 0.72"):
        evaluate("ece", {"probability": [0.2, 72], "correct": [0, 1]})
    with pytest.raises(DataError, match="'correct' must hold 1 or 0"):
        evaluate("ece", {"probability": [0.2], "correct": [2]})


def test_the_p_value_of_calibration() -> None:
    rng = np.random.default_rng(4)
    found = []
    for _ in range(200):
        p = rng.random(150)
        got = evaluate("ece", {"probability": p, "correct": (rng.random(150) < p).astype(int)}, resamples=200)
        found.append(got.p_value)
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=0.06)
    p = rng.random(150)
    wrong = evaluate("ece", {"probability": p, "correct": (rng.random(150) < 0.5).astype(int)})
    assert wrong.p_value == pytest.approx(1 / 2001)
    assert wrong.low > 0
