"""How reliable are ratings by any number of raters, with gaps, at any level of measurement? Krippendorff's alpha."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from theodolite.errors import DataError
from theodolite.measures.intervals import bootstrap_units, ratio
from theodolite.measures.over_units import reading, undefined
from theodolite.measures.raters.agreement import (
    Codes,
    agreeing_pairs,
    bags,
    codes,
    in_full_agreement,
    matrix,
    numbers_only,
    rated,
    tallies,
)
from theodolite.measures.records import Ratings, Resampled
from theodolite.registry import register
from theodolite.stats import Floats
from theodolite.types import Reading

Metric = Literal["nominal", "ordinal", "interval", "ratio"]
FEW = 20
"""values up to which units are resampled with their whole V x V coincidences"""


class Alpha(Resampled):
    metric: Metric = "nominal"
    """distance of two ratings: unequal or not, squared distance in rank, of the numbers, or relative to their sum"""


class Bags(NamedTuple):
    """K kinds of units: their ratings as value numbers (K, m), -1 last; units of each kind (K,); the values (V,)."""

    rows: Codes
    counts: Floats
    values: Floats

    @property
    def sizes(self) -> Floats:
        found: Floats = (self.rows >= 0).sum(1).astype(float)
        return found

    @property
    def totals(self) -> Floats:
        """(V,) pairable ratings of each value."""
        there = self.rows >= 0
        repeated = np.broadcast_to(self.counts[:, None], self.rows.shape)
        return np.bincount(self.rows[there], weights=repeated[there], minlength=len(self.values)).astype(float)


@register(
    "measure",
    "krippendorff_alpha",
    source="Krippendorff 2011, Computing Krippendorff's Alpha-Reliability (repository.upenn.edu/asc_papers/43), section D",
    question="How far can these ratings be relied on, whoever of these raters had given them?",
    better="higher",
    range=(-1.0, 1.0),
    reads="ratings",
    needs=(),
    config=Alpha,
    not_measured="validity: raters may agree on what is wrong",
)
def krippendorff_alpha(data: Ratings, rng: np.random.Generator, cfg: Alpha) -> Reading:
    """Krippendorff's alpha: 1 - observed/expected disagreement, for any number of raters and missing ratings.

        alpha = 1 - (n - 1) sum_u sum_{i != j in u} d(v_i, v_j)/(m_u - 1) / sum_vw n_v n_w d(v, w)

    over units u with m_u >= 2 ratings; n = sum of m_u; n_v ratings of value v. d: nominal 1{v != w}; interval
    (v - w)^2; ratio ((v - w)/(v + w))^2, 0 for two zeros; ordinal the squared gap of midranks, which is
    (sum_{g=v..w} n_g - (n_v + n_w)/2)^2. Nominal, interval and ordinal need no V x V table, so continuous ratings
    cost no more than whole numbers. 1 is full agreement, 0 chance; at least .8 is asked for firm conclusions
    (Krippendorff 2004). NaN where all ratings are equal. Interval: bootstrap over units, with the units'
    coincidences up to 20 values and for the interval metric, otherwise with disagreements linear in the units.
    Krippendorff's own bootstrap draws pairs as if independent, which is too narrow with many raters; units are drawn
    here.
    """
    name = "krippendorff_alpha"
    if cfg.metric != "nominal":
        numbers_only(f"{name} with metric {cfg.metric}", data)
    rows, values = codes(data.values)
    rows, why = rated(rows)
    if len(rows) == 0:
        return undefined(name, "no unit has two ratings", cfg, "higher", why)
    b = Bags(*bags(rows), values)
    if (b.totals > 0).sum() < 2:
        note = "all pairable ratings are equal, so that nothing could disagree"
        return undefined(name, note, cfg, "higher", why, n=len(rows))
    observed, expected = disagreements(b, cfg.metric)
    n = float(b.totals.sum())
    value = 1 - (n - 1) * float(b.counts @ observed) / expected
    units, statistic, how = resampling(b, cfg.metric, observed, expected)
    total = b.counts @ units
    span = bootstrap_units(
        value, lambda w: statistic(w @ units), statistic(total - units), b.counts, rng, cfg.level, cfg.resamples
    )
    if value == 1:
        span = in_full_agreement(rows, cfg.level)
    parts = {
        "metric": cfg.metric,
        "observed": float(b.counts @ observed) / n,
        "expected": expected / (n * (n - 1)),
        "ratings": int(n),
        "values": int((b.totals > 0).sum()),
        "resampled": how,
    }
    return reading(name, value, span, len(rows), better="higher", why=why, parts=parts)


def alpha(values: ArrayLike, metric: Metric = "nominal") -> float:
    """Krippendorff's alpha of an (items, raters) matrix, NaN or None where missing; NaN where it is undefined."""
    rows, domain = codes(matrix(values))
    rows, _ = rated(rows)
    if len(rows) == 0:
        return math.nan
    b = Bags(*bags(rows), domain)
    if (b.totals > 0).sum() < 2:
        return math.nan
    observed, expected = disagreements(b, metric)
    return 1 - (float(b.totals.sum()) - 1) * float(b.counts @ observed) / expected


