"""Rank correlations of many rows at once, with ties, gaps and weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from theodolite.measures.records import Floats


def rank_correlations(a: ArrayLike, b: ArrayLike) -> Floats:
    """(A, B) Spearman correlations of every row of a (A, P) with every row of b (B, P), ties by average ranks.

    Without gaps it is one matrix product of centred unit ranks. Gaps (NaN) are dropped pairwise and ranked again, once
    for each two patterns of gaps. A constant row gives NaN.
    """
    x, y = np.atleast_2d(np.asarray(a, float)), np.atleast_2d(np.asarray(b, float))
    gap_x, gap_y = np.isnan(x), np.isnan(y)
    if not gap_x.any() and not gap_y.any():
        return unit_ranks(x) @ unit_ranks(y).T
    found = np.full((len(x), len(y)), math.nan)
    (kinds_x, of_x), (kinds_y, of_y) = (np.unique(g, axis=0, return_inverse=True) for g in (gap_x, gap_y))
    for i, p in enumerate(kinds_x):
        for j, q in enumerate(kinds_y):
            rows, columns, both = of_x.ravel() == i, of_y.ravel() == j, ~(p | q)
            found[np.ix_(rows, columns)] = unit_ranks(x[rows][:, both]) @ unit_ranks(y[columns][:, both]).T
    return found


def pooled(ratings: Floats, pool: str) -> Floats:
    """Ratings as they enter a mean: themselves, or ranks within each subject."""
    if pool == "mean":
        return ratings
    return (
        np.asarray(rankdata(ratings, axis=1, nan_policy="omit")) if np.isnan(ratings).any() else average_ranks(ratings)
    )


def mean_over(ratings: Floats, weight: Floats) -> Floats:
    """(B, P) means over subjects with weights (B, S); NaN where no weighted subject rated."""
    given = ~np.isnan(ratings)
    with np.errstate(invalid="ignore"):
        count = weight @ given
        return np.where(count > 0, (weight @ np.where(given, ratings, 0.0)) / count, math.nan)


def row_correlations(a: Floats, b: Floats) -> Floats:
    """(B,) Spearman correlation of each row of a with the same row of b; gaps dropped pairwise."""
    gap = np.isnan(a) | np.isnan(b)
    if not gap.any():
        return np.asarray((unit_ranks(a) * unit_ranks(b)).sum(1))
    return np.array([unit_ranks(np.stack([p[~g], q[~g]])).prod(0).sum() for p, q, g in zip(a, b, gap, strict=True)])


def average_ranks(x: Floats) -> Floats:
    """Ranks from 1 along rows, ties by their average, as scipy.stats.rankdata(axis=1) in a third of its time; no NaN."""
    order = np.argsort(x, axis=1)
    inline = np.take_along_axis(x, order, axis=1)
    first = np.ones(x.shape, bool)
    np.not_equal(inline[:, 1:], inline[:, :-1], out=first[:, 1:])
    start = np.flatnonzero(first)
    count = np.diff(np.append(start, x.size))
    ranks = np.empty(x.shape)
    np.put_along_axis(ranks, order, np.repeat(start % x.shape[1] + (count + 1) / 2, count).reshape(x.shape), axis=1)
    return ranks


def unit_ranks(x: Floats) -> Floats:
    """Average ranks along rows, centred, of norm 1; NaN for a constant or empty row."""
    if x.shape[1] == 0:
        return np.full((len(x), 1), math.nan)
    r = average_ranks(x) - (x.shape[1] + 1) / 2
    norm = np.linalg.norm(r, axis=1, keepdims=True)
    return np.asarray(r / np.where(norm > 0, norm, math.nan))


def weighted_ranks(x: Floats, weight: Floats) -> Floats:
    """(B, P) average rank of each value when value p stands weight[b, p] times in the sample."""
    order = np.argsort(x, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(x[order]) > 0])
    tied = np.add.reduceat(weight[:, order], starts, axis=1)
    middle = np.cumsum(tied, axis=1) - (tied - 1) / 2
    ranks = np.empty_like(weight)
    ranks[:, order] = np.repeat(middle, np.diff(np.r_[starts, len(x)]), axis=1)
    return ranks


def weighted_correlation(a: Floats, b: Floats, weight: Floats) -> Floats:
    total = weight.sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        a = a - (weight * a).sum(1, keepdims=True) / total
        b = b - (weight * b).sum(1, keepdims=True) / total
        return np.asarray((weight * a * b).sum(1) / np.sqrt((weight * a * a).sum(1) * (weight * b * b).sum(1)))


def known_mean(x: Any) -> float:
    x = np.asarray(x, float)
    x = x[~np.isnan(x)]
    return float(x.mean()) if len(x) else math.nan
