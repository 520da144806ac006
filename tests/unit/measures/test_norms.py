"""Norms: ratings from token probabilities, correlations by hand and SciPy, people against people."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr

from measure_case import Case
from theodolite.errors import UsageError
from theodolite.measures.call import evaluate
from theodolite.measures.likeness.norms import correlation_bounds, expected_rating, reliability, rescaled_error
from theodolite.measures.records import Records

HUMAN = np.random.default_rng(0).uniform(1, 7, 80)
NOISE = np.random.default_rng(1).normal(size=80)

CASES = {
    "norm_alignment": Case(
        good=Records({"model": HUMAN + 0.3 * NOISE, "human": HUMAN}),
        bad=Records({"model": NOISE, "human": HUMAN}),
        undefined=Records({"model": [4.0] * 9, "human": np.arange(9.0)}),
        missing=(Records({"model": [1, None, 3, 4, 2], "human": [1, 2, None, 4, 3]}), 2),
    )
}


def test_expected_rating_by_hand() -> None:
    with np.errstate(divide="ignore"):
        logps = np.log([[0, 0, 1, 0], [0.25, 0.25, 0.25, 0.25], [0.1, 0, 0, 0.3], [0, 0, 0, 0]])
    rating, covered = expected_rating(logps, (1, 4))
    assert rating[:3] == pytest.approx([3, 2.5, (0.1 + 1.2) / 0.4])
    assert math.isnan(rating[3])
    assert covered == pytest.approx([1, 1, 0.4, 0])


def test_expected_rating_of_top_tokens_and_tiny_mass() -> None:
    rating, covered = expected_rating([math.nan, -1.0, math.nan], (1, 3))
    assert rating == pytest.approx(2)
    assert covered == pytest.approx(math.exp(-1))
    tiny, _ = expected_rating([-700.0, -700.0 + math.log(3)], (0, 1))
    assert tiny == pytest.approx(0.75)
    uniform, _ = expected_rating(np.full((2, 5, 7), -3.0), (1, 7))
    np.testing.assert_allclose(uniform, 4)
    with pytest.raises(UsageError, match="7 log-probs"):
        expected_rating([0.0, 1.0], (1, 7))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(4, 60))
def test_correlations_equal_scipy(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(1, 6, n).astype(float), rng.normal(size=n)
    if not np.ptp(x):
        return
    got = evaluate("norm_alignment", {"model": x, "human": y}, resamples=100)
    assert got.value == pytest.approx(pearsonr(x, y).statistic)
    assert got.parts["spearman"] == pytest.approx(spearmanr(x, y).statistic)
    slope, start = np.polyfit(x, y, 1)
    assert got.parts["error"] == pytest.approx(np.abs(y - slope * x - start).mean())


def test_affine_change_is_invisible() -> None:
    got = evaluate("norm_alignment", {"model": 10 - 2 * HUMAN, "human": HUMAN})
    assert got.value == pytest.approx(-1)
    assert rescaled_error(10 - 2 * HUMAN, HUMAN) == pytest.approx(0, abs=1e-12)


def test_correction_for_attenuation() -> None:
    # two raters with sd 1 a word: error variance 1/2; means 0, 2, 4 have variance 4: reliability 1 - 0.5/4
    assert reliability(np.array([0, 2, 4.0]), np.ones(3), np.full(3, 2.0)) == pytest.approx(0.875)
    assert math.isnan(reliability(np.array([0, 0.1, 0.2]), np.ones(3), np.full(3, 2.0)))
    rng = np.random.default_rng(0)
    truth = rng.normal(size=4000)
    ratings = truth[:, None] + 2 * rng.normal(size=(4000, 10))
    data = {"model": truth, "human": ratings.mean(1), "sd": ratings.std(1, ddof=1), "raters": np.full(4000, 10)}
    got = evaluate("norm_alignment", data, resamples=100)
    assert got.value == pytest.approx(math.sqrt(1 / 1.4), abs=0.02)
    assert got.parts["corrected"] == pytest.approx(1, abs=0.02)


def test_interval_covers_about_as_often_as_it_says() -> None:
    rng, hits = np.random.default_rng(0), 0
    for _ in range(100):
        x = rng.normal(size=80)
        low, high = correlation_bounds(x, 0.6 * x + 0.8 * rng.normal(size=80), rng, 0.9, 300)
        hits += low <= 0.6 <= high
    assert 80 <= hits <= 98


def norms(path: Path, column: str) -> dict[str, float]:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return {r["ENGLISH"].lower(): float(r[column]) for r in rows if r[column]}


@pytest.mark.parametrize(
    ("other", "theirs", "glasgow", "low", "high"),
    [
        ("affective_ratings_norare.tsv", "ENGLISH_VALENCE_MEAN", "VALENCE", 0.85, 1.0),
        ("affective_ratings_norare.tsv", "ENGLISH_AROUSAL_MEAN", "AROUSAL", 0.5, 0.85),
        ("affective_ratings_norare.tsv", "ENGLISH_VALENCE_MEAN", "IMAGEABILITY", -0.3, 0.4),
        ("concreteness_norare.tsv", "ENGLISH_CONCRETENESS_MEAN", "CONCRETENESS", 0.85, 1.0),
        ("concreteness_norare.tsv", "ENGLISH_CONCRETENESS_MEAN", "IMAGEABILITY", 0.75, 0.97),
    ],
)  # fmt: skip
def test_two_groups_of_people_agree(
    shared: Path, other: str, theirs: str, glasgow: str, low: float, high: float
) -> None:
    a = norms(shared / "cognition" / "glasgow_norms_norare.tsv", f"ENGLISH_{glasgow}_MEAN")
    b = norms(shared / "cognition" / other, theirs)
    words = sorted(a.keys() & b.keys())
    got = evaluate("norm_alignment", {"model": [a[w] for w in words], "human": [b[w] for w in words]}, resamples=200)
    assert got.n > 800
    assert low < got.low < got.high < high, got
