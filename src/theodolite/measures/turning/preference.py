"""Does the model rank the chosen answer above the rejected one?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.stats import binomtest

from theodolite import stats
from theodolite.measures.evidence import Evidence, PairLogps
from theodolite.measures.paired import paired
from theodolite.registry import register
from theodolite.types import Reading


@register(
    "measure",
    "reward_accuracy",
    source="arXiv:2305.18290 section 5 (implicit reward)",
    question="On held-out pairs, is the chosen answer's implicit reward the higher one?",
    better="higher",
    range=(0.0, 1.0),
    needs=("pairs",),
    unit="share",
    not_measured="whether the model would say the chosen answer; both may have become less likely",
    taxonomy=("goal:human-feedback", "bidirectional:model-learning"),
)
def reward_accuracy(evidence: Evidence, rng: np.random.Generator) -> list[Reading]:
    """Share of pairs with log pi/ref (chosen) > log pi/ref (rejected); ties count half.

    Before training the policy is the reference, every implicit reward is 0 and every pair a tie: 0.5 by definition.
    Higher is better, 0.5 is chance. TRL counts ties as wrong, so its value at step 0 is 0.
    """
    pairs = _pairs(evidence)
    gap = (pairs.after_chosen - pairs.before_chosen) - (pairs.after_rejected - pairs.before_rejected)
    right, wrong, n = int(np.sum(gap > 0)), int(np.sum(gap < 0)), int(np.sum(~np.isnan(gap)))
    why = dict(evidence.missing) | ({"not a number": len(gap) - n} if n < len(gap) else {})
    share = (right + 0.5 * (n - right - wrong)) / n if n else math.nan
    span = stats.wilson(share * n, n, evidence.level)
    note = "" if n else "no held-out pair has a value"

    def reading(name: str, value: float, low: float, high: float, **rest: Any) -> Reading:
        return Reading(
            f"reward_accuracy.{name}", value, low, high, evidence.level, n=n, missing=sum(why.values()), why=why,
            unit="share", better="higher", **({"note": note} | rest)
        )  # fmt: skip

    p = float(binomtest(right, right + wrong).pvalue) if right + wrong else 1.0
    return [
        reading("before", 0.5, 0.5, 0.5, method="by definition", note="every pair is a tie before training"),
        reading("after", share, span.low, span.high, method="wilson"),
        reading(
            "difference", share - 0.5, span.low - 0.5, span.high - 0.5, method="wilson, exact sign test", p_value=p
        ),
    ]


@register(
    "measure",
    "likelihood_accuracy",
    source="arXiv:2405.19534 (ranking accuracy); length-normalised as in arXiv:2405.14734",
    question="On held-out pairs, does the model itself find the chosen answer likelier, token for token?",
    better="higher",
    range=(0.0, 1.0),
    needs=("pairs",),
    unit="share",
    not_measured="the implicit reward, which divides the reference out",
    taxonomy=("goal:human-feedback", "bidirectional:model-learning"),
)
def likelihood_accuracy(evidence: Evidence, rng: np.random.Generator) -> list[Reading]:
    """Share of pairs with a higher mean log-prob a token for the chosen answer; ties count half."""
    p = _pairs(evidence)
    before = p.before_chosen / p.chosen_length - p.before_rejected / p.rejected_length
    after = p.after_chosen / p.chosen_length - p.after_rejected / p.rejected_length
    return paired(
        "likelihood_accuracy",
        _wins(before),
        _wins(after),
        rng,
        level=evidence.level,
        unit="share",
        better="higher",
        missing=evidence.missing,
    )


@register(
    "measure",
    "chosen_logratio",
    source="arXiv:2402.13228 (DPO-Positive: the chosen answer's probability may fall)",
    question="Did the chosen answers themselves become likelier?",
    better="higher",
    range=(-math.inf, math.inf),
    needs=("pairs",),
    unit="nats",
    not_measured="where the probability went",
    taxonomy=("goal:human-feedback", "bidirectional:model-learning"),
)
def chosen_logratio(evidence: Evidence, rng: np.random.Generator) -> list[Reading]:
    """Mean of log pi(chosen) - log ref(chosen) over held-out pairs; below 0 means they became less likely."""
    p = _pairs(evidence)
    gaps = [[float(g)] for g in p.after_chosen - p.before_chosen]
    reading = paired(
        "chosen_logratio", [[0.0]] * len(gaps), gaps, rng, level=evidence.level, unit="nats", better="higher"
    )[1]
    return [Reading(**{f: getattr(reading, f) for f in reading.__slots__} | {"name": "chosen_logratio"})]


def _wins(gap: np.ndarray) -> list[list[float]]:
    return [[1.0 if g > 0 else 0.5 if g == 0 else 0.0] if not math.isnan(g) else [math.nan] for g in gap]


def _pairs(evidence: Evidence) -> PairLogps:
    if evidence.pairs is None:
        raise ValueError("this measure needs the log-probs of held-out pairs")
    return evidence.pairs
