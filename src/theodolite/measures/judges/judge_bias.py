"""Is the judge moved by what should not move it? The place of an answer, and whether it wrote the answer itself."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from theodolite import stats
from theodolite.measures.judges.judging import NOTHING, complete, difference, mean_interval, table, verdicts
from theodolite.measures.over_units import reading, undefined
from theodolite.measures.records import Level, Records, Resampled
from theodolite.registry import register
from theodolite.stats import Floats, Interval
from theodolite.types import Reading


@register(
    "measure",
    "position_bias",
    source="arXiv:2305.17926; arXiv:2306.05685 section 3.3",
    question="How much does the judge favour the answer that is shown first, or second?",
    better="lower",
    range=(0.0, 1.0),
    reads="records",
    needs=("first_order", "swapped_order"),
    unit="share",
    config=Resampled,
    not_measured="inconsistency without a direction; see swap_consistency",
)
def position_bias(data: Records, rng: np.random.Generator, cfg: Resampled) -> Reading:
    """Size of (share of verdicts for the answer shown first) - (share for the one shown second), over both orders.

        b_i = ([A in first] - [B in first] + [B in swapped] - [A in swapped])/2,   value = |mean b|

    first_order: the verdict with A shown first; swapped_order: with B shown first. Both name the *answer* (A, B or
    tie), not the place. parts hold the signed value (above 0: the first place is favoured) with its interval; the
    interval of the size is its image under |.|, from 0 where the signed one crosses 0. p: sign-flip test of b.
    A pair without one of the verdicts is missing: the other order alone says nothing about places.
    """
    (first, swapped), why = complete(data, "first_order", "swapped_order", read=verdicts)
    n = len(first)
    if n == 0:
        return undefined("position_bias", NOTHING, cfg, "lower", why, unit="share")
    b = place(first, swapped)
    signed, span = float(b.mean()), mean_interval(b, rng, cfg, bounds=(-1.0, 1.0))
    parts = {
        "signed": signed,
        "signed_low": span.low,
        "signed_high": span.high,
        "share_first": float(np.mean(np.concatenate([first == 1, swapped == 2]))),
        "share_second": float(np.mean(np.concatenate([first == 2, swapped == 1]))),
        "share_tie": float(np.mean(np.concatenate([first == 0, swapped == 0]))),
    }
    return reading(
        "position_bias", abs(signed), size_of(span), n,
        better="lower", why=why, unit="share", p_value=sign_p(b, rng), parts=parts,
    )  # fmt: skip


def place(first: ArrayLike, swapped: ArrayLike) -> Floats:
    """(n,) in {-1, -1/2, 0, 1/2, 1}: for the answer shown first minus for the second, mean of both orders."""
    f, s = np.asarray(first), np.asarray(swapped)
    found: Floats = ((f == 1) * 1.0 - (f == 2) + (s == 2) - (s == 1)) / 2
    return found


def sign_p(b: Floats, rng: np.random.Generator) -> float:
    """Sign-flip p-value that b is symmetric around 0; its normal limit beyond 2,000 pairs that say something."""
    b = b[b != 0]
    if len(b) == 0:
        return 1.0
    if len(b) > 2000:
        return float(2 * special.ndtr(-abs(b.sum()) / math.sqrt(b @ b)))
    return stats.sign_flip(b, rng)


def size_of(span: Interval) -> Interval:
    """The interval of |x| where x has this one."""
    ends = sorted((abs(span.low), abs(span.high)))
    low = 0.0 if span.low <= 0 <= span.high else ends[0]
    return Interval(low, ends[1], span.level, span.method) if not math.isnan(span.low) else span


@register(
    "measure",
    "swap_consistency",
    source="arXiv:2306.05685 table 2 (consistency); arXiv:2310.05470 (Auto-J)",
    question="Does the verdict survive when the two answers change places?",
    better="higher",
    range=(0.0, 1.0),
    reads="records",
    needs=("first_order", "swapped_order"),
    unit="share",
    config=Level,
    not_measured="whether the surviving verdict is right",
    taxonomy=("trust:inconsistency",),
)
def swap_consistency(data: Records, rng: np.random.Generator, cfg: Level) -> Reading:
    """Share of pairs whose verdict, named by answer (A, B, tie), is the same in both orders. Wilson interval.

    parts: the share of flips that follow the place (to the other answer), of those that only lose or gain a tie, and
    the 3 x 3 table (rows: first order). A judge that always takes the first place has 0, one that guesses between
    two answers 0.5.
    """
    (first, swapped), why = complete(data, "first_order", "swapped_order", read=verdicts)
    n = len(first)
    if n == 0:
        return undefined("swap_consistency", NOTHING, cfg, "higher", why, unit="share")
    same = int(np.sum(first == swapped))
    opposite = int(np.sum((first != swapped) & (first != 0) & (swapped != 0)))
    parts = {"opposite": opposite / n, "one_tie": (n - same - opposite) / n, "table": table(first, swapped)}
    span = stats.wilson(same, n, cfg.level)
    return reading("swap_consistency", same / n, span, n, better="higher", why=why, unit="share", parts=parts)


@register(
    "measure",
    "self_preference",
    source="arXiv:2404.13076; arXiv:2410.21819 (against human preference)",
    question="Does the judge prefer its own answers more often than people do?",
    better="neither",
    range=(-1.0, 1.0),
    reads="records",
    needs=("judge_prefers_own", "human_prefers_own"),
    unit="difference of shares",
    config=Level,
    not_measured="why: it may know its own style, or hold the same mistakes for true",
)
def self_preference(data: Records, rng: np.random.Generator, cfg: Level) -> Reading:
    """P(judge prefers its own answer) - P(people prefer the judge's answer) on the same comparisons.

    Each row compares an answer of the judge's model with another's. Above 0 the judge favours itself. Newcombe's
    paired interval, exact McNemar p. parts: both rates, and the judge's rate where people did and did not prefer it.
    """
    (judge, human), why = complete(data, "judge_prefers_own", "human_prefers_own")
    n, unit = len(judge), "difference of shares"
    if n == 0:
        return undefined("self_preference", NOTHING, cfg, "neither", why, unit=unit)
    own, other = judge[human == 1], judge[human == 0]
    parts = {
        "judge": float(judge.mean()),
        "human": float(human.mean()),
        "judge_where_people_did": float(own.mean()) if len(own) else math.nan,
        "judge_where_people_did_not": float(other.mean()) if len(other) else math.nan,
    }
    p = stats.mcnemar(int(np.sum(judge > human)), int(np.sum(judge < human)))
    span, value = difference(judge, human, cfg), float(np.mean(judge - human))
    return reading("self_preference", value, span, n, better="neither", why=why, unit=unit, p_value=p, parts=parts)
