"""How far does a judge go with people? Accuracy against their verdicts, and leniency where it guesses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from theodolite import stats
from theodolite.errors import DataError
from theodolite.measures.intervals import bootstrap_ratio, bootstrap_units, ratio
from theodolite.measures.over_units import reading, undefined
from theodolite.measures.raters.correlation import spearman_influence
from theodolite.measures.raters.kappa import kappa
from theodolite.measures.records import Level, Records, Resampled, sieve
from theodolite.registry import register
from theodolite.stats import Floats, Interval
from theodolite.types import Reading

VERDICTS = {"a": 1.0, "1": 1.0, "1.0": 1.0, "b": 2.0, "2": 2.0, "2.0": 2.0, "tie": 0.0, "0": 0.0, "0.0": 0.0}
CELLS = ((1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0))
"""(judge, human)"""


def verdicts(data: Records, name: str) -> Floats:
    """(n,) 1 for A, 2 for B, 0 for a tie, NaN for a blank; a letter for anything else."""
    found = np.full(len(words := data.words(name)), math.nan)
    for i, word in enumerate(words):
        if word is not None:
            if word.lower() not in VERDICTS:
                raise DataError(
                    f"the column '{name}' must hold A, B or tie (or 1, 2, 0), got '{word}' in row {i + 1}. Leave a verdict "
                    "that could not be read blank: it is then counted as missing."
                )
            found[i] = VERDICTS[word.lower()]
    return found


def yes_no(data: Records, name: str) -> Floats:
    """(n,) 1, 0 or NaN; a letter for any other number."""
    found = data.numbers(name)
    if (odd := np.flatnonzero(~np.isnan(found) & (found != 0) & (found != 1))).size:
        raise DataError(f"the column '{name}' must hold 1 or 0, got {found[odd[0]]:g} in row {odd[0] + 1}.")
    return found


def complete(data: Records, *names: str, read: Any = yes_no) -> tuple[list[Floats], dict[str, int]]:
    """These columns on the rows that have them all, and how many rows lack which column first."""
    data.rows(*names)
    columns = [read(data, name) for name in names]
    keep, why = sieve(*((f"no {name}", np.isnan(column)) for name, column in zip(names, columns, strict=True)))
    return [c[keep] for c in columns], why


@register(
    "measure",
    "leniency",
    source="arXiv:2406.12624 (leniency of judges); algebra derived here",
    question="When the judge does not know, how often does it say yes?",
    better="neither",
    range=(0.0, 1.0),
    reads="records",
    needs=("judge", "human", "?taker"),
    unit="probability",
    config=Resampled,
    not_measured="whether the judge knows; see p_known in its parts, and cohen_kappa",
)
def leniency(data: Records, rng: np.random.Generator, cfg: Resampled) -> Reading:
    """P+, the rate of yes where the judge guesses; above 0.5 it is lenient, below strict.

    The judge is right with probability P_c and otherwise says yes with probability P+, so that
        TPR = P_c + (1 - P_c) P+,   TNR = P_c + (1 - P_c)(1 - P+)
        P_c = TPR + TNR - 1 (Youden's J),   P+ = (1 - TNR)/(2 - TPR - TNR)
    judge, human: 1 or 0 for 'this answer is right'. taker: whose answer it is; with it, parts hold Spearman's rho
    between the takers' mean grades by judge and by human. NaN without both kinds of answers, for a judge that is
    always right (it never guesses), and for one worse than chance (P_c < 0; resamples keep the formula there).
    """
    (judge, human), why = complete(data, "judge", "human")
    n = len(judge)
    counts = np.array([np.sum((judge == j) & (human == h)) for j, h in CELLS], dtype=float)
    tpr, tnr, p_plus = (float(x[0]) for x in guessing(counts[None]))
    known = tpr + tnr - 1
    delta = judge - human
    parts: dict[str, Any] = {"tpr": tpr, "tnr": tnr, "p_known": known, "yes_right": counts[0], "yes_wrong": counts[1]}
    parts |= {"no_wrong": counts[2], "no_right": counts[3], "score_delta": float(delta.mean()) if n else math.nan}
    if n:
        span = difference(judge, human, cfg)
        parts |= {"score_delta_low": span.low, "score_delta_high": span.high}
    if "taker" in data.columns:
        parts["taker_rank_correlation"] = ranks_of_takers(data)
    note = (
        "no answer has both a judge's and a human's grade" if n == 0
        else "the human grades are all alike, so that one of the two rates is unknown" if math.isnan(known)
        else "the judge is worse than chance" if known < 0
        else "the judge is always right: it never guesses" if known >= 1
        else ""
    )  # fmt: skip
    if note:
        return undefined("leniency", note, cfg, "neither", why, n=n, unit="probability", parts=parts)
    used = counts > 0
    eye = np.eye(4)[used]
    span = bootstrap_units(
        p_plus,
        lambda w: guessing(w @ eye)[2],
        guessing(counts - eye)[2],
        counts[used],
        rng,
        cfg.level,
        cfg.resamples,
    )
    return reading("leniency", p_plus, span, n, better="neither", why=why, unit="probability", parts=parts)


def guessing(cells: Floats) -> tuple[Floats, Floats, Floats]:
    """TPR, TNR and P+ (each (B,)) from (B, 4) counts in the order of CELLS."""
    yes_right, yes_wrong, no_wrong, no_right = cells.T
    tpr, tnr = ratio(yes_right, yes_right + no_wrong), ratio(no_right, no_right + yes_wrong)
    return tpr, tnr, ratio(1 - tnr, 2 - tpr - tnr)


def ranks_of_takers(data: Records) -> float:
    """Spearman's rho of the takers' mean grade by judge and by human, on the answers that have both."""
    taker, judge, human = data.words("taker"), yes_no(data, "judge"), yes_no(data, "human")
    if len(taker) != len(judge):
        raise DataError(f"columns of one table must be equally long, got taker {len(taker)} and judge {len(judge)}.")
    keep = [i for i in range(len(taker)) if taker[i] is not None and not math.isnan(judge[i] + human[i])]
    names = [str(taker[i]) for i in keep]
    if len(set(names)) < 2:
        return math.nan
    return spearman_influence(stats.unit_means(judge[keep], names), stats.unit_means(human[keep], names))[0]


def difference(a: Floats, b: Floats, cfg: Level) -> Interval:
    """Newcombe's interval of the paired difference of two rates."""
    both, only_a, only_b, neither = (int(np.sum((a == x) & (b == y))) for x, y in CELLS)
    return stats.newcombe_paired(both, only_a, only_b, neither, cfg.level)


@register(
    "measure",
    "judge_accuracy",
    source="arXiv:2306.05685 section 4 (agreement of judges with people); arXiv:2310.05470 (with ties as a verdict)",
    question="How often does the judge give the verdict that people gave?",
    better="higher",
    range=(0.0, 1.0),
    reads="records",
    needs=("verdict", "human", "?item"),
    unit="share",
    config=Resampled,
    not_measured="how often people agree with each other, which bounds what it can reach",
)
def judge_accuracy(data: Records, rng: np.random.Generator, cfg: Resampled) -> Reading:
    """Share of comparisons where the judge's verdict (A, B or tie) is the human one; a tie must be called a tie.

    A blank verdict is missing, not wrong; parts hold the strict reading that counts it wrong, the accuracy where
    people saw a winner, Cohen's kappa and the 3 x 3 table. item: rows of one item count as one unit, their mean.
    Wilson interval for one row an item, otherwise the bootstrap over items.
    """
    names = ["verdict", "human", *(["item"] if "item" in data.columns else [])]
    data.rows(*names)
    verdict, human = verdicts(data, "verdict"), verdicts(data, "human")
    kept, why = sieve(("no human", np.isnan(human)), ("no verdict", np.isnan(verdict)))
    rows, unread = np.flatnonzero(kept), why.get("no verdict", 0)
    if len(rows) == 0:
        return undefined("judge_accuracy", NOTHING, cfg, "higher", why, unit="share")
    verdict, human = verdict[rows], human[rows]
    right, decided = (verdict == human).astype(float), human != 0
    parts = {
        "counting_missing_as_wrong": float(right.sum() / (len(right) + unread)),
        "missing_verdicts": unread,
        "where_people_saw_a_winner": float(right[decided].mean()) if decided.any() else math.nan,
        "kappa": kappa(verdict, human),
        "rows": len(right),
        "table": table(verdict, human),
    }
    means = right
    if "item" in data.columns:
        words = data.words("item")
        means = stats.unit_means(right, [f"row {i}" if words[i] is None else f"item {words[i]}" for i in rows])
    single = len(means) == len(right)
    span = stats.wilson(float(means.sum()), len(means), cfg.level) if single else mean_interval(means, rng, cfg)
    return reading(
        "judge_accuracy", float(means.mean()), span, len(means), better="higher", why=why, unit="share", parts=parts
    )


NOTHING = "no row has both columns"
ORDER = ((1.0, "A"), (2.0, "B"), (0.0, "tie"))


def table(rows: Floats, columns: Floats) -> list[dict[str, Any]]:
    """Counts of verdict pairs, one dict a verdict of `rows`."""
    return [{"verdict": r} | {c: int(np.sum((rows == i) & (columns == j))) for j, c in ORDER} for i, r in ORDER]


def mean_interval(
    x: Floats, rng: np.random.Generator, cfg: Resampled, bounds: tuple[float, float] = (0.0, 1.0)
) -> Interval:
    """BCa interval of the mean of independent units; equal values are drawn together.

    Where all n are alike a bootstrap has no spread: then at most 1 - wilson(n of n) of the units would differ, each by
    as much as the bounds allow.
    """
    values, counts = np.unique(x, return_counts=True)
    if len(values) == 1 and len(x) > 1:
        v, q = float(values[0]), 1 - stats.wilson(len(x), len(x), cfg.level).low
        return Interval(v - q * (v - bounds[0]), v + q * (bounds[1] - v), cfg.level, "wilson: all units alike")
    return bootstrap_ratio(values, np.ones(len(values)), counts.astype(float), rng, cfg.level, cfg.resamples)
