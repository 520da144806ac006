"""Do raters who judge the same items agree? Percent agreement and Fleiss' kappa, and what all such measures share.

They read items x raters with blanks. An item with fewer than two ratings says nothing about agreement: it is left out
and counted. Chance-corrected coefficients are 1 - observed/expected disagreement: 1 is full agreement, 0 what
independent raters with these habits would reach; below 0 is legal.
"""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from theodolite import stats
from theodolite.errors import DataError
from theodolite.measures.intervals import bootstrap_ratio, bootstrap_units, patterns, ratio
from theodolite.measures.over_units import reading, undefined
from theodolite.measures.records import Integers, Ratings, Resampled, sieve
from theodolite.registry import register
from theodolite.stats import Floats, Interval
from theodolite.types import Reading

Codes = Integers
"""numbers of categories, -1 where there is no rating"""
MOST = 1000
"""categories beyond which a coefficient for categories is surely not meant"""


def codes(values: Floats) -> tuple[Codes, Floats]:
    """(n, m) category numbers, -1 where missing, and the (V,) categories in ascending order."""
    if np.isinf(values).any():
        raise DataError("a rating is infinite; leave a missing rating blank.")
    there = ~np.isnan(values)
    categories, inverse = np.unique(values[there], return_inverse=True)
    found = np.full(values.shape, -1, dtype=np.int64)
    found[there] = inverse
    return found, categories


def matrix(values: ArrayLike) -> Floats:
    """(n, m) float64: an array of numbers as it is, anything else (words, None) as `Ratings.of` reads it."""
    found = np.asarray(values)
    return found.astype(float) if found.dtype.kind in "fiub" and found.ndim == 2 else Ratings.of(values).values


def rated(rows: Codes) -> tuple[Codes, dict[str, int]]:
    """The items with at least two ratings, and how many were left out."""
    keep, why = sieve(("fewer than two ratings", (rows >= 0).sum(1) < 2))
    return rows[keep], why


def bags(rows: Codes) -> tuple[Codes, Floats]:
    """The different items when it does not matter which rater gave which rating: (K, m) sorted, -1 last; counts (K,)."""
    ordered = np.sort(rows, axis=1)[:, ::-1]
    return patterns(ordered[:, (ordered >= 0).any(0)])


def tallies(rows: Codes, categories: int) -> Floats:
    """(n, V) how many ratings of each category an item got."""
    item, _ = np.nonzero(rows >= 0)
    flat = np.bincount(item * categories + rows[rows >= 0], minlength=len(rows) * categories)
    return flat.reshape(len(rows), categories).astype(float)


def agreeing_pairs(rows: Codes) -> Floats:
    """(K,) share of the ordered rater pairs of each item (sorted by `bags`) that agree: sum_v n_v (n_v - 1)/(m (m - 1))."""
    run, agreeing = np.ones(len(rows)), np.zeros(len(rows))
    for left, right in zip(rows.T[:-1], rows.T[1:], strict=True):
        run = np.where((left == right) & (right >= 0), run + 1, 1.0)
        agreeing += run - 1  # each rating agrees with those before it in its run
    m = (rows >= 0).sum(1)
    found: Floats = 2 * agreeing / (m * (m - 1.0))
    return found


def in_full_agreement(rows: Codes, level: float) -> Interval:
    """Interval of a chance-corrected coefficient when no disagreement was seen, where a bootstrap has no spread.

    At most q = 1 - wilson(n of n) of the items disagree, in disagreement as wide as that of a random pair of unequal
    ratings: low = 1 - q/(1 - sum_v p_v^2), high = 1.
    """
    n = len(rows)
    share = np.bincount(rows[rows >= 0]) / (rows >= 0).sum()
    q = 1 - stats.wilson(n, n, level).low
    return Interval(max(-1.0, 1 - q / (1 - float(share @ share))), 1.0, level, "wilson: no disagreement seen")


def categories_only(name: str, categories: Floats) -> None:
    """A letter where the ratings are plainly not categories."""
    if len(categories) > MOST:
        raise DataError(
            f"{name} is for categories, and the ratings hold {len(categories)} different values. For measurements see "
            "krippendorff_alpha with metric=interval, or spearman."
        )


def rater_pairs(name: str, raters: int) -> list[tuple[int, int]]:
    """All pairs of raters; a letter where there are too many to be looked at one by one."""
    if raters > 100:
        raise DataError(
            f"{name} compares each two raters, and there are {raters} columns. For many raters of few items each take "
            "krippendorff_alpha or fleiss_kappa, which pool them."
        )
    return list(combinations(range(raters), 2))


