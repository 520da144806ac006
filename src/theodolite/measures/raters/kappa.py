"""Do two raters agree more than chance? Cohen's kappa (weighted too) and Scott's pi; with more raters, every pair."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from theodolite.measures.intervals import bootstrap_units, patterns, ratio
from theodolite.measures.over_units import reading, undefined
from theodolite.measures.raters.agreement import (
    Codes,
    categories_only,
    codes,
    in_full_agreement,
    matrix,
    numbers_only,
    rated,
    rater_pairs,
)
from theodolite.measures.records import Ratings, Resampled
from theodolite.registry import register
from theodolite.stats import Floats
from theodolite.types import Reading


class Kappa(Resampled):
    weights: Literal["none", "linear", "quadratic"] = "none"
    """how much a disagreement counts: all alike, by the distance of the two numbers, or by its square"""


def pair_table(a: Codes, b: Codes, weights: Floats) -> Floats:
    """(K, 2 + 2V) what each item adds to a kappa: 1 where both rated, its disagreement, and the two categories."""
    size, both = len(weights), (a >= 0) & (b >= 0)
    table, kept = np.zeros((len(a), 2 + 2 * size)), np.flatnonzero(both)
    table[kept, 0] = 1
    table[kept, 1] = weights[a[kept], b[kept]]
    table[kept, 2 + a[kept]] = 1
    table[kept, 2 + size + b[kept]] = 1
    return table


def kappa_of_sums(sums: Floats, weights: Floats, pooled: bool) -> Floats:
    """(B,) 1 - n O/E from (B, 2 + 2V) sums of `pair_table`; NaN where all ratings are of one category.

    O = sum of disagreements, E = sum_vw R_v w_vw C_w / n, R and C the two raters' counts; pooled (Scott's pi)
    replaces both by their mean.
    """
    size = len(weights)
    n, observed, r, c = sums[:, 0], sums[:, 1], sums[:, 2 : 2 + size], sums[:, 2 + size :]
    if pooled:
        r = c = (r + c) / 2
    return 1 - ratio(n * observed, ((r @ weights) * c).sum(1))


def disagreement_weights(categories: Floats, kind: str) -> Floats:
    """(V, V) 1{v != w}, |v - w| or (v - w)^2; a common factor cancels, so that it is not divided out."""
    gap = np.abs(categories[:, None] - categories[None, :])
    return {"none": (gap > 0).astype(float), "linear": gap, "quadratic": gap**2}[kind]


def kappa(a: ArrayLike, b: ArrayLike, weights: str = "none", pooled: bool = False) -> float:
    """Cohen's kappa of two raters' numbers or words, or with `pooled` Scott's pi; `kappa([1, 1, 2], [1, 2, 2])` is 0.4."""
    rows, categories = codes(matrix(np.column_stack([a, b])))
    kinds, counts = patterns(rows)
    w = disagreement_weights(categories, weights)
    return float(kappa_of_sums((counts @ pair_table(kinds[:, 0], kinds[:, 1], w))[None], w, pooled)[0])


