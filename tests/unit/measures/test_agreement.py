"""Percent agreement, kappa, pi and Fleiss' kappa: by hand, against other people's code, and where they are undefined."""

from __future__ import annotations

import json
import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import aggregate_raters
from statsmodels.stats.inter_rater import fleiss_kappa as their_fleiss

from measure_case import Case
from theodolite import stats
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.intervals import kind_weights
from theodolite.measures.raters.agreement import agreeing_pairs, bags, codes, fleiss_of_sums, fleiss_units
from theodolite.measures.raters.kappa import kappa
from theodolite.measures.records import Ratings

NAN = math.nan


def like(*columns: list[float]) -> Ratings:
    return Ratings(np.array(columns, dtype=float).T, tuple(f"r{i}" for i in range(len(columns))))


TRUTH = [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 2.0]
GOOD = like(TRUTH, [*TRUTH[:9], 3.0])
BAD = like(TRUTH, [*TRUTH[1:], 1.0])
CASES = {
    name: Case(
        good=GOOD,
        bad=BAD,
        undefined=like([1.0, NAN, 2.0], [NAN, 1.0, NAN]),
        missing=(like([*TRUTH, 1.0, NAN], [*TRUTH[:9], 3.0, NAN, NAN]), 2),
    )
    for name in ("percent_agreement", "cohen_kappa", "scott_pi", "fleiss_kappa")
}


def test_two_raters_by_hand() -> None:
    # 50 items: yes-yes 20, yes-no 5, no-yes 10, no-no 15. p_o = .7; a says yes .5, b .6: p_e = .5*.6 + .5*.4 = .5
    a = [1.0] * 25 + [0.0] * 25
    b = [1.0] * 20 + [0.0] * 5 + [1.0] * 10 + [0.0] * 15
    data = like(a, b)
    assert evaluate("percent_agreement", data).value == pytest.approx(0.7)
    assert evaluate("cohen_kappa", data).value == pytest.approx((0.7 - 0.5) / 0.5)
    # pi: pooled yes .55, p_e = .55^2 + .45^2 = .505
    assert evaluate("scott_pi", data).value == pytest.approx((0.7 - 0.505) / (1 - 0.505))
    assert evaluate("fleiss_kappa", data).value == pytest.approx((0.7 - 0.505) / (1 - 0.505))


def test_fleiss_1971_worked_example() -> None:
    # 10 subjects, 14 raters, 5 categories, the table printed in the literature: kappa = 0.210
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    rows = np.array([np.repeat(np.arange(5), counts) for counts in table], dtype=float)
    assert evaluate("fleiss_kappa", rows).value == pytest.approx(0.210, abs=5e-4)
    assert evaluate("fleiss_kappa", rows).value == pytest.approx(their_fleiss(np.array(table)), abs=1e-12)


def test_percent_agreement_with_gaps_by_hand() -> None:
    # items: 1 1 2 -> 1 of 3 pairs; 2 2 - -> 1; - 3 - -> left out; 1 2 3 -> 0. mean of 1/3, 1, 0
    rows = [[1, 1, 2], [2, 2, None], [None, 3, None], [1, 2, 3]]
    got = evaluate("percent_agreement", rows)
    assert got.value == pytest.approx((1 / 3 + 1 + 0) / 3)
    assert (got.n, got.missing, got.why) == (3, 1, {"fewer than two ratings": 1})


RATINGS = st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=2, max_size=40)


@given(RATINGS)
def test_kappa_agrees_with_scikit_learn(rows: list[tuple[int, int]]) -> None:
    a, b = (list(x) for x in zip(*rows, strict=True))
    for weights, theirs in (("none", None), ("linear", "linear"), ("quadratic", "quadratic")):
        ours = kappa(a, b, weights)
        if len({*a, *b}) == 1:
            assert math.isnan(ours)
        else:
            want = cohen_kappa_score(a, b, weights=theirs, labels=[1, 2, 3, 4])
            assert ours == pytest.approx(want, abs=1e-12)


