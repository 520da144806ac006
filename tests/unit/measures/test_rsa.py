"""Turing RSA: rank correlations against SciPy, pooling and ceilings against rsatoolbox, chance, people in 13 languages."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp, rankdata, spearmanr

from measure_case import Case
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.likeness.rsa import group_ratings, noise_ceiling, pairs_of, split_half
from theodolite.measures.likeness.rsa_chance import mantel, recentred, subject_bootstrap, variability
from theodolite.measures.rank_rows import rank_correlations, row_correlations, weighted_correlation, weighted_ranks
from theodolite.measures.records import Records

ITEMS = 8
FIRST, SECOND = np.triu_indices(ITEMS, 1)


def people(count: int, spread: float, seed: int, turned: bool = False) -> np.ndarray:
    """Likert ratings 1..7 of all pairs of ITEMS items, around one true similarity."""
    truth = np.random.default_rng(99).uniform(1, 7, len(FIRST))
    truth = 8 - truth if turned else truth
    noise = np.random.default_rng(seed).normal(scale=spread, size=(count, len(FIRST)))
    return np.clip(np.round(truth + noise), 1, 7)


def records(turned: bool = False, gaps: bool = False) -> Records:
    human, model = people(12, 1.0, 0), people(6, 0.5, 1, turned)
    if gaps:
        human[:, 3], model[:, [5, 6]], human[2, 8] = math.nan, math.nan, math.nan
    return Records({"human": human, "model": model, "first": FIRST, "second": SECOND})


def reordered(data: Records, rng: np.random.Generator) -> Records:
    order, h, m = rng.permutation(len(FIRST)), rng.permutation(12), rng.permutation(6)
    return Records({
        "human": data["human"][h][:, order],
        "model": data["model"][m][:, order],
        "first": data["first"][order],
        "second": data["second"][order],
    })  # fmt: skip


CASES = {
    "turing_rsa": Case(
        good=records(),
        bad=records(turned=True),
        undefined=Records({"human": people(5, 1.0, 0), "model": np.full((2, len(FIRST)), 4.0)}),
        missing=(records(gaps=True), 3),
        shuffle=reordered,
    )
}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 30), st.booleans())
def test_all_pairs_equal_scipy(seed: int, p: int, gaps: bool) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(1, 5, (4, p)).astype(float), rng.normal(size=(3, p))  # many ties
    if gaps:
        a[rng.random(a.shape) < 0.2] = math.nan
        b[rng.random(b.shape) < 0.2] = math.nan
    got = rank_correlations(a, b)
    for i in range(4):
        for j in range(3):
            ok = ~(np.isnan(a[i]) | np.isnan(b[j]))
            x, y = a[i, ok], b[j, ok]
            if ok.sum() < 2 or not np.ptp(x) or not np.ptp(y):
                assert math.isnan(got[i, j])
            else:
                assert got[i, j] == pytest.approx(spearmanr(x, y).statistic, abs=1e-10)
    same = row_correlations(a[:3], b)
    np.testing.assert_allclose(same, np.diag(got[:3]), atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 20))
def test_weighted_ranks_equal_repeated_rows(seed: int, p: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(1, 6, p).astype(float), rng.normal(size=p)
    weight = rng.integers(0, 4, (5, p)).astype(float)
    a, b = weighted_ranks(x, weight), weighted_ranks(y, weight)
    got = weighted_correlation(a, b, weight)
    for i, w in enumerate(weight.astype(int)):
        long_x, long_y = np.repeat(x, w), np.repeat(y, w)
        np.testing.assert_allclose(np.repeat(a[i], w), rankdata(long_x))
        if len(long_x) > 2 and np.ptp(long_x) > 0 and np.ptp(long_y) > 0:
            assert got[i] == pytest.approx(spearmanr(long_x, long_y).statistic, abs=1e-9)


def test_rsatoolbox_agrees() -> None:
    rdm = pytest.importorskip("rsatoolbox.rdm")
    inference = pytest.importorskip("rsatoolbox.inference.noise_ceiling")
    human, model = people(9, 1.5, 0), people(4, 0.5, 1)
    theirs = rdm.compare(rdm.RDMs(human), rdm.RDMs(model), method="spearman")
    np.testing.assert_allclose(rank_correlations(human, model), theirs, atol=1e-10)
    low, high = inference.boot_noise_ceiling(rdm.RDMs(human), method="spearman")
    assert noise_ceiling(human, "rank") == pytest.approx((low, high), abs=1e-10)


def test_noise_ceiling_by_hand() -> None:
    # three people: 1 2 3 | 1 3 2 | 1 2 3. Means of all: 1, 7/3, 8/3 (order 1 2 3): rho 1, .5, 1 -> upper 5/6
    # means of the others: (1, 2.5, 2.5), (1, 2, 3), (1, 2.5, 2.5): rho sqrt(3)/2, .5, sqrt(3)/2
    people3 = np.array([[1, 2, 3], [1, 3, 2], [1, 2, 3.0]])
    low, high = noise_ceiling(people3)
    assert high == pytest.approx(5 / 6)
    assert low == pytest.approx((math.sqrt(3) + 0.5) / 3)
    assert all(math.isnan(v) for v in noise_ceiling(people3[:1]))


def test_split_half() -> None:
    rng = np.random.default_rng(0)
    assert split_half(np.tile(np.arange(10.0), (6, 1)), rng) == pytest.approx((1, 1))
    raw, corrected = split_half(people(40, 2.0, 0), rng)
    assert raw < corrected < 1
    two = np.array([[1, 2, 3, 4], [1, 2, 4, 3.0]])  # only one split: rho 0.8, corrected 1.6/1.8
    assert split_half(two, rng) == pytest.approx((0.8, 1.6 / 1.8))


def test_group_means_skip_gaps() -> None:
    got = group_ratings(np.array([[1.0, math.nan, math.nan], [3.0, 5.0, math.nan]]))
    assert got[:2] == pytest.approx([2, 5])
    assert math.isnan(got[2])


def test_two_orders_are_averaged() -> None:
    m = np.array([[9, 1, 2], [3, 9, math.nan], [4, 7, 9]])
    ratings, first, second = pairs_of(m)
    assert ratings.tolist() == [[2, 3, 7]]  # (1+3)/2, (2+4)/2, 7 alone
    assert (first.tolist(), second.tolist()) == ([0, 0, 1], [1, 2, 2])


def test_increasing_change_of_scale_is_invisible() -> None:
    human = people(8, 1.0, 0)
    got = evaluate("turing_rsa", {"human": human[:1], "model": np.exp(human[:1])})
    assert got.value == pytest.approx(1)
    assert math.isnan(got.low)  # one subject a side, no items named
    named = evaluate("turing_rsa", {"human": human[:1], "model": human[:1], "first": FIRST, "second": SECOND})
    assert named.method == "bootstrap over items"
    assert named.low == pytest.approx(1)


def test_parts() -> None:
    got = evaluate("turing_rsa", records())
    assert got.low < got.value < got.high
    low, high = got.parts["item_bootstrap"]
    assert low < got.value < high
    assert got.p_value == pytest.approx(1 / 2001)
    assert got.parts["noise_ceiling"]["lower"] < got.parts["noise_ceiling"]["upper"]
    assert len(got.parts["model_to_each_human"]) == 6
    assert len(got.parts["human_to_other_humans"]) == 12
    spread = got.parts["variability"]
    assert spread["within_human"]["n"] == 66
    assert spread["within_model"]["mean"] > spread["within_human"]["mean"]
    assert spread["p_difference"] < 0.05
    pairs = rank_correlations(people(12, 1.0, 0), people(12, 1.0, 0))[np.triu_indices(12, 1)]
    inside = rank_correlations(people(6, 0.5, 1), people(6, 0.5, 1))[np.triu_indices(6, 1)]
    assert spread["ks"] == pytest.approx(ks_2samp(pairs, inside).statistic)
    assert spread["difference"] == pytest.approx(pairs.mean() - inside.mean())


def test_subject_interval_covers_the_expected_value() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=60)
    other, found = 0.8 * truth + 0.6 * rng.normal(size=60), []
    for _ in range(60):
        human, model = truth + rng.normal(size=(10, 60)), other + rng.normal(size=(6, 60))
        value = float(rank_correlations(group_ratings(human), group_ratings(model))[0, 0])
        drawn = recentred(subject_bootstrap(human, model, rng, 200), value)
        found.append((value, *np.quantile(drawn, [0.025, 0.975])))
    values, low, high = np.array(found).T
    expected = np.tanh(np.arctanh(values).mean())
    assert 0.85 <= np.mean((low <= expected) & (expected <= high)) <= 1
    assert ((low < values) & (values < high)).all()


def test_identical_samples_have_no_spread() -> None:
    got = variability(people(5, 1.0, 0), np.tile(people(1, 0.1, 3), (4, 1)), np.random.default_rng(0), 200)
    assert got["within_model"]["mean"] == pytest.approx(1)
    assert got["within_model"]["sd"] == pytest.approx(0, abs=1e-9)
    alone = variability(people(5, 1.0, 0), people(1, 1.0, 1), np.random.default_rng(0), 200)
    assert math.isnan(alone["ks"])


def test_mantel_is_uniform_without_structure_and_small_with() -> None:
    rng = np.random.default_rng(0)
    p = [mantel(rng.normal(size=28), rng.normal(size=28), FIRST, SECOND, rng, 99) for _ in range(200)]
    assert 0.4 < np.mean(p) < 0.6
    x = rng.normal(size=28)
    assert mantel(x, x, FIRST, SECOND, rng, 99) == pytest.approx(0.01)
    assert math.isnan(mantel(x[:-1], x[:-1], FIRST[:-1], SECOND[:-1], rng, 99))


def test_letters() -> None:
    with pytest.raises(DataError, match="same pairs"):
        evaluate("turing_rsa", {"human": np.ones((2, 3)), "model": np.ones((2, 4))})
    with pytest.raises(DataError, match="two different items"):
        evaluate(
            "turing_rsa", {"human": [[1, 2, 3]], "model": [[1, 2, 3]], "first": list("aab"), "second": list("bcb")}
        )


def test_languages_agree_on_similarity(shared: Path) -> None:
    """Multi-SimLex: 1,888 pairs rated in 13 languages; seven as people, six as if they were a model's samples."""
    with open(shared / "cognition" / "multisimlex_scores.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = ["ARA", "CMN", "CYM", "ENG", "EST", "FIN", "FRA", "HEB", "POL", "RUS", "SPA", "SWA", "YUE"]
    table = np.array([[float(r[n]) if r[n] else math.nan for r in rows] for n in names])
    got = evaluate("turing_rsa", {"human": table[:7], "model": table[7:]}, resamples=200)
    assert got.n == 1888
    assert 0.92 < got.value < 0.97, got
    assert 0.9 < got.low < got.value < got.high < 0.98
    assert got.parts["noise_ceiling"]["lower"] > 0.5