def scale(b: Bags, metric: Metric) -> Floats:
    """(V,) centred numbers whose squared gap is the distance: the values, or their midranks."""
    totals = b.totals
    if metric == "ordinal":
        ranks: Floats = np.cumsum(totals) - totals / 2 - totals.sum() / 2
        return ranks
    centred: Floats = b.values - totals @ b.values / totals.sum()
    return centred


def relative_gap(v: Floats, w: Floats) -> Floats:
    """((v - w)/(v + w))^2, 0 for two zeros."""
    return ratio(v - w, v + w + np.where((v == 0) & (w == 0), 1.0, 0.0)) ** 2


def disagreements(b: Bags, metric: Metric) -> tuple[Floats, float]:
    """(K,) sum over ordered pairs of distances / (m_u - 1) of each kind of unit, and sum_vw n_v n_w d(v, w)."""
    m, totals = b.sizes, b.totals
    n = totals.sum()
    if metric == "nominal":
        return m * (1 - agreeing_pairs(b.rows)), float(n**2 - totals @ totals)
    if metric == "ratio":
        return ratio_disagreement(b), float(totals @ pull(b))
    s = scale(b, metric)
    return 2 * m * ((deviations(b, s)) ** 2).sum(1) / (m - 1), float(2 * (n * (totals @ s**2) - (totals @ s) ** 2))


def deviations(b: Bags, s: Floats) -> Floats:
    """(K, m) each rating's distance on the scale from the mean of its unit, 0 where there is none."""
    there = b.rows >= 0
    x = np.where(there, s[b.rows], 0.0)
    return np.where(there, x - (x.sum(1) / b.sizes)[:, None], 0.0)


def ratio_disagreement(b: Bags) -> Floats:
    if b.values.min() < 0:
        raise DataError(f"metric ratio needs ratings of 0 and above, got {b.values.min():g}. Use interval.")
    gaps, x = np.zeros(len(b.rows)), b.values[b.rows]
    for i in range(b.rows.shape[1]):
        for j in range(i):
            gaps += np.where((b.rows[:, i] >= 0) & (b.rows[:, j] >= 0), relative_gap(x[:, i], x[:, j]), 0.0)
    return 2 * gaps / (b.sizes - 1)


def pull(b: Bags) -> Floats:
    """(V,) sum_w n_w d(v, w) for the ratio metric, in blocks of values."""
    if len(b.values) > 20_000:
        raise DataError(
            f"metric ratio compares each two of {len(b.values)} different values; round the ratings to at most 20,000 "
            "values, or take the interval metric of their logarithms."
        )
    blocks = (b.values[i : i + 500] for i in range(0, len(b.values), 500))
    return np.concatenate([relative_gap(v[:, None], b.values[None, :]) @ b.totals for v in blocks])


Resampling = tuple[Floats, Callable[[Floats], Floats], str]


