"""Krippendorff's alpha: printed examples, the krippendorff package, a slow obvious version, and speed."""

from __future__ import annotations

import json
import math
import time
from itertools import permutations
from pathlib import Path

import krippendorff as theirs
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from measure_case import Case
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.raters.agreement import bags, codes, rated
from theodolite.measures.raters.kappa import kappa
from theodolite.measures.raters.krippendorff import Bags, alpha, by_coincidences, by_moments, by_slopes, disagreements
from theodolite.measures.records import Ratings

N = math.nan
METRICS = ("nominal", "ordinal", "interval", "ratio")
THREE = np.array(
    [
        [N, N, N, N, N, 3, 4, 1, 2, 1, 1, 3, 3, N, 3],
        [1, N, 2, 1, 3, 3, 4, 3, N, N, N, N, N, N, N],
        [N, N, 2, 1, 3, 4, 4, N, 2, 1, 1, 3, 3, N, 4],
    ]
).T
FOUR = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
).T
CASES = {
    "krippendorff_alpha": Case(
        good=Ratings.of(FOUR),
        bad=Ratings.of(np.array([[1.0, 2, 3, 4, 1, 2, 3, 4], [2.0, 1, 4, 3, 4, 3, 2, 1]]).T),
        undefined=Ratings.of([[1.0, 1.0], [1.0, None], [1.0, 1.0]]),
        missing=(Ratings.of(THREE), 3),
        options={"metric": "ordinal"},
    )
}


