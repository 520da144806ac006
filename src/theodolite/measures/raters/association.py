"""How strongly do two columns of numbers go together? Pearson, Spearman and Kendall with bootstrap intervals.

The bootstrap resamples units as counts: ranks and concordances of a resample are sums of products of counts, so no
resample is ever built row by row.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from scipy import stats as scipy_stats

from theodolite.measures.intervals import percentile, weights
from theodolite.measures.rank_rows import weighted_ranks
from theodolite.measures.records import Integers, Resampled
from theodolite.stats import Floats, Interval

Kind = Literal["spearman", "pearson", "kendall"]


def correlation(x: Floats, y: Floats, kind: Kind) -> float:
    """One coefficient in [-1, 1] of two (n,) columns without NaN; NaN for n < 2 or a constant column.

    spearman: Pearson of average ranks. kendall: tau_b. pearson: on the numbers themselves.
    """
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return math.nan
    function = {
        "spearman": scipy_stats.spearmanr,
        "pearson": scipy_stats.pearsonr,
        "kendall": scipy_stats.kendalltau,
    }[kind]
    return float(function(x, y)[0])


def correlation_interval(
    x: Floats, y: Floats, kind: Kind, units: Integers | None, rng: np.random.Generator, cfg: Resampled
) -> Interval:
    """Percentile bootstrap over units (rows, or rows sharing a number in `units`: 0..G-1). Kendall costs O(B n^2)."""
    code = np.arange(len(x)) if units is None else units
    n = int(code.max()) + 1 if len(code) else 0
    method = "bootstrap over rows" if units is None else "bootstrap over units"
    if n < 3:
        return Interval(math.nan, math.nan, cfg.level, method)
    x, y = (v - v.mean() for v in (x, y))
    draws = np.concatenate(
        [weighted_correlation(x, y, w[:, code], kind) for w in weights(n, cfg.resamples, rng, len(x))]
    )
    return percentile(draws, cfg, method)


def weighted_correlation(x: Floats, y: Floats, w: Floats, kind: Kind) -> Floats:
    """(B,) coefficients of B resamples: row i of the data stands w[b, i] times in resample b. w: (B, n)."""
    if kind == "kendall":
        return _kendall(x, y, w)
    if kind == "spearman":
        x, y = weighted_ranks(x, w), weighted_ranks(y, w)
    return _pearson(np.atleast_2d(x), np.atleast_2d(y), w)


def _pearson(x: Floats, y: Floats, w: Floats) -> Floats:
    n = w.sum(1, keepdims=True)
    x, y = (v - (w * v).sum(1, keepdims=True) / n for v in (x, y))
    xx, yy, xy = (w * x * x).sum(1), (w * y * y).sum(1), (w * x * y).sum(1)
    tiny = 1e-24 * n[:, 0]  # a constant column keeps a rounding error of about n (1e-16 max)^2
    flat = (xx <= tiny * np.abs(x).max() ** 2) | (yy <= tiny * np.abs(y).max() ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(flat, np.nan, xy / np.sqrt(xx * yy))


def _by_code(w: Floats, code: Integers) -> Floats:
    """(B, U) counts of each of the U codes; every code from 0 to U - 1 occurs."""
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(code[order]) > 0])
    summed: Floats = np.add.reduceat(w[:, order], starts, axis=1)
    return summed


def _kendall(x: Floats, y: Floats, w: Floats) -> Floats:
    """tau_b = (C - D) / sqrt((N - ties in x)(N - ties in y)), N = n(n-1)/2; copies of a row are ties in both."""
    net = np.zeros(len(w))
    block = max(1, 4_000_000 // len(x))
    for at in range(0, len(x), block):
        part = slice(at, at + block)
        sign = np.sign(x[:, None] - x[part]) * np.sign(y[:, None] - y[part])
        net += ((w @ sign) * w[:, part]).sum(1) / 2
    n = w.sum(1)
    pairs = n * (n - 1) / 2
    free = [
        pairs - (t * (t - 1) / 2).sum(1) for t in (_by_code(w, np.unique(v, return_inverse=True)[1]) for v in (x, y))
    ]
    bottom = np.sqrt(np.maximum(free[0], 0) * np.maximum(free[1], 0))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(bottom > 0, net / bottom, np.nan)
