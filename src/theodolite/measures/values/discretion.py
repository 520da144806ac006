"""What does an annotator do where the principles agree, and which principle wins where they do not?

Principles and annotators are columns of -1, 0, +1: which of two answers they prefer, 0 (or blank) for neither. A case is
*indifferent* when no principle prefers anything, a *conflict* when both signs occur, a *consensus* otherwise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from theodolite import stats
from theodolite.errors import DataError, UsageError
from theodolite.measures.arenas.bradley_terry import fit
from theodolite.measures.intervals import middle, weights
from theodolite.measures.records import Floats, Level, Records, Resampled
from theodolite.registry import register
from theodolite.types import Reading

SOURCE = "arXiv:2502.10441 (AI Alignment at Your Discretion)"


class Discretion(Level):
    names: tuple[str, ...] = ()
    """names of the principles, in the order of their columns; by default 1, 2, ..."""


class Priorities(Discretion, Resampled):
    """The names, and resamples of the orders of priority."""


def case_types(principles: Floats) -> dict[str, NDArray[np.bool_]]:
    """(N,) masks of the three types of case; principles: (N, K) in {-1, 0, 1}."""
    up, down = np.any(principles > 0, axis=1), np.any(principles < 0, axis=1)
    return {"indifference": ~up & ~down, "conflict": up & down, "consensus": up ^ down}


def conflict_wins(principles: Floats, annotator: Floats) -> Floats:
    """(K, K) `wins[i, j]`: cases in which i and j disagree and the annotator sides with i.

        wins = P+^T [a = 1] P-  +  P-^T [a = -1] P+

    P+ and P- are the (N, K) masks of the signs; undecided annotators drop out. wins + wins^T counts the conflicts.
    """
    up, down = (principles > 0).astype(float), (principles < 0).astype(float)
    return np.asarray((up * (annotator > 0)[:, None]).T @ down + (down * (annotator < 0)[:, None]).T @ up)


def supremacy(wins: Floats) -> Floats:
    """(K, K) share of the conflicts of i and j in which the annotator sides with i; NaN where they never conflict."""
    met = wins + wins.T
    return wins / np.where(met > 0, met, np.nan)


def priorities(wins: Floats) -> Floats:
    """(..., K) Bradley-Terry strengths of the principles; +inf for one that never lost a conflict, -inf for one that
    never won, NaN for one without a conflict. Departs: the authors' notebook calls the last -inf too."""
    return fit(wins, separated="infinite").theta


def predicted_share(wins: Floats, theta: Floats) -> Floats:
    """(...) share of conflict verdicts that the order of strengths predicts; equal strengths predict half."""
    rank = rankdata(np.nan_to_num(np.round(theta, 9), nan=0, posinf=np.inf, neginf=-np.inf), axis=-1)
    above = 0.5 + 0.5 * np.sign(rank[..., :, None] - rank[..., None, :])
    total = wins.sum((-1, -2))
    return np.asarray((wins * above).sum((-1, -2)) / np.where(total > 0, total, np.nan))


def discrepancy(one: Floats, other: Floats) -> Floats:
    """(...) (1 - tau_b) / 2 between two orders of strengths (..., K): 0 the same, 1 reversed.

    Equal strengths tie, both infinities included; principles that are NaN on either side are left out. NaN where one
    side ties everything.
    """
    known = ~(np.isnan(one) | np.isnan(other))
    pair = known[..., :, None] & known[..., None, :]
    orders = (rankdata(np.where(known, np.round(v, 9), 0), axis=-1) for v in (one, other))
    s, t = (np.sign(r[..., :, None] - r[..., None, :]) * pair for r in orders)
    sums = [(x * y).sum((-1, -2)) for x, y in ((s, t), (s, s), (t, t))]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((1 - sums[0] / np.sqrt(sums[1] * sums[2])) / 2)