def test_printed_examples() -> None:
    assert evaluate("krippendorff_alpha", THREE, metric="nominal").value == pytest.approx(0.691358, abs=5e-7)
    assert evaluate("krippendorff_alpha", THREE, metric="interval").value == pytest.approx(0.810845, abs=5e-7)
    for metric, want in (("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)):
        assert evaluate("krippendorff_alpha", FOUR, metric=metric).value == pytest.approx(want, abs=5e-4)


def test_by_hand() -> None:
    # units (1,1), (1,2), (2,2): n = 6, n_1 = n_2 = 3; observed 2 of 6, expected 2*3*3/(6*5) = 0.6 -> 1 - (1/3)/0.6
    got = evaluate("krippendorff_alpha", [[1, 1], [1, 2], [2, 2]])
    assert got.value == pytest.approx(1 - (1 / 3) / 0.6)
    assert (got.parts["observed"], got.parts["expected"]) == pytest.approx((1 / 3, 0.6))


def slow(values: np.ndarray, metric: str) -> float:
    """Section D of Krippendorff 2011, pair by pair."""
    units = [r[~np.isnan(r)] for r in values]
    units = [u for u in units if len(u) > 1]
    pool = np.concatenate(units)

    def distance(v: float, w: float) -> float:
        if metric == "nominal":
            return float(v != w)
        if metric == "interval":
            return (v - w) ** 2
        if metric == "ratio":
            return 0.0 if v == w else ((v - w) / (v + w)) ** 2
        low, high = min(v, w), max(v, w)
        inside = np.sum((pool >= low) & (pool <= high))
        return float(inside - (np.sum(pool == v) + np.sum(pool == w)) / 2) ** 2 if v != w else 0.0

    observed = sum(sum(distance(*p) for p in permutations(u, 2)) / (len(u) - 1) for u in units) / len(pool)
    expected = sum(distance(*p) for p in permutations(pool, 2)) / (len(pool) * (len(pool) - 1))
    return 1 - observed / expected


def random_ratings(seed: int, n: int = 14, raters: int = 4, top: int = 5, gaps: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, top, (n, raters)).astype(float)
    values[rng.random(values.shape) < gaps] = N
    return values


@given(st.integers(0, 10**6), st.sampled_from(METRICS))
@settings(max_examples=80, deadline=None)
def test_agrees_with_the_package_and_the_slow_version(seed: int, metric: str) -> None:
    values = random_ratings(seed)
    pool = values[(~np.isnan(values)).sum(1) > 1]
    assume(len(np.unique(pool[~np.isnan(pool)])) > 1)
    ours = alpha(values, metric)  # type: ignore[arg-type]
    assert ours == pytest.approx(slow(values, metric), abs=1e-10)
    assert ours == pytest.approx(theirs.alpha(values.T, level_of_measurement=metric), abs=1e-10)


@pytest.mark.parametrize("metric", METRICS)
def test_continuous_ratings(metric: str) -> None:
    rng = np.random.default_rng(1)
    truth = rng.gamma(2, 1, 60)
    values = truth[:, None] * np.exp(0.3 * rng.normal(size=(60, 3)))
    values[rng.random(values.shape) < 0.1] = N
    assert alpha(values, metric) == pytest.approx(theirs.alpha(values.T, level_of_measurement=metric), abs=1e-9)  # type: ignore[arg-type]


def test_a_shift_far_from_zero_loses_no_digits() -> None:
    values = random_ratings(3)
    assert alpha(values + 1e8, "interval") == pytest.approx(alpha(values, "interval"), abs=1e-9)


@given(st.integers(0, 10**6))
@settings(max_examples=40)
def test_two_raters_without_gaps_are_pi_up_to_a_known_factor(seed: int) -> None:
    values = random_ratings(seed, raters=2, top=3, gaps=0)
    pi = kappa(values[:, 0], values[:, 1], pooled=True)
    assert alpha(values) == pytest.approx(1 - (1 - pi) * (1 - 1 / (2 * len(values))))


def test_rising_transformations_leave_ordinal_and_scales_leave_ratio_alone() -> None:
    values = random_ratings(9) + 1
    assert alpha(values**3, "ordinal") == pytest.approx(alpha(values, "ordinal"))
    assert alpha(7 * values, "ratio") == pytest.approx(alpha(values, "ratio"))
    assert alpha(7 * values - 3, "interval") == pytest.approx(alpha(values, "interval"))


def test_undefined() -> None:
    assert "equal" in evaluate("krippendorff_alpha", [[2, 2], [2, 2]], metric="interval").note
    assert math.isnan(alpha([[0.1, 0.1, 0.1], [0.1, 0.1, None]], "interval"))
    assert "two ratings" in evaluate("krippendorff_alpha", [[2, None], [None, 1]]).note
    assert math.isnan(alpha([[2, None], [None, 1]]))


def test_letters() -> None:
    words = [["good", "bad"], ["bad", "bad"]]
    assert evaluate("krippendorff_alpha", words).n == 2
    with pytest.raises(DataError, match="ordinal needs numbers"):
        evaluate("krippendorff_alpha", words, metric="ordinal")
    with pytest.raises(DataError, match="0 and above, got -1"):
        evaluate("krippendorff_alpha", [[-1, 2], [1, 1]], metric="ratio")


def bagged(values: np.ndarray) -> Bags:
    rows, domain = codes(values)
    return Bags(*bags(rated(rows)[0]), domain)


@pytest.mark.parametrize("metric", METRICS)
def test_resampled_sums_give_the_alpha_of_the_resample(metric: str) -> None:
    """What the bootstrap computes from sums is alpha of the drawn units, computed anew."""
    values = random_ratings(11, n=30) + 1
    values = values[(~np.isnan(values)).sum(1) > 1]
    b = bagged(values)
    observed, expected = disagreements(b, metric)  # type: ignore[arg-type]
    units, statistic, _ = by_moments(b, observed) if metric == "interval" else by_coincidences(b, metric)  # type: ignore[arg-type]
    pattern = {tuple(r): k for k, r in enumerate(b.rows.tolist())}
    sorted_rows = np.sort(codes(values)[0], axis=1)[:, ::-1][:, : b.rows.shape[1]]
    kind = [pattern[tuple(r)] for r in sorted_rows.tolist()]
    for seed in range(5):
        drawn = np.random.default_rng(seed).integers(0, len(values), len(values))
        weights = np.bincount([kind[i] for i in drawn], minlength=len(b.counts)).astype(float)
        got = float(statistic((weights @ units)[None])[0])
        assert got == pytest.approx(alpha(values[drawn], metric), abs=1e-9)  # type: ignore[arg-type]
    assert expected > 0


@pytest.mark.parametrize("metric", ["nominal", "ordinal", "ratio"])
def test_slopes_are_the_effect_of_one_unit(metric: str) -> None:
    """The first-order path: leaving a unit out moves alpha as computed anew, up to terms of order 1/n^2."""
    rng = np.random.default_rng(2)
    truth = rng.integers(1, 40, 300)
    values = np.clip(truth[:, None] + rng.integers(-4, 5, (300, 3)), 1, 60).astype(float)
    if metric == "nominal":
        values = np.where(rng.random(values.shape) < 0.7, truth[:, None], values)
    b = bagged(values)
    observed, expected = disagreements(b, metric)  # type: ignore[arg-type]
    units, statistic, _ = by_slopes(b, metric, observed, expected)  # type: ignore[arg-type]
    total = b.counts @ units
    whole = alpha(values, metric)  # type: ignore[arg-type]
    assert float(statistic(total[None])[0]) == pytest.approx(whole)
    linear = np.repeat(statistic(total - units) - whole, b.counts.astype(int))
    exact = np.array([alpha(np.delete(values, i, axis=0), metric) - whole for i in range(len(values))])  # type: ignore[arg-type]
    assert np.sort(linear) == pytest.approx(np.sort(exact), abs=0.03 * np.abs(exact).max())


@pytest.mark.parametrize("metric", ["nominal", "ordinal", "ratio"])
def test_both_ways_to_resample_give_one_interval(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    truth = rng.integers(1, 6, 300)
    values = np.where(rng.random((300, 3)) < 0.75, truth[:, None], rng.integers(1, 6, (300, 3))).astype(float)
    exact = evaluate("krippendorff_alpha", values, metric=metric)
    monkeypatch.setattr("theodolite.measures.raters.krippendorff.FEW", 1)
    linear = evaluate("krippendorff_alpha", values, metric=metric)
    assert exact.parts["resampled"] != linear.parts["resampled"]
    assert (linear.low, linear.high) == pytest.approx((exact.low, exact.high), abs=0.012)


def test_full_agreement_has_an_interval_with_width() -> None:
    got = evaluate("krippendorff_alpha", [[1, 1, 1], [2, 2, 2], [3, 3, None], [1, 1, 1]] * 3, metric="interval")
    assert (got.value, got.high) == (1.0, 1.0)
    assert 0 < got.low < 1


@pytest.mark.parametrize(
    ("metric", "kind"), [("nominal", "five"), ("ordinal", "five"), ("interval", "real"), ("ordinal", "real")]
)
def test_a_million_ratings_in_seconds(metric: str, kind: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(250_000, 1))
    values = truth + rng.normal(size=(250_000, 4))
    if kind == "five":
        values = np.clip(np.round(values) + 3, 1, 5)
    values[rng.random(values.shape) < 0.1] = N
    begin = time.perf_counter()
    got = evaluate("krippendorff_alpha", Ratings(values, tuple("abcd")), metric=metric)
    assert time.perf_counter() - begin < 20  # about 2 s when nothing else runs
    assert got.low < got.value < got.high
    assert got.high - got.low < 0.01
    if (metric, kind) == ("interval", "real"):
        assert got.value == pytest.approx(0.5, abs=0.01)  # variance of truth / (variance of truth + noise)


def test_the_annotators_of_pandalm(shared: Path) -> None:
    rows = json.loads((shared / "preference/pandalm_testset_v1.json").read_text(encoding="utf-8"))
    values = np.array([[r[f"annotator{k}"] for k in (1, 2, 3)] for r in rows], dtype=float)
    got = evaluate("krippendorff_alpha", values)
    assert got.value == pytest.approx(theirs.alpha(values.T, level_of_measurement="nominal"), abs=1e-12)
    assert got.value == pytest.approx(0.864, abs=5e-4)
    assert (got.low, got.high) == pytest.approx((0.841, 0.886), abs=0.005)