def resampling(b: Bags, metric: Metric, observed: Floats, expected: float) -> Resampling:
    """Numbers (K, d) that add up over units, and alpha as a function of their (B, d) sums."""
    if metric == "interval":
        return by_moments(b, observed)
    if len(b.values) <= FEW and len(b.rows) * len(b.values) ** 2 <= 20_000_000:
        return by_coincidences(b, metric)
    return by_slopes(b, metric, observed, expected)


def by_moments(b: Bags, observed: Floats) -> Resampling:
    """Exact for the interval metric: m, disagreement, sum and sum of squares of each unit."""
    s = scale(b, "interval")
    x = np.where(b.rows >= 0, s[b.rows], 0.0)

    def statistic(sums: Floats) -> Floats:
        n, gaps, first, second = sums.T
        spread = n * second - first**2
        return 1 - ratio((n - 1) * gaps, 2 * np.where(spread > 1e-12 * n * second, spread, 0.0))

    return np.column_stack([b.sizes, observed, x.sum(1), (x**2).sum(1)]), statistic, "exact, by moments"


def by_coincidences(b: Bags, metric: Metric) -> Resampling:
    """Exact for few values: the V tallies and the V x V coincidences of each unit; ranks follow each resample."""
    n_uv = tallies(b.rows, len(b.values))
    size = n_uv.shape[1]
    pairs = n_uv[:, :, None] * n_uv[:, None, :] / (b.sizes - 1)[:, None, None]  # the diagonal has distance 0
    fixed = relative_gap(b.values[:, None], b.values[None, :]) if metric == "ratio" else 1 - np.eye(size)

    def statistic(sums: Floats) -> Floats:
        totals, coincidences = sums[:, :size], sums[:, size:].reshape(-1, size, size)
        distance = fixed[None]
        if metric == "ordinal":
            ranks = np.cumsum(totals, 1) - totals / 2
            distance = (ranks[:, :, None] - ranks[:, None, :]) ** 2
        expected = np.einsum("bv,bvw,bw->b", totals, np.broadcast_to(distance, coincidences.shape), totals)
        return 1 - ratio((totals.sum(1) - 1) * (coincidences * distance).sum((1, 2)), expected)

    return np.column_stack([n_uv, pairs.reshape(len(n_uv), -1)]), statistic, "exact, by coincidences"


def by_slopes(b: Bags, metric: Metric, observed: Floats, expected: float) -> Resampling:
    """First order for many values: what one more unit adds to both disagreements, shifts of ranks included.

    nominal: 2 sum_r (n - n_v(r)); ratio: 2 sum_r sum_w n_w d(v(r), w). Ordinal: a rating also lifts by 1 the rank of
    every value above it (by 1/2 that of its own), so its unit adds the sum over those values of the slope in their rank.
    """
    totals, there = b.totals, b.rows >= 0
    n = totals.sum()
    more_observed = observed
    if metric == "ordinal":
        s = scale(b, metric)
        slope = 4 * (b.counts * b.sizes / (b.sizes - 1))[:, None] * deviations(b, s)
        by_value = np.bincount(b.rows[there], weights=slope[there], minlength=len(totals)).astype(float)
        more_observed = observed + at_ratings(b, above(by_value))
        more_expected = at_ratings(b, 2 * (totals @ s**2) + 2 * n * s**2 + 4 * n * above(totals * s))
    elif metric == "ratio":
        more_expected = at_ratings(b, 2 * pull(b))
    else:
        more_expected = at_ratings(b, 2 * (n - totals))
    spare = [b.counts @ more_observed - b.counts @ observed, b.counts @ more_expected - expected]

    def statistic(sums: Floats) -> Floats:
        return 1 - ratio((sums[:, 0] - 1) * (sums[:, 1] - spare[0]), sums[:, 2] - spare[1])

    return np.column_stack([b.sizes, more_observed, more_expected]), statistic, "disagreements to first order"


def above(x: Floats) -> Floats:
    """(V,) sum of x over higher values, plus half of its own."""
    return x[::-1].cumsum()[::-1] - x / 2


def at_ratings(b: Bags, per_value: Floats) -> Floats:
    """(K,) sum over a unit's ratings of a number known for each value."""
    found: Floats = np.where(b.rows >= 0, per_value[b.rows], 0.0).sum(1)
    return found