@given(RATINGS)
def test_pi_is_fleiss_for_two_and_never_above_kappa(rows: list[tuple[int, int]]) -> None:
    values = np.array(rows, dtype=float)
    a, b = values.T
    pi = kappa(a, b, pooled=True)
    if len(np.unique(values)) == 1:
        assert math.isnan(pi)
        return
    table = aggregate_raters(values.astype(int))[0]
    assert pi == pytest.approx(their_fleiss(table), abs=1e-12)
    assert pi <= kappa(a, b) + 1e-12
    assert kappa([*a, *b], [*b, *a], pooled=True) == pytest.approx(kappa([*a, *b], [*b, *a]), abs=1e-12)


@given(st.integers(2, 5), st.integers(0, 10_000))
@settings(max_examples=50)
def test_fleiss_agrees_with_statsmodels(raters: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(0, 3, (12, raters)).astype(float)
    table = aggregate_raters(values.astype(int))[0]
    assert evaluate("fleiss_kappa", values, resamples=100).value == pytest.approx(their_fleiss(table), abs=1e-12)


def test_more_than_two_raters_are_the_mean_of_pairs() -> None:
    rng = np.random.default_rng(3)
    values = rng.integers(0, 3, (40, 4)).astype(float)
    values[rng.random(values.shape) < 0.2] = NAN
    got = evaluate("cohen_kappa", values, weights="quadratic")
    want = []
    for i, j in combinations(range(4), 2):
        both = ~np.isnan(values[:, i] + values[:, j])
        a, b = values[both, i].astype(int), values[both, j].astype(int)
        want.append(cohen_kappa_score(a, b, weights="quadratic", labels=[0, 1, 2]))
    assert [p["value"] for p in got.parts["pairs"]] == pytest.approx(want)
    assert got.value == pytest.approx(np.mean(want))
    assert got.low < got.value < got.high


def test_steps_nobody_used_still_count() -> None:
    # 1 and 5 against 1 and 3: the distance 4 and 2 are 2:1, whatever lies between
    a, b = [1, 1, 3, 3, 5, 5], [1, 3, 3, 3, 5, 1]
    assert kappa(a, b, "linear") == pytest.approx(cohen_kappa_score(a, b, weights="linear", labels=[1, 2, 3, 4, 5]))


def test_one_category_only_is_undefined() -> None:
    data = like([1.0] * 5, [1.0] * 5)
    for name in ("cohen_kappa", "scott_pi", "fleiss_kappa"):
        got = evaluate(name, data)
        assert math.isnan(got.value)
        assert "one category" in got.note
    assert evaluate("percent_agreement", data).value == 1.0


def test_constant_raters_who_differ_have_kappa_zero_and_pi_below() -> None:
    data = like([1.0] * 6, [2.0] * 6)
    assert evaluate("cohen_kappa", data).value == 0.0
    assert evaluate("scott_pi", data).value == pytest.approx(-1.0)


def test_full_agreement_has_an_interval_with_width() -> None:
    data = like(TRUTH, TRUTH)
    for name in ("cohen_kappa", "scott_pi", "fleiss_kappa", "percent_agreement"):
        got = evaluate(name, data)
        assert (got.value, got.high) == (1.0, 1.0)
        assert 0.3 < got.low < 0.8
    three = evaluate("percent_agreement", like(TRUTH, TRUTH, TRUTH))
    assert three.low == pytest.approx(10 / (10 + 1.959964**2))


def test_words_are_categories_and_refuse_weights() -> None:
    words = [["yes", "yes"], ["no", "no"], ["yes", "no"], ["no", ""], ["maybe", "maybe"]]
    got = evaluate("cohen_kappa", words)
    assert got.value == pytest.approx(cohen_kappa_score(["y", "n", "y", "m"], ["y", "n", "n", "m"]))
    assert got.missing == 1
    with pytest.raises(DataError, match=r"linear weights needs numbers.*maybe, no, yes"):
        evaluate("cohen_kappa", words, weights="linear")


def test_measurements_are_refused_as_categories() -> None:
    x = np.random.default_rng(0).normal(size=(600, 2))
    for name in ("cohen_kappa", "scott_pi", "fleiss_kappa"):
        with pytest.raises(DataError, match="1200 different values"):
            evaluate(name, x)
    with pytest.raises(DataError, match="infinite"):
        evaluate("percent_agreement", [[1.0, math.inf], [1.0, 1.0]])


def test_twice_the_data_gives_the_same_value_and_a_narrower_interval() -> None:
    rng = np.random.default_rng(1)
    a = rng.integers(0, 3, 150)
    values = np.column_stack([a, np.where(rng.random(150) < 0.7, a, rng.integers(0, 3, 150))]).astype(float)
    for name in ("cohen_kappa", "scott_pi", "fleiss_kappa"):
        one, two = evaluate(name, values), evaluate(name, np.vstack([values, values]))
        assert two.value == pytest.approx(one.value)
        assert (two.high - two.low) / (one.high - one.low) == pytest.approx(1 / math.sqrt(2), rel=0.1)


def test_pairs_of_a_bag_by_counting() -> None:
    rng = np.random.default_rng(5)
    values = rng.integers(0, 3, (60, 6)).astype(float)
    values[rng.random(values.shape) < 0.4] = NAN
    values = values[(~np.isnan(values)).sum(1) >= 2]
    kinds, counts = bags(codes(values)[0])
    slow = []
    for row in values:
        x = row[~np.isnan(row)]
        slow.append(np.mean([x[i] == x[j] for i, j in combinations(range(len(x)), 2)]))
    assert counts.sum() == len(values)
    assert counts @ agreeing_pairs(kinds) == pytest.approx(sum(slow))


def test_kinds_and_rows_resample_alike() -> None:
    """Drawing kinds with their counts is the item bootstrap: same interval as resampling whole rows in a loop."""
    rng = np.random.default_rng(7)
    a = rng.integers(0, 3, 80)
    values = np.column_stack([a, np.where(rng.random(80) < 0.6, a, rng.integers(0, 3, 80))]).astype(float)
    kinds, counts = bags(codes(values)[0])
    assert len(kinds) <= 6
    units = fleiss_units(kinds, 3)
    drawn = np.concatenate([w @ units for w in kind_weights(counts, 4000, rng)])
    ours = np.quantile(fleiss_of_sums(drawn), [0.05, 0.5, 0.95])
    loop = []
    for _ in range(1500):
        again = values[rng.integers(0, 80, 80)].astype(int)
        loop.append(their_fleiss(np.stack([(again == k).sum(1) for k in range(3)], 1)))
    assert ours == pytest.approx(np.quantile(loop, [0.05, 0.5, 0.95]), abs=0.02)


def test_very_many_kinds_take_the_normal_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    a = rng.integers(0, 4, 400)
    values = np.column_stack([a, np.where(rng.random(400) < 0.7, a, rng.integers(0, 4, 400))]).astype(float)
    exact = evaluate("cohen_kappa", values)
    monkeypatch.setattr(stats, "LIMIT", 0)
    limit = evaluate("cohen_kappa", values)
    assert "jackknife" in limit.method
    assert (limit.low, limit.high) == pytest.approx((exact.low, exact.high), abs=0.01)


def test_the_annotators_of_pandalm(shared: Path) -> None:
    rows = json.loads((shared / "preference/pandalm_testset_v1.json").read_text(encoding="utf-8"))
    values = np.array([[r[f"annotator{k}"] for k in (1, 2, 3)] for r in rows], dtype=float)
    got = evaluate("cohen_kappa", values)
    want = [cohen_kappa_score(values[:, i], values[:, j]) for i, j in combinations(range(3), 2)]
    assert [p["value"] for p in got.parts["pairs"]] == pytest.approx(want, abs=1e-12)
    table = aggregate_raters(values.astype(int))[0]
    assert evaluate("fleiss_kappa", values).value == pytest.approx(their_fleiss(table), abs=1e-12)
    assert got.n == 999
    assert got.value == pytest.approx(0.8642, abs=1e-4)
    assert (got.low, got.high) == pytest.approx((0.841, 0.886), abs=0.005)
    assert evaluate("percent_agreement", values).value == pytest.approx(0.920, abs=1e-3)


def test_a_crowd_is_pooled_not_paired() -> None:
    rng = np.random.default_rng(6)
    values = np.full((200, 150), NAN)
    truth = rng.integers(0, 3, 200)
    for i in range(200):
        who = rng.choice(150, 5, replace=False)
        values[i, who] = np.where(rng.random(5) < 0.7, truth[i], rng.integers(0, 3, 5))
    for name in ("cohen_kappa", "spearman"):
        with pytest.raises(DataError, match="150 columns"):
            evaluate(name, values)
    assert evaluate("fleiss_kappa", values).value == pytest.approx(0.49, abs=0.1)
