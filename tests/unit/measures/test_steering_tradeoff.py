"""Steering trade-off: curves recovered from themselves, the optimum by calculus, tests of the extra terms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from scipy.optimize import brentq

from measure_case import Case
from theodolite.measures.call import evaluate
from theodolite.measures.records import Records
from theodolite.measures.turning.steering_tradeoff import (
    alignment_curve,
    extra_term,
    fit_alignment,
    fit_helpfulness,
    helpfulness_curve,
)

R = np.linspace(-5, 5, 41)


def sweep(noise: float = 0.01, gaps: bool = False, seed: int = 0) -> Records:
    rng = np.random.default_rng(seed)
    b = alignment_curve(R, 0.4, -0.2) + noise * rng.normal(size=41)
    p = helpfulness_curve(R, 0.5, 0.6) + noise * rng.normal(size=41)
    if gaps:
        b[3] = p[7] = math.nan
    return Records({"coefficient": R, "alignment": b, "helpfulness": p})


CASES = {
    "steering_tradeoff": Case(
        good=sweep(),
        undefined=Records({"coefficient": [0, 1, -1], "alignment": [0, 0.1, -0.1], "helpfulness": [0.5, 0.4, 0.4]}),
        missing=(sweep(gaps=True), 2),
    )
}


@pytest.mark.parametrize("form", ["full", "two_of_four"])
def test_parameters_are_recovered(form: str) -> None:
    (a, b0), _ = fit_alignment(R, alignment_curve(R, 0.4, -0.2))
    assert (a, b0) == pytest.approx((0.4, -0.2))
    (log_odds, b), _ = fit_helpfulness(R, helpfulness_curve(R, 0.5, 0.6, form), form)  # type: ignore[arg-type]
    assert (math.exp(log_odds), b) == pytest.approx((0.5, 0.6), rel=1e-5)


def test_curves() -> None:
    assert helpfulness_curve(2.0, 0.5, 0.6) == helpfulness_curve(-2.0, 0.5, 0.6)
    assert helpfulness_curve(0.0, 0.25, 0.6) == pytest.approx(0.8)  # A = (1 - p0)/p0
    assert helpfulness_curve(1e9, 0.25, 0.6, "two_of_four") == pytest.approx(0.25)
    small, p0, b = 1e-3, 0.8, 0.6
    loss = p0 - helpfulness_curve(small, 0.25, b)
    assert loss == pytest.approx(p0 * (1 - p0) * b**2 / 2 * small**2, rel=1e-4)
    assert alignment_curve(0.7, 0.5, 0) == pytest.approx(2 / (1 + math.exp(-0.7)) - 1)  # tanh(x/2) = 2 sigmoid(x) - 1


def test_optimum_is_where_gain_equals_loss() -> None:
    def net_slope(r: float, price: float) -> float:
        step = 1e-5
        gain = alignment_curve(r + step, 0.4, -0.2) - alignment_curve(r - step, 0.4, -0.2)
        return float(gain + price * (helpfulness_curve(r + step, 0.5, 0.6) - helpfulness_curve(r - step, 0.5, 0.6)))

    got = evaluate("steering_tradeoff", sweep(0.0), price=4.0)
    assert got.value == pytest.approx(brentq(net_slope, 0, 3, args=(4.0,)), abs=0.01)
    assert got.parts["B"] == pytest.approx(0.6, rel=1e-4)
    assert got.parts["gain"] > 0
    assert got.parts["loss"] > 0
    cheap = evaluate("steering_tradeoff", sweep(0.0), price=0.1)
    assert cheap.value > got.value
    assert "end of the strengths" in cheap.note


def test_interval_and_weights() -> None:
    truth = evaluate("steering_tradeoff", sweep(0.0), price=4.0).value
    found = [evaluate("steering_tradeoff", sweep(seed=s), price=4.0, resamples=200) for s in range(40)]
    assert 33 <= sum(f.low <= truth <= f.high for f in found) <= 40
    got = evaluate("steering_tradeoff", sweep(), price=4.0)
    rows = dict(sweep()) | {"alignment_se": np.full(41, 0.05), "helpfulness_se": np.full(41, 0.05)}
    wide = evaluate("steering_tradeoff", rows, price=4.0)
    assert wide.value == pytest.approx(got.value, abs=0.01)  # equal weights change the interval only
    assert wide.high - wide.low > 2 * (got.high - got.low)


def test_extra_term_equals_statsmodels() -> None:
    rng = np.random.default_rng(0)
    y = 1 + 0.5 * R + rng.normal(size=41)
    got = extra_term(R, y, (0, 1), 2)
    small, full = sm.OLS(y, np.c_[np.ones(41), R]).fit(), sm.OLS(y, np.c_[np.ones(41), R, R**2]).fit()
    assert got["r^1"] == pytest.approx(small.params[1])
    assert got["p_r^2"] == pytest.approx(full.compare_f_test(small)[1])
    assert extra_term(R, y + R**2, (0, 1), 2)["p_r^2"] < 1e-6


def test_nothing_to_fit() -> None:
    flat = {"coefficient": np.arange(6), "alignment": np.ones(6), "helpfulness": np.linspace(0.9, 0.5, 6)}
    assert "never varies" in evaluate("steering_tradeoff", flat).note
    few = {"coefficient": [0, 1, 2], "alignment": [0, 0.3, 0.5], "helpfulness": [0.9, 0.8, 0.6]}
    assert evaluate("steering_tradeoff", few).value == 2
