"""What plain best-of-n sampling of the untouched model would reach, and at which KL: the bar for any training."""

from __future__ import annotations

import math

import numpy as np

from theodolite import stats
from theodolite.measures.evidence import Evidence
from theodolite.measures.turning.instructions import checks
from theodolite.registry import register
from theodolite.types import Reading


@register(
    "measure",
    "best_of_n",
    source="KL: arXiv:2401.01879 theorem 1; estimator: arXiv:2107.03374 eq. 1 (unbiased pass@k)",
    question="What pass rate does best-of-n sampling of the model before training reach?",
    better="higher",
    range=(0.0, 1.0),
    needs=("samples", "checks"),
    unit="share",
    not_measured="the cost of drawing n answers for every question",
    taxonomy=("goal:human-instructions", "bidirectional:inference-stage"),
)
def best_of_n(evidence: Evidence, rng: np.random.Generator) -> list[Reading]:
    """Pass rate when the best of n of the before-model's K answers is given, for n = 1, 2, 4, ..., K.

        value(n) = mean over prompts of 1 - C(K - c, n) / C(K, n),   c = answers that pass
        kl(n) <= log n - (n - 1)/n   (an upper bound: exact for rewards without ties)

    The reading's value is at n = K; `parts["curve"]` holds every n with its interval.
    """
    counts = [
        (len(e.responses), sum(all(checks(r).values()) for r in e.responses))
        for e in evidence.before
        if e.responses and all(checks(r) for r in e.responses)
    ]
    k = min((n for n, _ in counts), default=0)
    if k == 0:
        return [Reading("best_of_n", math.nan, unit="share", better="higher", note="no checked responses")]
    curve = []
    for n in sorted({2**i for i in range(k.bit_length()) if 2**i <= k} | {k}):
        values = np.array([1 - math.comb(total - c, n) / math.comb(total, n) for total, c in counts])
        span = stats.bootstrap_mean(values, rng, evidence.level)
        bound = math.log(n) - (n - 1) / n
        curve.append({"n": n, "kl": bound, "value": float(values.mean()), "low": span.low, "high": span.high})
    last = curve[-1]
    return [
        Reading(
            "best_of_n",
            last["value"],
            last["low"],
            last["high"],
            evidence.level,
            "bootstrap over prompts",
            len(counts),
            unit="share",
            better="higher",
            note=f"best of {k}",
            parts={"curve": curve},
        )
    ]