@register(
    "measure",
    "discretion_arbitrariness",
    source=f"{SOURCE}, discretion arbitrariness DA",
    config=Discretion,
    reads="records",
    needs=("principles", "annotator"),
    question="Where all principles that speak agree, how often does the annotator decide against them?",
    better="lower",
    range=(0.0, 1.0),
    unit="share",
    not_measured="whether the principles, or the model that applied them, are right",
)
def discretion_arbitrariness(data: Records, rng: np.random.Generator, cfg: Discretion) -> Reading:
    """DA = P[annotator opposes the consensus | consensus, annotator decided]; 0 follows it always, 0.5 is a coin.

    Columns: principles, rows of K numbers in {-1, 0, 1}; annotator, in {-1, 0, 1}. Undecided annotators are missing.
    parts: shares of the three types of case, and how often each principle speaks. Wilson interval (the authors
    bootstrap rows; one row is one verdict, so both mean the same).
    """
    principles, annotator = read(data, cfg)
    types = case_types(principles)
    sign = np.sign(principles.sum(1))
    decided = types["consensus"] & (annotator != 0)
    undecided = int((types["consensus"] & (annotator == 0)).sum())
    n, against = int(decided.sum()), int((decided & (annotator == -sign)).sum())
    span = stats.wilson(against, n, cfg.level)
    parts = {
        "cases": {k: float(v.mean()) if len(v) else math.nan for k, v in types.items()},
        "principle_speaks": dict(zip(named(cfg, principles), (principles != 0).mean(0).tolist())),
    }
    return Reading(
        "discretion_arbitrariness", against / n if n else math.nan, span.low, span.high, cfg.level, span.method, n,
        undecided, {"annotator undecided on a consensus": undecided} if undecided else {}, "share", "lower",
        note="" if n else "no case of consensus that the annotator decided", parts=parts,
    )  # fmt: skip


@register(
    "measure",
    "principle_priority",
    source=f"{SOURCE}, principle supremacy PS and priority w*; the predicted share is ours",
    config=Priorities,
    reads="records",
    needs=("principles", "annotator"),
    question="Where principles conflict, how far do the annotator's verdicts follow one order of the principles?",
    better="neither",
    range=(0.0, 1.0),
    unit="share",
    not_measured="which order would be right; priorities that change with the case",
)
def principle_priority(data: Records, rng: np.random.Generator, cfg: Priorities) -> Reading:
    """Share of verdicts in conflicts of two principles that the annotator's own order of priority predicts.

        wins[i, j] = #{a sides with i, i and j disagree},   w* = Bradley-Terry strengths of wins

    1: a strict order of priority; 0.5: no order. Every pair of disagreeing principles counts as one conflict, so a case
    with many principles counts often. The order is fitted to the same verdicts, which flatters when they are few.
    parts: supremacy (K x K), conflicts (K x K), priority and rank by principle (rank 1 wins most; +-inf, see
    priorities), rank_interval (percentiles over resampled cases, refitted), cases.
    Interval: percentile bootstrap over cases, with the order as fitted.
    """
    principles, annotator = read(data, cfg)
    types = case_types(principles)
    undecided = int((types["conflict"] & (annotator == 0)).sum())
    use = types["conflict"] & (annotator != 0)
    n, wins = int(use.sum()), conflict_wins(principles[use], annotator[use])
    base: dict[str, Any] = {
        "level": cfg.level, "n": n, "missing": undecided,
        "why": {"annotator undecided in a conflict": undecided} if undecided else {}, "unit": "share",
    }  # fmt: skip
    if not n:
        return Reading("principle_priority", math.nan, note="no conflict that the annotator decided", **base)
    theta = priorities(wins)
    low = high = math.nan
    names = named(cfg, principles)
    between = dict.fromkeys(names, (math.nan, math.nan))
    if n > 1:
        tails = [(1 - cfg.level) / 2, (1 + cfg.level) / 2]
        drawn = resampled(principles[use], [annotator[use]], cfg.resamples, rng)[0]
        low, high = middle(predicted_share(drawn, theta), cfg.level)
        refit = np.nan_to_num(priorities(drawn), nan=0, posinf=np.inf, neginf=-np.inf)
        span = np.quantile(rankdata(-np.round(refit, 9), axis=1), tails, axis=0)
        between = dict(zip(names, map(tuple, span.T.tolist())))
    parts = {
        "cases": {k: float(v.mean()) for k, v in types.items()}, "names": names, "supremacy": supremacy(wins),
        "conflicts": wins + wins.T, "priority": dict(zip(names, theta.tolist())), "rank": dict(zip(names, ranks(theta))),
        "rank_interval": between,
    }  # fmt: skip
    method = "bootstrap over cases, order fixed" if n > 1 else ""
    value = float(predicted_share(wins, theta))
    return Reading("principle_priority", value, low, high, method=method, parts=parts, **base)


