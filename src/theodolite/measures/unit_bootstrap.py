"""Resample the units of a statistic without looping over resamples, and turn the draws into a BCa interval.

Units that look alike are kept once, with a count: resampling n items of K kinds draws one multinomial over K kinds,
which is the bootstrap itself and not an approximation. A million ratings in five categories are a few hundred kinds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import special

from theodolite.stats import Interval

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

DRAWS = 20_000_000
"""kinds x resamples that are drawn one by one (about 2 s); beyond it n is so large that the normal limit serves"""
BLOCK = 4_000_000


def patterns(rows: Codes) -> tuple[Codes, Floats]:
    """The K different rows of an (n, m) table of codes >= -1, and (K,) how often each occurs."""
    if len(rows) == 0 or rows.shape[1] == 0:
        return rows, np.ones(len(rows))
    base = int(rows.max()) + 2
    if rows.shape[1] * math.log2(base) < 62:  # a row is one integer, which sorts much faster than a row
        keys = (rows + 1) @ (base ** np.arange(rows.shape[1], dtype=np.int64))
        _, first, counts = np.unique(keys, return_index=True, return_counts=True)
        return rows[first], counts.astype(float)
    found, counts = np.unique(rows, axis=0, return_counts=True)
    return found, counts.astype(float)


def resampling_weights(counts: Floats, rng: np.random.Generator, resamples: int) -> Iterator[Floats]:
    """Blocks (b, K) of how often each kind is drawn when all units are drawn anew with replacement."""
    n, kinds = int(counts.sum()), len(counts)
    count_units = n < 3 * kinds  # counting n drawn units is then faster than K dependent binomials
    kind_of_unit = np.repeat(np.arange(kinds), counts.astype(int)) if count_units else np.empty(0, int)
    block = max(1, BLOCK // (n if count_units else kinds))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        if count_units:
            drawn = kind_of_unit[rng.integers(0, n, (size, n))] + kinds * np.arange(size)[:, None]
            yield np.bincount(drawn.ravel(), minlength=size * kinds).reshape(size, kinds).astype(float)
        else:
            yield rng.multinomial(n, counts / n, size=size).astype(float)


def bootstrap_units(
    value: float,
    statistic: Callable[[Floats], Floats],
    left_out: Floats,
    counts: Floats,
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Interval of a statistic of independent units: BCa, or the jackknife's normal limit for very many units.

    value: the statistic of the data. statistic: (b, K) weights of the kinds -> (b,) values, NaN where undefined.
    left_out: (K,) the statistic without one unit of that kind. counts: (K,) units of each kind.
    Fewer than two units, or an undefined value, give NaN bounds. Resamples without a value are left out.
    """
    n = float(counts.sum())
    if n < 2 or math.isnan(value):
        return Interval(math.nan, math.nan, level, "bootstrap (BCa)")
    left_out = np.where(np.isnan(left_out), value, left_out)
    if len(counts) * resamples > DRAWS:
        error = math.sqrt((n - 1) / n * float(counts @ (left_out - counts @ left_out / n) ** 2))
        half = float(special.ndtri(0.5 + level / 2)) * error
        return Interval(value - half, value + half, level, "normal with jackknife error")
    draws = np.concatenate([statistic(w) for w in resampling_weights(counts, rng, resamples)])
    return bca(value, draws, left_out, counts, level)


def bca(value: float, draws: Floats, left_out: Floats, counts: Floats, level: float = 0.95) -> Interval:
    """Bias-corrected and accelerated percentile interval from bootstrap draws and jackknife values.

        b = Phi^-1(share of draws below value, ties half),  a = sum d^3 / (6 (sum d^2)^1.5),  d = mean(left_out) - left_out
        bounds: the quantiles of the draws at Phi(b + (b + z)/(1 - a (b + z))),  z = Phi^-1((1 -+ level)/2)

    Where all draws lie on one side of the value, b is infinite and the plain percentiles are given.
    Source: Efron 1987 (JASA 82:171-185), sections 3 and 7.
    """
    draws = draws[~np.isnan(draws)]
    if len(draws) == 0:
        return Interval(math.nan, math.nan, level, "bootstrap (BCa)")
    ends = np.array([(1 - level) / 2, (1 + level) / 2])
    slack = 1e-12 * (1 + abs(value))
    below = float(np.mean(draws < value - slack) + 0.5 * np.mean(np.abs(draws - value) <= slack))
    method = "bootstrap (percentile)"
    if 0 < below < 1:
        d = counts @ left_out / counts.sum() - left_out
        spread = float(counts @ d**2)
        a = float(np.clip(counts @ d**3 / (6 * spread**1.5), -0.25, 0.25)) if spread > 0 else 0.0
        moved = special.ndtri(below) + special.ndtri(ends)
        ends, method = special.ndtr(special.ndtri(below) + moved / (1 - a * moved)), "bootstrap (BCa)"
    low, high = np.quantile(draws, ends)
    return Interval(float(low), float(high), level, method)


def bootstrap_ratio(
    top: Floats, bottom: Floats, counts: Floats, rng: np.random.Generator, level: float = 0.95, resamples: int = 2000
) -> Interval:
    """`bootstrap_units` of sum(top)/sum(bottom) over units; with bottom = 1 it is the mean."""
    a, b = float(counts @ top), float(counts @ bottom)

    def statistic(weights: Floats) -> Floats:
        return ratio(weights @ top, weights @ bottom)

    value = float(ratio(np.array([a]), np.array([b]))[0])
    return bootstrap_units(value, statistic, ratio(a - top, b - bottom), counts, rng, level, resamples)


def ratio(top: Floats, bottom: Floats) -> Floats:
    """top/bottom, NaN where bottom is 0."""
    found: Floats = np.divide(top, bottom, out=np.full(np.shape(top), math.nan), where=bottom != 0)
    return found
