from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from statsmodels.stats.power import NormalIndPower

from theodolite import stats
from theodolite.errors import UsageError
from theodolite.measures.planner import difference_variance, estimate, prompts_needed


def drawn(n: int, rate: float, difference: float, k: int, between: float, correlation: float, rng: np.random.Generator):
    """(n, k) answers before and after of prompts whose own rates are Beta with the asked spread and correlation.

    Share `correlation` of the prompts keep their place in the distribution, the rest are drawn anew: a mixture whose
    correlation is exact where before and after have one distribution.
    """

    def rates(level: np.ndarray, mean: float) -> np.ndarray:
        size = 1 / between - 1
        return scipy_stats.beta.ppf(level, mean * size, (1 - mean) * size)

    u, fresh = rng.random(n), rng.random(n)
    after = np.where(rng.random(n) < correlation, u, fresh)
    p, q = rates(u, rate), rates(after, rate + difference)
    return (rng.random((n, k)) < p[:, None]).astype(float), (rng.random((n, k)) < q[:, None]).astype(float)


def test_variance_by_hand() -> None:
    assert difference_variance(0, 0.5, 1, 0.5, 0.7) == pytest.approx(0.5 - 0.175)
    assert difference_variance(0, 0.5, 1, 0, 0) == pytest.approx(0.5)  # unpaired coins: 2 * 0.25
    assert difference_variance(0, 0.3, 5, 1, 1) == pytest.approx(0)  # prompts that never change
    assert difference_variance(0.1, 0.5, 4, 0.5, 0) == pytest.approx((0.25 + 0.24) * (0.5 + 0.125))


def test_three_points() -> None:
    # ((1.95996 + 0.84162) / 0.03)^2 * 0.324415
    assert prompts_needed(0.03) == 2830
    assert prompts_needed(-0.03, 0.53) == prompts_needed(0.03)


def test_unpaired_limit_is_the_two_sample_plan() -> None:
    # without correlation and with one answer, pairing is two independent samples of n each
    effect = 0.1 / math.sqrt((0.25 + 0.24) / 2)
    theirs = NormalIndPower().solve_power(effect, alpha=0.05, power=0.8)
    assert prompts_needed(0.1, 0.5, 1, 0, 0.5) == pytest.approx(theirs, abs=1.5)


@pytest.mark.parametrize(
    ("difference", "rate", "k", "between", "correlation"),
    [(0.1, 0.5, 1, 0.5, 0.7), (0.1, 0.35, 6, 0.5, 0.7), (-0.12, 0.6, 2, 0.3, 0.4)],
)
def test_the_promised_power_is_met(difference: float, rate: float, k: int, between: float, correlation: float) -> None:
    n = prompts_needed(difference, rate, k, correlation, between)
    rng, seen, runs = np.random.default_rng(0), 0, 600
    for _ in range(runs):
        a, b = drawn(n, rate, difference, k, between, correlation, rng)
        d = b.mean(1) - a.mean(1)
        seen += abs(d.mean()) > 1.95996 * d.std(ddof=1) / math.sqrt(n)
    assert seen / runs == pytest.approx(0.8, abs=0.06)


def test_estimate_finds_what_was_put_in() -> None:
    rng = np.random.default_rng(1)
    a, b = drawn(20000, 0.4, 0.0, 4, 0.5, 0.6, rng)
    found = estimate(a, b)
    assert (found.rate, found.between, found.correlation) == pytest.approx((0.4, 0.5, 0.6), abs=0.02)
    d = b.mean(1) - a.mean(1)
    predicted = difference_variance(0, found.rate, 4, found.between, found.correlation)
    assert predicted == pytest.approx(d.var(), rel=0.03)
    same = estimate(np.zeros((5, 2)), np.zeros((5, 2)))
    assert math.isnan(same.between)
    assert math.isnan(same.correlation)


def test_more_answers_need_fewer_prompts_down_to_a_floor() -> None:
    plan = [prompts_needed(0.05, k=k) for k in (1, 2, 4, 8, 1000)]
    assert plan == sorted(plan, reverse=True)
    floor = stats.units_needed(0.05, math.sqrt(difference_variance(0.05, 0.5, 10**9, 0.5, 0.7)))
    assert plan[-1] == pytest.approx(floor, rel=0.01)


@pytest.mark.parametrize(
    ("arguments", "letter"),
    [((3,), "3 points are 0.03"), ((0,), "not 0"), ((0.2, 0.9), "both ends"), ((0.1, 0.5, 0), "one answer"),
     ((0.1, 0.5, 1, 2), "correlation"), ((0.1, 0.5, 1, 0.5, -1), "between")],
)  # fmt: skip
def test_letters(arguments: tuple[float, ...], letter: str) -> None:
    with pytest.raises(UsageError, match=letter):
        prompts_needed(*arguments)
    with pytest.raises(UsageError, match="power"):
        prompts_needed(0.1, power=1)
    with pytest.raises(UsageError, match="pilot"):
        estimate([[1, 0]], [[1, 0]])