@register(
    "measure",
    "discretion_discrepancy",
    source=f"{SOURCE}, discretion discrepancy DD",
    config=Priorities,
    reads="records",
    needs=("principles", "annotator", "other"),
    question="How far is one annotator's order of the principles from another's?",
    better="lower",
    range=(0.0, 1.0),
    unit="share of pairs",
    not_measured="disagreement about single cases: two annotators with one order can still decide apart",
)
def discretion_discrepancy(data: Records, rng: np.random.Generator, cfg: Priorities) -> Reading:
    """DD(a, b) = (1 - tau_b(w*(a), w*(b))) / 2: 0 the same order of priority, 0.5 unrelated, 1 reversed.

    Columns: principles, annotator, other. Each annotator's priorities come from the conflicts it decided; only cases of
    conflict decided by both are resampled and count in n, cases that one left undecided are missing.
    Interval: percentile bootstrap over cases (the authors resample comparisons, 100 times).
    """
    principles, annotator = read(data, cfg)
    other = signs(data, "other", len(annotator))
    conflict = case_types(principles)["conflict"]
    use = conflict & (annotator != 0) & (other != 0)
    n, lost = int(use.sum()), int((conflict & ~use).sum())
    base: dict[str, Any] = {
        "level": cfg.level, "n": n, "missing": lost, "why": {"undecided in a conflict": lost} if lost else {},
        "unit": "share of pairs", "better": "lower",
    }  # fmt: skip
    orders = [priorities(conflict_wins(principles[use], a[use])) for a in (annotator, other)]
    value = float(discrepancy(*orders))
    if math.isnan(value):
        return Reading("discretion_discrepancy", math.nan, note="no two orders of principles to compare", **base)
    low = high = math.nan
    if n > 1:
        drawn = resampled(principles[use], [annotator[use], other[use]], cfg.resamples, rng)
        low, high = middle(discrepancy(*map(priorities, drawn)), cfg.level)
    names = named(cfg, principles)
    parts = {side: dict(zip(names, o.tolist())) for side, o in zip(("annotator", "other"), orders)}
    method = "bootstrap over cases" if n > 1 else ""
    return Reading("discretion_discrepancy", value, low, high, method=method, parts=parts, **base)


def resampled(principles: Floats, annotators: list[Floats], times: int, rng: np.random.Generator) -> list[Floats]:
    """For each annotator (B, K, K) conflict wins with the cases drawn anew, the same draw for all of them."""
    n, k = principles.shape
    found = [np.zeros((times, k * k)) for _ in annotators]
    done = 0
    for counts in weights(n, times, rng):
        block, done = slice(done, done + len(counts)), done + len(counts)
        for first in range(0, n, 4096):  # rows at a time: the table rows x K x K must not grow with the data
            rows = slice(first, first + 4096)
            up, down = (principles[rows] > 0).astype(float), (principles[rows] < 0).astype(float)
            both = up[:, :, None] * down[:, None, :]
            for total, a in zip(found, annotators):
                yes, no = (a[rows] > 0)[:, None, None], (a[rows] < 0)[:, None, None]
                each = both * yes + both.transpose(0, 2, 1) * no
                total[block] += counts[:, rows] @ each.reshape(-1, k * k)
    return [total.reshape(times, k, k) for total in found]


def ranks(theta: Floats) -> list[float]:
    """1 for the strongest, ties at average ranks, NaN where there is no strength."""
    found = np.full(len(theta), math.nan)
    known = ~np.isnan(theta)
    found[known] = rankdata(-np.round(theta[known], 9))
    return found.tolist()


def named(cfg: Discretion, principles: Floats) -> list[str]:
    """The principles' names; a letter where their number is not the number of columns."""
    count = principles.shape[1]
    if cfg.names and (len(cfg.names) != count or len(set(cfg.names)) != count):
        raise UsageError(f"{count} principles need {count} different names, got {len(cfg.names)}.")
    return list(cfg.names) or [str(i + 1) for i in range(count)]


def signs(data: Records, column: str, rows: int) -> Floats:
    found = np.nan_to_num(data.numbers(column))
    if len(found) != rows:
        raise DataError(f"'{column}' has {len(found)} rows, the principles {rows}.")
    return _checked(found, column)


def read(data: Records, cfg: Discretion) -> tuple[Floats, Floats]:
    """principles (N, K) and annotator (N,), blanks as 0."""
    principles = _checked(np.nan_to_num(data.array("principles", 2)), "principles")
    named(cfg, principles)
    return principles, signs(data, "annotator", len(principles))


def _checked(values: Floats, column: str) -> Floats:
    if odd := sorted(set(np.unique(values).tolist()) - {-1.0, 0.0, 1.0}):
        raise DataError(f"'{column}' must hold -1, 0 or 1 (0 or blank: no preference), got {odd[0]:g}.")
    return values
