"""The arithmetic of a paired comparison: worked by hand, against statsmodels and SciPy, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from theodolite import stats
from theodolite.errors import UsageError
from theodolite.measures import compare as c


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_yes_no_by_hand() -> None:
    a = [1, 1, 0, 0, 1, 0, 1, 0, 0, 0]
    got = c.difference(a, [1] * 10, rng())
    assert (got.a, got.b, got.value, got.n, got.clusters) == (0.4, 1.0, pytest.approx(0.6), 10, 10)
    assert got.p == 2 * 0.5**6  # six pairs changed, all one way
    assert got.least == 2**-9
    assert got.test == "exact McNemar test"
    span = stats.newcombe_paired(4, 6, 0, 0)
    assert (got.low, got.high) == (span.low, span.high)


def test_swapping_the_sides_flips_every_sign() -> None:
    a, b = rng(1).integers(0, 2, 60), rng(2).integers(0, 2, 60)
    there, back = c.difference(a, b, rng()), c.difference(b, a, rng())
    assert there.value == -back.value
    assert there.p == back.p
    assert there.detectable == back.detectable
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


def test_missing_values_are_left_out_on_both_sides() -> None:
    got = c.difference([1.0, np.nan, 3.0, 4.0], [2.0, 2.0, np.nan, 6.0], rng())
    assert (got.n, got.value) == (2, 1.5)


def test_nothing_in_common() -> None:
    got = c.difference([np.nan], [1.0], rng())
    assert got.n == 0
    assert math.isnan(got.value)
    assert got.note
    assert c.verdict(got, math.nan, "higher") == "too few items to tell"
    assert c.difference([], [], rng()).n == 0


def test_arrays_must_match() -> None:
    with pytest.raises(ValueError, match="one length"):
        c.difference([1.0, 2.0], [1.0], rng())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80))
def test_mcnemar_is_that_of_statsmodels(pairs: list[tuple[bool, bool]]) -> None:
    oracle = pytest.importorskip("statsmodels.stats.contingency_tables")
    a, b = np.array(pairs, float).T
    table = [[np.sum((a == x) & (b == y)) for y in (1, 0)] for x in (1, 0)]
    assert c.difference(a, b, rng()).p == pytest.approx(oracle.mcnemar(table, exact=True).pvalue)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
@pytest.mark.parametrize(("how", "theirs"), [("holm", "holm"), ("bh", "fdr_bh")])
def test_corrections_are_those_of_statsmodels(how: str, theirs: str, p: list[float]) -> None:
    oracle = pytest.importorskip("statsmodels.stats.multitest")
    assert c.corrected(p, how) == pytest.approx(oracle.multipletests(p, method=theirs)[1])  # type: ignore[arg-type]


def test_corrections_by_hand() -> None:
    assert c.corrected([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])  # 3 * 0.01, 2 * 0.03, monotone
    assert c.corrected([0.01, 0.04, 0.03], "bh") == pytest.approx([0.03, 0.04, 0.04])  # 3/1, 3/3, 3/2 * 0.03 -> 0.04
    assert c.corrected([0.01, 0.04], "none") == pytest.approx([0.01, 0.04])
    with_gap = c.corrected([0.01, math.nan, 0.04])
    assert with_gap[[0, 2]] == pytest.approx([0.02, 0.04])  # NaN is not counted
    assert math.isnan(with_gap[1])
    assert len(c.corrected([])) == 0
    with pytest.raises(UsageError, match="holm, bh or none"):
        c.corrected([0.1], "bonferroni")  # type: ignore[arg-type]


def test_flip_test_is_scipys_permutation_test() -> None:
    d = np.array([0.5, -0.2, 1.1, 0.7, 0.3, -0.1, 0.9, 0.4])
    oracle = scipy_stats.permutation_test(
        (d, np.zeros_like(d)), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert c.flip_test(d, rng()) == pytest.approx(oracle.pvalue)
    assert c.flip_test([*d, 0.0, 0.0], rng()) == pytest.approx(oracle.pvalue)  # zeros say nothing
    assert c.flip_test([0.0, 0.0], rng()) == 1.0


def test_the_normal_limit_of_the_flip_test() -> None:
    d = rng(3).normal(0.01, 1, c.MANY + 1)
    limit = c.flip_test(d, rng())
    assert limit == pytest.approx(scipy_stats.ttest_1samp(d, 0).pvalue, abs=0.003)


def test_cluster_bootstrap_agrees_with_a_slow_loop() -> None:
    r = rng(4)
    sizes = r.integers(1, 6, 40)
    sums = r.normal(0.2, 1, 40) * sizes
    slow, generator = [], rng(5)
    for _ in range(4000):
        drawn = generator.integers(0, 40, 40)
        slow.append(sums[drawn].sum() / sizes[drawn].sum())
    got = c.cluster_bootstrap(sums, sizes, rng(6), resamples=4000)
    assert (got.low, got.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=0.04)
    assert math.isnan(c.cluster_bootstrap([1.0], [3.0], rng()).low)


def test_copies_of_an_item_are_no_evidence() -> None:
    """Five copies of every item leave the estimate as it is, and with clusters also its uncertainty."""
    r = rng(7)
    a, b = r.normal(0, 1, 30), r.normal(0.3, 1, 30)
    once = c.difference(a, b, rng(8))
    copies = c.difference(np.repeat(a, 5), np.repeat(b, 5), rng(8), np.repeat(np.arange(30), 5))
    naive = c.difference(np.repeat(a, 5), np.repeat(b, 5), rng(8))
    assert copies.value == pytest.approx(once.value)
    assert (copies.low, copies.high) == pytest.approx((once.low, once.high))
    assert copies.detectable == pytest.approx(once.detectable)
    assert copies.p == pytest.approx(once.p, abs=0.02)
    assert (copies.n, copies.clusters) == (150, 30)
    assert naive.high - naive.low < 0.6 * (copies.high - copies.low)


def test_yes_no_with_repeated_prompts_is_not_tested_as_single_pairs() -> None:
    a, b = np.tile([0.0, 1.0, 0.0, 1.0], 10), np.tile([1.0, 1.0, 0.0, 1.0], 10)
    got = c.difference(a, b, rng(), np.repeat(np.arange(10), 4))
    assert "clusters" in got.test
    assert got.p == 2 * 0.5**10  # ten clusters, all for b
    assert got.clusters == 10


def test_the_level_holds_when_nothing_differs() -> None:
    """Clustered data without a true difference: the test must reject about one time in twenty, not more."""
    r, hits = rng(9), 0
    for i in range(300):
        codes = np.repeat(np.arange(25), 4)
        shared = np.repeat(r.normal(0, 1, 25), 4)
        got = c.difference(r.normal(0, 1, 100), r.normal(0, 1, 100) + shared, rng(i), codes, resamples=100)
        hits += got.p <= 0.05
    assert hits <= scipy_stats.binom.ppf(0.999, 300, 0.05)


def test_power_of_mcnemar_against_enumeration() -> None:
    """Every outcome of n pairs, its probability and its exact p."""
    n, up, down = 12, 0.5, 0.1
    slow = sum(
        scipy_stats.multinomial.pmf([i, j, n - i - j], n, [up, down, 1 - up - down])
        for i in range(n + 1)
        for j in range(n + 1 - i)
        if stats.mcnemar(i, j) <= 0.05
    )
    assert c.mcnemar_power(n, up, down) == pytest.approx(slow, abs=1e-12)
    assert c.mcnemar_power(n, 0.0, 0.0) == 0.0
    assert c.mcnemar_power(5, 1.0, 0.0) == 0.0  # five pairs can never reach 0.05
    assert c.mcnemar_power(6, 1.0, 0.0) == 1.0


def test_detectable_yes_no_is_where_the_power_is_eighty_percent() -> None:
    gap = c.detectable_yes_no(200, 0.15)
    assert 0.05 < gap < 0.12
    assert c.mcnemar_power(200, (0.15 + gap) / 2, (0.15 - gap) / 2) == pytest.approx(0.8, abs=0.02)
    assert c.detectable_yes_no(800, 0.15) < gap < c.detectable_yes_no(50, 0.15)
    assert c.detectable_yes_no(200, 0.15, alpha=0.005) > gap
    assert math.isnan(c.detectable_yes_no(5, 0.5))
    assert 6 / 100 < c.detectable_yes_no(100, 0.0) < 9 / 100  # no discordance seen: six pairs one way are needed


def test_detectable_yes_no_by_simulation() -> None:
    gap, r = c.detectable_yes_no(150, 0.2), rng(10)
    found = 0
    for _ in range(1000):
        only_b, only_a, _ = r.multinomial(150, [(0.2 + gap) / 2, (0.2 - gap) / 2, 0.8])
        found += stats.mcnemar(int(only_a), int(only_b)) <= 0.05
    assert found / 1000 == pytest.approx(0.8, abs=0.05)


def test_detectable_mean_by_simulation() -> None:
    """Data with the promised difference are found four times in five."""
    r, found = rng(11), 0
    gap = c.detectable_mean(r.normal(0, 1, 20_000), np.ones(20_000)) * math.sqrt(20_000 / 40)  # of 40 units
    for i in range(400):
        found += c.flip_test(r.normal(gap, 1, 40), rng(i), 500) <= 0.05
    assert found / 400 == pytest.approx(0.8, abs=0.07)


def test_detectable_mean_inverts_units_needed() -> None:
    x = rng(12).normal(0, 2, 2000)
    gap = c.detectable_mean(x, np.ones(2000))
    assert stats.units_needed(gap, float(np.std(x, ddof=1))) == pytest.approx(2000, rel=0.01)


def test_without_spread_the_power_is_unknown() -> None:
    assert math.isnan(c.detectable_mean([0.5, 0.5, 0.5], [1, 1, 1]))
    assert math.isnan(c.detectable_mean([0.5], [1]))
    got = c.difference([1.5, 2.5, 3.5], [1.5, 2.5, 3.5], rng())
    assert (got.value, got.p) == (0.0, 1.0)
    assert "power is unknown" in got.note


def test_many_comparisons_ask_for_more() -> None:
    a, b = rng(13).integers(0, 2, 100), rng(14).integers(0, 2, 100)
    one, ten = c.difference(a, b, rng()), c.difference(a, b, rng(), tests=10)
    assert ten.alpha == pytest.approx(0.005)
    assert ten.detectable > one.detectable
    assert ten.p == one.p


def test_flips_reach_below_the_level() -> None:
    assert c.flips(0.05) == 10_000
    assert 1 / c.flips(0.05 / 100) <= 0.05 / 100 / 20
    assert c.flips(1e-9) == 100_000


@pytest.mark.parametrize(
    ("a", "b", "better", "said"),
    [
        ([0] * 20, [1] * 20, "higher", "better"),
        ([1] * 20, [0] * 20, "higher", "worse"),
        ([0] * 20, [1] * 20, "lower", "worse"),
        ([1] * 20, [0] * 20, "lower", "better"),
        ([0] * 20, [1] * 20, "neither", "higher"),
        ([1] * 20, [0] * 20, "neither", "lower"),
        ([0, 1] * 20, [1, 0] * 20, "higher", "no detectable change"),
        ([1] * 20, [1] * 20, "higher", "no detectable change"),
        ([0] * 5, [1] * 5, "higher", "too few items to tell"),
        ([0] * 6, [1] * 6, "higher", "better"),
        ([0], [1], "higher", "too few items to tell"),
    ],
)
def test_verdicts(a: list[int], b: list[int], better: str, said: str) -> None:
    got = c.difference(a, b, rng())
    assert c.verdict(got, got.p, better) == said  # type: ignore[arg-type]


def test_the_corrected_p_decides() -> None:
    got = c.difference([0] * 8, [1] * 8, rng())
    assert got.p == pytest.approx(0.0078125)
    assert c.verdict(got, 0.04, "higher") == "better"
    assert c.verdict(got, 0.06, "higher") == "no detectable change"
    many = c.difference([0] * 8, [1] * 8, rng(), tests=50)  # 2^-7 can never reach 0.05 / 50
    assert c.verdict(many, 0.39, "higher") == "too few items to tell"


def test_a_large_table_is_quick() -> None:
    r = rng(15)
    a, b = r.normal(0, 1, 50_000), r.normal(0.001, 1, 50_000)
    got = c.difference(a, b, rng(), resamples=200)
    assert got.n == 50_000
    assert got.low < got.value < got.high


def test_same_seed_same_result() -> None:
    a, b = rng(16).normal(0, 1, 40), rng(17).normal(0, 1, 40)
    assert c.difference(a, b, rng(3)) == c.difference(a, b, rng(3))
