"""Do raters put the items in the same order? Spearman's rho and Kendall's tau-b, ties and gaps allowed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import special
from scipy import stats as scipy_stats

from theodolite.errors import DataError
from theodolite.measures.over_units import reading, undefined
from theodolite.measures.raters.agreement import Codes, numbers_only, rater_pairs
from theodolite.measures.records import Ratings, Resampled, sieve
from theodolite.registry import register
from theodolite.stats import Floats, Interval
from theodolite.types import Reading

Correlation = Callable[[Floats, Floats], tuple[float, Floats]]
"""two raters' numbers (n,) -> the coefficient, and (n,) the influence of each item on it"""
EXACT, MANY = 8, 30
"""items up to which all n! orders are tried, and from which the test statistic's usual limit is taken"""


@register(
    "measure",
    "spearman",
    source="Spearman 1904; interval: delta method on Fisher's z with the influence function of Croux and Dehon 2010, "
    "extended to ties (derived here)",
    question="Do two raters rank the items alike?",
    better="higher",
    range=(-1.0, 1.0),
    reads="ratings",
    needs=(),
    config=Resampled,
    not_measured="agreement in level: a rater who is always two points lower ranks alike",
)
def spearman(data: Ratings, rng: np.random.Generator, cfg: Resampled) -> Reading:
    """Spearman's rank correlation: Pearson's correlation of the average ranks.

    The interval needs no normal data: tanh(atanh(rho) -+ t SE/(1 - rho^2)), SE from each item's influence. p, for two
    raters: all n! orders up to 8 items, random ones below 30, Student's t from there. More than two raters: the mean
    over pairs, each pair in parts. NaN where a rater gave all items the same rating.
    """
    return rank_correlation("spearman", spearman_influence, data, rng, cfg)


@register(
    "measure",
    "kendall",
    source="Kendall 1945 (Biometrika 33:239-251), tau-b; interval: delta method for U-statistics, Hoeffding 1948",
    question="In how many more pairs of items do two raters give the same order rather than the opposite one?",
    better="higher",
    range=(-1.0, 1.0),
    reads="ratings",
    needs=(),
    config=Resampled,
    not_measured="agreement in level, and by how much two items differ",
)
def kendall(data: Ratings, rng: np.random.Generator, cfg: Resampled) -> Reading:
    """Kendall's tau-b: (concordant - discordant)/sqrt(pairs untied for a x pairs untied for b).

    Interval, p and more than two raters as for `spearman`. Beyond 4,000 items an item's influence is estimated
    against at least 500 evenly spaced other items; the coefficient itself always counts all pairs.
    """
    return rank_correlation("kendall", kendall_influence, data, rng, cfg)


def rank_correlation(
    name: str, correlation: Correlation, data: Ratings, rng: np.random.Generator, cfg: Resampled
) -> Reading:
    """Mean over rater pairs of a correlation, with one interval over items."""
    numbers_only(name, data)
    if np.isinf(data.values).any():
        raise DataError("a rating is infinite; leave a missing rating blank.")
    keep, why = sieve(("fewer than two ratings", (~np.isnan(data.values)).sum(1) < 2))
    x = data.values[keep]
    found: list[dict[str, Any]] = []
    influences: list[Floats] = []
    for i, j in rater_pairs(name, x.shape[1]):
        both = np.flatnonzero(~np.isnan(x[:, i]) & ~np.isnan(x[:, j]))
        if len(both) < 2:
            continue
        value, influence = correlation(x[both, i], x[both, j])
        spread = np.zeros(len(x))
        spread[both] = influence / len(both)
        influences.append(spread)
        found.append({"raters": (data.raters[i], data.raters[j]), "value": value, "n": len(both)})
    defined = [k for k, f in enumerate(found) if not math.isnan(f["value"])]
    if not defined:
        note = "a rater gave all items the same rating" if found else "no two items have both ratings"
        return undefined(name, note, cfg, "higher", why, n=len(x))
    value = float(np.clip(np.mean([found[k]["value"] for k in defined]), -1, 1))
    span = fisher_interval(value, np.mean([influences[k] for k in defined], axis=0), cfg.level)
    p = None
    if x.shape[1] == 2:
        p = p_value(name, value, x, rng, cfg.resamples)
        span = replace(span, method=f"{span.method}, p by {tested_by(len(x))}")
    note = (
        "perfect rank correlation: the sample shows no spread to make an interval from" if math.isnan(span.low) else ""
    )
    parts = {"pairs": found}
    return reading(name, value, span, len(x), better="higher", why=why, p_value=p, note=note, parts=parts)


def fisher_interval(value: float, influence: Floats, level: float) -> Interval:
    """tanh(atanh(value) -+ t SE/(1 - value^2)), SE^2 = n/(n - 1) sum influence^2, t with n - 2 degrees of freedom."""
    n, method = len(influence), "fisher z with delta-method error"
    if n < 4 or abs(value) > 1 - 1e-12:
        return Interval(math.nan, math.nan, level, method)
    error = math.sqrt(n / (n - 1) * float(influence @ influence)) / (1 - value**2)
    half = float(special.stdtrit(n - 2, 0.5 + level / 2)) * error
    return Interval(math.tanh(math.atanh(value) - half), math.tanh(math.atanh(value) + half), level, method)


