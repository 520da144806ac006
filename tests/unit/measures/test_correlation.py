"""Rank correlations: SciPy, a count of pairs, influences against leaving one out, permutation p by enumeration."""

from __future__ import annotations

import math
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from measure_case import Case
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.raters.correlation import kendall_influence, orders, spearman_influence
from theodolite.measures.records import Ratings

N = math.nan
UP = np.arange(12.0)
GOOD = Ratings.of(np.column_stack([UP, np.r_[UP[:10], 11.0, 10.0]]))
CASES = {
    name: Case(
        good=GOOD,
        bad=Ratings.of(np.column_stack([UP, UP[[3, 0, 7, 1, 11, 5, 2, 10, 4, 9, 6, 8]]])),
        undefined=Ratings.of(np.column_stack([UP, np.ones(12)])),
        missing=(Ratings.of(np.vstack([GOOD.values, [[3.0, N], [N, N]]])), 2),
    )
    for name in ("spearman", "kendall")
}
PAIRS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=40)


@given(PAIRS)
@settings(deadline=None)
def test_values_agree_with_scipy_and_with_counting(rows: list[tuple[int, int]]) -> None:
    a, b = np.array(rows, dtype=float).T
    assume(len(set(a)) > 1 and len(set(b)) > 1)
    assert spearman_influence(a, b)[0] == pytest.approx(scipy_stats.spearmanr(a, b).statistic, abs=1e-12)
    signs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in combinations(range(len(a)), 2)]
    top = sum(s * t for s, t in signs)
    bottom = math.sqrt(sum(s != 0 for s, _ in signs) * sum(t != 0 for _, t in signs))
    assert kendall_influence(a, b)[0] == pytest.approx(top / bottom, abs=1e-12)


def test_by_hand() -> None:
    # ranks 1 2 3 4 against 1 3 2 4: rho = 1 - 6 * 2/(4 * 15) = 0.8; 5 of 6 pairs agree: tau = (5 - 1)/6
    data = [[1, 10], [2, 30], [3, 20], [4, 40]]
    assert evaluate("spearman", data).value == pytest.approx(0.8)
    assert evaluate("kendall", data).value == pytest.approx(4 / 6)


@pytest.mark.parametrize("name", ["spearman", "kendall"])
@pytest.mark.parametrize("ties", [False, True])
def test_influence_is_the_effect_of_leaving_one_out(name: str, ties: bool) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=400)
    b = a + rng.normal(size=400)
    if ties:
        a, b = np.round(a), np.round(b)
    f = spearman_influence if name == "spearman" else kendall_influence
    value, influence = f(a, b)
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    without = np.array([f(np.delete(a, i), np.delete(b, i))[0] for i in range(120)])
    assert (len(a) - 1) * (value - without) == pytest.approx(influence[:120], abs=0.02)


@pytest.mark.parametrize("name", ["spearman", "kendall"])
def test_interval_is_the_bootstraps(name: str) -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=300)
    b = np.round(a + rng.normal(size=300))
    got = evaluate(name, np.column_stack([a, b]))
    f = scipy_stats.spearmanr if name == "spearman" else scipy_stats.kendalltau
    draws = [f(a[i], b[i]).statistic for i in (rng.integers(0, 300, 300) for _ in range(600))]
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.025)


@pytest.mark.parametrize("name", ["spearman", "kendall"])
def test_p_value_is_exact_for_few_items(name: str) -> None:
    rng = np.random.default_rng(2)
    a, b = np.round(rng.normal(size=(2, 6)), 0)
    b[0] += 1
    f = scipy_stats.spearmanr if name == "spearman" else scipy_stats.kendalltau
    value = f(a, b).statistic
    want = np.mean([abs(f(a, b[list(o)]).statistic) >= abs(value) - 1e-9 for o in permutations(range(6))])
    assert evaluate(name, np.column_stack([a, b])).p_value == pytest.approx(want)


def test_p_values_of_more_items() -> None:
    rng = np.random.default_rng(3)
    a = rng.normal(size=20)
    b = a + 1.5 * rng.normal(size=20)
    for name, f in (("spearman", scipy_stats.spearmanr), ("kendall", scipy_stats.kendalltau)):
        small = evaluate(name, np.column_stack([a, b]), resamples=20_000).p_value
        assert small == pytest.approx(f(a, b).pvalue, rel=0.35, abs=0.002)
        big = np.column_stack([np.tile(a, 2), np.tile(b, 2)])
        assert evaluate(name, big).p_value == pytest.approx(f(*big.T).pvalue)


def test_orders_are_all_different() -> None:
    found = orders(5)
    assert found.shape == (120, 5)
    assert len({tuple(o) for o in found.tolist()}) == 120
    assert (np.sort(found, 1) == np.arange(5)).all()


def test_more_raters_are_the_mean_of_pairs_with_gaps() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(50, 1)) + rng.normal(size=(50, 3))
    x[rng.random(x.shape) < 0.15] = N
    got = evaluate("spearman", x)
    want = [
        scipy_stats.spearmanr(*x[~np.isnan(x[:, i] + x[:, j])][:, [i, j]].T).statistic
        for i, j in combinations(range(3), 2)
    ]
    assert got.value == pytest.approx(np.mean(want))
    assert got.p_value is None
    assert got.low < got.value < got.high


def test_perfect_order_has_no_interval_and_says_so() -> None:
    got = evaluate("spearman", np.column_stack([UP, UP**2]))
    assert got.value == 1.0
    assert math.isnan(got.low)
    assert "perfect" in got.note


def test_many_items() -> None:
    rng = np.random.default_rng(5)
    a = rng.normal(size=20_000)
    x = np.column_stack([a, a + rng.normal(size=20_000)])
    for name, truth in (("spearman", 6 / math.pi * math.asin(math.sqrt(0.5) / 2)), ("kendall", 0.5)):
        got = evaluate(name, Ratings(x, ("a", "b")))
        assert got.value == pytest.approx(truth, abs=0.02)  # bivariate normal with correlation 1/sqrt 2
        assert got.high - got.low < 0.03


def test_words_have_no_rank() -> None:
    with pytest.raises(DataError, match="words"):
        evaluate("kendall", [["low", "high"], ["high", "high"]])