def numbers_only(use: str, data: Ratings) -> None:
    """A letter where words would be treated as numbers."""
    if data.categories is not None:
        words = ", ".join(data.categories[:4])
        raise DataError(
            f"{use} needs numbers, and these ratings are words ({words}, ...), whose order is unknown. Write them as "
            "numbers, such as 1 for poor and 2 for fair."
        )


@register(
    "measure",
    "percent_agreement",
    source="Fleiss 1971 (Psychological Bulletin 76:378-382), P-bar; with missing ratings as in Gwet 2014",
    question="How often do two raters of the same item give the same rating?",
    better="higher",
    range=(0.0, 1.0),
    reads="ratings",
    needs=(),
    unit="share",
    config=Resampled,
    not_measured="agreement beyond chance: two raters who always say yes agree fully",
)
def percent_agreement(data: Ratings, rng: np.random.Generator, cfg: Resampled) -> Reading:
    """Mean over items of the share of rater pairs that give the same rating.

        value = mean_i  sum_v n_iv (n_iv - 1) / (m_i (m_i - 1))

    n_iv: ratings of category v on item i; m_i: its ratings, at least 2. With two raters a proportion (Wilson
    interval), with more the bootstrap over items (Wilson where all agree or none). Numbers agree when they are equal.
    """
    rows, why = rated(codes(data.values)[0])
    if len(rows) == 0:
        return undefined("percent_agreement", "no item has two ratings", cfg, "higher", why)
    kinds, counts = bags(rows)
    share = agreeing_pairs(kinds)
    value, n = float(counts @ share / counts.sum()), len(rows)
    if kinds.shape[1] == 2 or value in (0.0, 1.0):  # at the ends a bootstrap has no spread
        span = stats.wilson(float(np.round(counts @ share)), n, cfg.level)
    else:
        span = bootstrap_ratio(share, np.ones(len(share)), counts, rng, cfg.level, cfg.resamples)
    return reading("percent_agreement", value, span, n, better="higher", why=why, unit="share")


@register(
    "measure",
    "fleiss_kappa",
    source="Fleiss 1971 (Psychological Bulletin 76:378-382); unequal numbers of ratings as in Gwet 2014, chapter 2",
    question="Do many raters agree more often than if all drew from their pooled distribution?",
    better="higher",
    range=(-1.0, 1.0),
    reads="ratings",
    needs=(),
    config=Resampled,
    not_measured="who is right, and differences between raters: they are taken as exchangeable",
)
def fleiss_kappa(data: Ratings, rng: np.random.Generator, cfg: Resampled) -> Reading:
    """Fleiss' kappa of any number of raters, who may differ from item to item.

        kappa = (P - P_e)/(1 - P_e),   P = mean_i sum_v n_iv (n_iv - 1)/(m_i (m_i - 1)),   P_e = sum_v (mean_i n_iv/m_i)^2

    With two raters and nothing missing it is Scott's pi. Where m_i differ, each item counts alike in both means;
    statsmodels refuses such data.
    """
    rows, categories = codes(data.values)
    rows, why = rated(rows)
    if len(rows) == 0:
        return undefined("fleiss_kappa", "no item has two ratings", cfg, "higher", why)
    categories_only("fleiss_kappa", categories)
    kinds, counts = bags(rows)
    units = fleiss_units(kinds, len(categories))
    total = counts @ units
    value = float(fleiss_of_sums(total[None])[0])
    if math.isnan(value):
        return undefined("fleiss_kappa", "all ratings are of one category", cfg, "higher", why, n=len(rows))
    span = bootstrap_units(
        value,
        lambda w: fleiss_of_sums(w @ units),
        fleiss_of_sums(total - units),
        counts,
        rng,
        cfg.level,
        cfg.resamples,
    )
    if value == 1 and span.low == span.high:
        span = in_full_agreement(rows, cfg.level)
    return reading("fleiss_kappa", value, span, len(rows), better="higher", why=why)


def fleiss_units(kinds: Codes, categories: int) -> Floats:
    """(K, 2 + V): 1, the share of agreeing pairs, and the share of each category, of each kind of item."""
    n = tallies(kinds, categories)
    return np.column_stack([np.ones(len(kinds)), agreeing_pairs(kinds), n / n.sum(1, keepdims=True)])


def fleiss_of_sums(sums: Floats) -> Floats:
    """(B,) kappa from (B, 2 + V) sums of `fleiss_units`; NaN where one category took everything."""
    n = sums[:, :1]
    expected = (ratio(sums[:, 2:], np.broadcast_to(n, sums[:, 2:].shape)) ** 2).sum(1)
    gap = 1 - expected
    gap = np.where(np.abs(gap) < 1e-12, 0.0, gap)
    return 1 - ratio(1 - ratio(sums[:, 1], n[:, 0]), gap)