def spearman_influence(a: Floats, b: Floats) -> tuple[float, Floats]:
    """Spearman's rho and the influence of each item, by mid-distribution functions u = F - 1/2 and v = G - 1/2.

    rho = C/sqrt(Su Sv), C = mean uv, Su = mean u^2. Adding an item also lifts the ranks above it:
        dC = uv + A + B - 3C,  A(x) = mean_i v_i [x < x_i or half if equal],  dSu = u^2 + 2 A_u - 3 Su
        drho = dC/sqrt(Su Sv) - rho/2 (dSu/Su + dSv/Sv)
    """
    n = len(a)
    (i, at_i), (j, at_j) = mid_distribution(a), mid_distribution(b)
    u, v = at_i[i], at_j[j]
    c, su, sv = float(u @ v) / n, float(u @ u) / n, float(v @ v) / n
    if su < 1e-15 or sv < 1e-15:
        return math.nan, np.zeros(n)
    rho = c / math.sqrt(su * sv)
    dc = u * v + mean_above(i, v) + mean_above(j, u) - 3 * c
    du, dv = u**2 + 2 * mean_above(i, u) - 3 * su, v**2 + 2 * mean_above(j, v) - 3 * sv
    return rho, dc / math.sqrt(su * sv) - rho / 2 * (du / su + dv / sv)


def mid_distribution(x: Floats) -> tuple[Codes, Floats]:
    """(n,) which of the V different values each item has, and (V,) F - 1/2 of each: (average rank - 1/2)/n - 1/2."""
    _, code, count = np.unique(x, return_inverse=True, return_counts=True)
    return code, (count.cumsum() - count / 2) / len(x) - 0.5


def mean_above(code: Codes, weight: Floats) -> Floats:
    """(n,) mean over i of weight_i where item i's value is higher than the item's own, half where equal."""
    sums = np.bincount(code, weights=weight)
    return (sums[::-1].cumsum()[::-1] - sums / 2)[code] / len(code)


def kendall_influence(a: Floats, b: Floats) -> tuple[float, Floats]:
    """Kendall's tau-b and the influence of each item.

    With c, s, t the item's mean over other items of sign(a) sign(b), |sign(a)|, |sign(b)| of the differences, and K, S, T
    their means: dtau = 2 (c - K)/sqrt(S T) - tau ((s - S)/S + (t - T)/T).
    """
    n = len(a)
    tau = float(scipy_stats.kendalltau(a, b).statistic)
    if math.isnan(tau):
        return math.nan, np.zeros(n)
    others = np.arange(n) if n <= 4000 else np.linspace(0, n - 1, max(500, 16_000_000 // n)).astype(int)
    c, s, t = np.empty(n), np.empty(n), np.empty(n)
    step = max(1, 4_000_000 // len(others))
    for i in range(0, n, step):
        ga, gb = (np.sign(x[i : i + step, None] - x[None, others]) for x in (a, b))
        c[i : i + step], s[i : i + step], t[i : i + step] = (ga * gb).mean(1), (ga != 0).mean(1), (gb != 0).mean(1)
    root = math.sqrt(s.mean() * t.mean())
    return tau, 2 * (c - c.mean()) / root - tau * ((s - s.mean()) / s.mean() + (t - t.mean()) / t.mean())


def tested_by(n: int) -> str:
    """How the p of n items is found: all orders, `resamples` random ones, or Student's t and the normal limit of tau."""
    return "all orders" if n <= EXACT else "random permutations" if n < MANY else "limit of many items"


def p_value(name: str, value: float, x: Floats, rng: np.random.Generator, resamples: int) -> float:
    """Two-sided p that the two columns are unrelated; `tested_by` says how it is found."""
    a, b = x.T
    if len(a) >= MANY:
        return students_t(value, len(a)) if name == "spearman" else float(scipy_stats.kendalltau(a, b).pvalue)
    left, right = (ordering(name, v) for v in (a, b))
    observed = abs(float((left * right).sum()))
    slack = 1e-9 * (1 + observed)
    if len(a) <= EXACT:
        return float(np.mean(np.abs(permuted(left, right, orders(len(a)))) >= observed - slack))
    drawn = rng.permuted(np.tile(np.arange(len(a)), (resamples, 1)), axis=1)
    hits = int(np.sum(np.abs(permuted(left, right, drawn)) >= observed - slack))
    return (hits + 1) / (resamples + 1)


def students_t(rho: float, n: int) -> float:
    """Two-sided p of Student's t = rho sqrt((n - 2)/(1 - rho^2)) with n - 2 degrees of freedom."""
    if abs(rho) >= 1:
        return 0.0
    return float(2 * special.stdtr(n - 2, -abs(rho) * math.sqrt((n - 2) / (1 - rho**2))))


def ordering(name: str, x: Floats) -> Floats:
    """What a permutation test multiplies: centred ranks (n,), or the signs of all differences (n, n)."""
    ranks = scipy_stats.rankdata(x)
    return ranks - ranks.mean() if name == "spearman" else np.sign(x[:, None] - x[None, :])


def permuted(left: Floats, right: Floats, drawn: np.ndarray) -> Floats:
    """(B,) sum of left times right with right's items in each of the (B, n) orders."""
    if left.ndim == 1:
        summed: Floats = right[drawn] @ left
        return summed
    return np.concatenate(
        [
            (right[d[:, :, None], d[:, None, :]] * left).sum((1, 2))
            for d in np.array_split(drawn, 1 + len(drawn) // 4000)
        ]
    )


def orders(n: int) -> np.ndarray:
    """(n!, n) all orders of n items."""
    found = np.zeros((1, 1), dtype=int)
    for k in range(1, n):
        found = np.concatenate([np.insert(found, place, k, axis=1) for place in range(k + 1)])
    return found
