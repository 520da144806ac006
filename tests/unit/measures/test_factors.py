"""Factor scores against SciPy's Kendall on all pairs of texts, agreement by hand and against SciPy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from measure_case import Case
from theodolite.errors import DataError, UsageError
from theodolite.measures.call import evaluate
from theodolite.measures.records import Records
from theodolite.measures.values.factors import agreement, factor_scores


def pairs(human_like: bool) -> Records:
    """60 pairs, five factors that drive people with strengths 4, 2, 1, 0, -2; the model has them or their reverse."""
    generator = np.random.default_rng(3)
    m = generator.integers(-1, 2, (60, 5))
    drive = np.array([4, 2, 1, 0, -2])
    human = np.sign(m @ drive + generator.normal(0, 1, 60))
    model = np.sign(m @ (drive if human_like else -drive) + generator.normal(0, 1, 60))
    return Records({"preference": model, "human": human, "manifestations": m})


GOOD, BAD = pairs(True), pairs(False)
GAPS = Records({"preference": [1, None, -1, 1, 1], "human": [1, 1, -1, -1, None],
                "manifestations": [[1, 0, -1], [1, 1, 1], [-1, 1, 0], [0, 0, 1], [1, 1, 1]]})  # fmt: skip
NONE = Records({"preference": [1, -1], "human": [1, 1], "manifestations": [[0, 0, 0], [0, 0, 0]]})
CASES = {
    "factor_score": Case(good=GOOD, undefined=NONE, missing=(GAPS, 1)),
    "factor_agreement": Case(good=GOOD, bad=BAD, undefined=NONE, missing=(GAPS, 2)),
}


def test_by_hand() -> None:
    # factor 1: agrees, agrees, tie, against a tied preference; factor 2: against, agrees, agrees, tied preference
    s, m = np.array([1.0, -1, 1, 0]), np.array([[1.0, -1], [-1, -1], [0, 1], [1, 1]])
    assert factor_scores(s, m) == pytest.approx([2 / 3, 1 / 3])  # 3 preferences that are no tie
    assert factor_scores(s, m, "all_ties") == pytest.approx([2 / 4, 1 / 4])
    assert factor_scores(s, m, "tau_b") == pytest.approx([2 / math.sqrt(3 * 3), 1 / math.sqrt(3 * 4)])


def test_limits() -> None:
    s = np.array([1.0, -1, 1, -1])
    m = np.stack([s, -s, 0 * s, np.full(4, np.nan)], 1)
    got = factor_scores(s, m)
    assert got[:2].tolist() == [1.0, -1.0]
    assert np.isnan(got[2:]).all()


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12))
def test_on_all_pairs_tau_b_is_scipys(points: list[tuple[int, int]]) -> None:
    rows = list(itertools.combinations(points, 2))
    s = np.array([np.sign(a[0] - b[0]) for a, b in rows], float)
    m = np.array([[np.sign(a[1] - b[1])] for a, b in rows], float)
    theirs = scipy_stats.kendalltau(*map(list, zip(*points))).statistic
    assert factor_scores(s, m, "tau_b")[0] == pytest.approx(theirs, nan_ok=True)
    untied = len({p[0] for p in points}) == len({p[1] for p in points}) == len(points)
    if untied:
        assert factor_scores(s, m)[0] == pytest.approx(theirs)


def test_weights_are_repeated_pairs() -> None:
    s, m = GOOD["preference"], GOOD["manifestations"].astype(float)
    counts = np.random.default_rng(0).multinomial(60, np.full(60, 1 / 60), size=3)
    got = factor_scores(s, m, "tau14", counts.astype(float))
    for b, c in enumerate(counts):
        assert got[b] == pytest.approx(factor_scores(np.repeat(s, c), np.repeat(m, c, axis=0)))


@given(st.integers(0, 10**6), st.sampled_from(["kendall", "spearman", "pearson"]))
def test_agreement_row_by_row_is_scipys(seed: int, kind: str) -> None:
    generator = np.random.default_rng(seed)
    a, b = generator.integers(-3, 4, (2, 4, 6)) / 4
    a = np.where(generator.random((4, 6)) < 0.2, np.nan, a)
    function = {"kendall": scipy_stats.kendalltau, "spearman": scipy_stats.spearmanr, "pearson": scipy_stats.pearsonr}[
        kind
    ]
    for x, y, got in zip(a, b, agreement(a, b, kind)):  # type: ignore[arg-type]
        ok = ~np.isnan(x)
        if ok.sum() < 3 or np.ptp(x[ok]) == 0 or np.ptp(y[ok]) == 0:
            assert math.isnan(got)
        else:
            assert got == pytest.approx(function(x[ok], y[ok])[0])


def test_readings() -> None:
    one = evaluate("factor_score", GOOD, factors=["length", "facts", "fluency", "noise", "off"])
    assert one.note == "factor length"
    assert one.value == pytest.approx(factor_scores(GOOD["preference"], GOOD["manifestations"].astype(float))[0])
    off = evaluate("factor_score", GOOD, factor="5")
    assert -1 <= off.low <= off.value <= off.high < 0
    got = evaluate("factor_agreement", GOOD)
    assert got.value == got.parts["kendall"] > 0.5
    assert evaluate("factor_agreement", BAD).value < -0.5
    same = Records(dict(GOOD.columns) | {"human": GOOD["preference"]})
    exact = evaluate("factor_agreement", same)
    assert (exact.value, exact.parts["same_sign"], exact.parts["rank_gaps"][0]["gap"]) == (pytest.approx(1.0), 1.0, 0.0)
    # 5 factors: 2 of 120 orders are as extreme
    assert exact.p_value == pytest.approx(2 / 120, abs=0.01)


def test_rank_gaps_name_what_the_model_overrates() -> None:
    human = np.array([1, 1, 1, 1, 1, 1])
    model = np.array([1, 1, 1, -1, -1, -1])
    m = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [-1, 1, 1], [-1, 1, 1], [-1, 0, 1]])
    # people: 0, 1/2, 1/2; model: 1, (1 - 2)/6, -1/2: the model ranks factor 1 first, people last (rank 3)
    got = evaluate("factor_agreement", {"preference": model, "human": human, "manifestations": m})
    assert got.parts["rank_gaps"][0] == {"factor": "1", "gap": 2.0}


def test_letters() -> None:
    with pytest.raises(DataError, match="must hold -1, 0 or 1"):
        evaluate("factor_score", {"preference": [2], "manifestations": [[1]]})
    with pytest.raises(UsageError, match="2 names in `factors`"):
        evaluate("factor_score", GOOD, factors=["a", "b"])
    with pytest.raises(UsageError, match="no factor 'lenght'"):
        evaluate("factor_score", GOOD, factors=["length", "b", "c", "d", "e"], factor="lenght")
