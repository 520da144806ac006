"""Correlations of resamples given as counts are those of the resampled rows, with ties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from theodolite.measures.raters.association import correlation, correlation_interval, weighted_correlation
from theodolite.measures.records import Resampled

KINDS = {"spearman": scipy_stats.spearmanr, "pearson": scipy_stats.pearsonr, "kendall": scipy_stats.kendalltau}


@given(st.sampled_from(sorted(KINDS)), st.integers(0, 10**6))
def test_counts_are_rows(kind: str, seed: int) -> None:
    generator = np.random.default_rng(seed)
    n = int(generator.integers(3, 12))
    x, y = generator.integers(0, 5, (2, n)).astype(float)
    counts = generator.multinomial(n, np.full(n, 1 / n), size=4)
    got = weighted_correlation(x, y, counts.astype(float), kind)  # type: ignore[arg-type]
    for c, value in zip(counts, got):
        a, b = np.repeat(x, c), np.repeat(y, c)
        if np.ptp(a) == 0 or np.ptp(b) == 0:
            assert math.isnan(value)
        else:
            assert value == pytest.approx(KINDS[kind](a, b)[0])


def test_undefined() -> None:
    assert math.isnan(correlation(np.array([1.0]), np.array([2.0]), "pearson"))
    assert math.isnan(correlation(np.array([1.0, 1.0]), np.array([2.0, 3.0]), "spearman"))
    span = correlation_interval(np.arange(2.0), np.arange(2.0), "kendall", None, np.random.default_rng(0), Resampled())
    assert math.isnan(span.low)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_interval_covers(kind: str) -> None:
    truth = {"pearson": 0.6, "spearman": 6 / math.pi * math.asin(0.3), "kendall": 2 / math.pi * math.asin(0.6)}[kind]
    generator, hits = np.random.default_rng(5), 0
    for _ in range(100):
        x, y = generator.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], 60).T
        span = correlation_interval(x, y, kind, None, generator, Resampled(resamples=300))  # type: ignore[arg-type]
        hits += span.low <= truth <= span.high
    assert 86 <= hits <= 100


def test_units_are_resampled_together() -> None:
    generator = np.random.default_rng(6)
    centre = generator.normal(size=25)
    x, y = np.repeat(centre, 20), np.repeat(centre + generator.normal(size=25), 20)
    cfg, units = Resampled(resamples=1000), np.repeat(np.arange(25), 20)
    rows = correlation_interval(x, y, "spearman", None, np.random.default_rng(0), cfg)
    whole = correlation_interval(x, y, "spearman", units, np.random.default_rng(0), cfg)
    assert whole.high - whole.low > 2 * (rows.high - rows.low)