def kappa_of_pairs(
    name: str, data: Ratings, weights: str, pooled: bool, rng: np.random.Generator, cfg: Resampled
) -> Reading:
    """Mean over rater pairs of kappa or pi, with the bootstrap over items; every pair in `parts`."""
    if weights != "none":
        numbers_only(f"{name} with {weights} weights", data)
    rows, categories = codes(data.values)
    rows, why = rated(rows)
    if len(rows) == 0:
        return undefined(name, "no item has two ratings", cfg, "higher", why)
    categories_only(name, categories)
    kinds, counts = patterns(rows)
    w = disagreement_weights(categories, weights)
    pairs = [(i, j) for i, j in rater_pairs(name, rows.shape[1]) if ((kinds[:, i] >= 0) & (kinds[:, j] >= 0)).any()]
    values, left_out = [], []
    for i, j in pairs:
        table = pair_table(kinds[:, i], kinds[:, j], w)
        total = counts @ table
        values.append(float(kappa_of_sums(total[None], w, pooled)[0]))
        left_out.append(kappa_of_sums(total - table, w, pooled))
    listed = [
        {
            "raters": (data.raters[i], data.raters[j]),
            "value": v,
            "n": int(((rows[:, i] >= 0) & (rows[:, j] >= 0)).sum()),
        }
        for (i, j), v in zip(pairs, values, strict=True)
    ]
    defined = [k for k, v in enumerate(values) if not math.isnan(v)]
    if not defined:
        note = "all ratings are of one category: chance agreement is complete"
        return undefined(name, note, cfg, "higher", why, n=len(rows))
    value = float(np.mean([values[k] for k in defined]))

    def statistic(drawn: Floats) -> Floats:
        tables = (pair_table(kinds[:, pairs[k][0]], kinds[:, pairs[k][1]], w) for k in defined)
        return mean_of_defined([kappa_of_sums(drawn @ table, w, pooled) for table in tables])

    span = bootstrap_units(
        value, statistic, mean_of_defined([left_out[k] for k in defined]), counts, rng, cfg.level, cfg.resamples
    )
    if value == 1 and span.low == span.high:
        span = in_full_agreement(rows, cfg.level)
    note = f"{len(pairs) - len(defined)} pairs of raters used one category only" if len(defined) < len(pairs) else ""
    return reading(name, value, span, len(rows), better="higher", why=why, note=note, parts={"pairs": listed})


def mean_of_defined(values: list[Floats]) -> Floats:
    """Mean over the list, entry by entry, of what is not NaN."""
    stacked = np.array(values)
    there = ~np.isnan(stacked)
    return ratio(np.where(there, stacked, 0.0).sum(0), there.sum(0).astype(float))


@register(
    "measure",
    "cohen_kappa",
    source="Cohen 1960 (Educational and Psychological Measurement 20:37-46); weighted: Cohen 1968; "
    "arXiv:2406.12624 (judges against people)",
    question="Do two raters agree more often than two independent raters with the same habits would?",
    better="higher",
    range=(-1.0, 1.0),
    reads="ratings",
    needs=(),
    config=Kappa,
    not_measured="who is right; and its value falls when one category is rare, at equal accuracy",
)
def cohen_kappa(data: Ratings, rng: np.random.Generator, cfg: Kappa) -> Reading:
    """Cohen's kappa: 1 - observed/expected disagreement, each rater with categories at their own rate.

        kappa = 1 - n sum_i w(a_i, b_i) / sum_vw R_v w(v, w) C_w,   w = 1{v != w}, |v - w| or (v - w)^2

    R, C: how often each rater used each category, on the items both rated. More than two raters: the mean over
    pairs, each pair in parts. NaN where both raters used one and the same category only.
    Differs: weights are distances of the numbers. scikit-learn counts steps between the categories that occur, which
    is the same on 1..5 when all five occur, and another thing when nobody gave a 3.
    """
    return kappa_of_pairs("cohen_kappa", data, cfg.weights, False, rng, cfg)


@register(
    "measure",
    "scott_pi",
    source="Scott 1955 (Public Opinion Quarterly 19:321-325); arXiv:2406.12624 (judges against people)",
    question="Do two raters agree more often than if both drew from their pooled distribution?",
    better="higher",
    range=(-1.0, 1.0),
    reads="ratings",
    needs=(),
    config=Resampled,
    not_measured="who is right; raters with different habits are held to agree less, unlike in Cohen's kappa",
)
def scott_pi(data: Ratings, rng: np.random.Generator, cfg: Resampled) -> Reading:
    """Scott's pi: as Cohen's kappa, with both raters' category rates replaced by their mean.

        pi = (p_o - p_e)/(1 - p_e),   p_e = sum_v ((p_a(v) + p_b(v))/2)^2

    pi <= kappa, equal when both raters use the categories equally often. More than two raters: the mean over pairs,
    each pair in parts (Fleiss' kappa pools all raters instead).
    """
    return kappa_of_pairs("scott_pi", data, "none", True, rng, cfg)
