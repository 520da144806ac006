"""How far did the policy move from its reference, and how long did its answers become?"""

from __future__ import annotations

import math

import numpy as np

from theodolite import stats
from theodolite.measures.evidence import Evidence
from theodolite.measures.intervals import ratio_percentiles
from theodolite.measures.paired import sampled
from theodolite.registry import register
from theodolite.types import Reading, Response


@register(
    "measure",
    "kl",
    source="arXiv:2203.02155 section 3.5; estimator k1 of Schulman 2020",
    question="How far is the policy from the reference, on its own answers?",
    better="neither",
    range=(0.0, math.inf),
    needs=("logps",),
    unit="nats",
    not_measured="distance on prompts or answers that the policy does not produce",
    taxonomy=("bidirectional:model-learning", "bidirectional:automatic-evaluation"),
)
def kl(evidence: Evidence, rng: np.random.Generator) -> list[Reading]:
    """KL(policy || reference) in nats, per response and per token, from responses sampled from the policy.

        kl = mean over prompts of mean over y ~ policy of sum_t [log policy(y_t) - log reference(y_t)]
        kl.per_token = sum of all log-ratios / number of tokens

    Unbiased (k1), so a small true value can come out slightly negative; intervals by bootstrap over prompts. The
    responses must be sampled at temperature 1 without top-k, top-p or min-p, else it is not the policy's own KL.
    """
    sums, lengths = [], []
    for policy, reference in zip(evidence.policy_logps, evidence.reference_logps, strict=True):
        gaps = [np.asarray(p, float) - np.asarray(r, float) for p, r in zip(policy, reference, strict=True)]
        if gaps:
            sums.append(float(np.mean([g.sum() for g in gaps])))
            lengths.append(float(np.mean([len(g) for g in gaps])))
    if not sums:
        return [Reading(n, math.nan, unit="nats", note="no sampled responses") for n in ("kl", "kl.per_token")]
    x, t = np.array(sums), np.array(lengths)
    span = stats.bootstrap_mean(x, rng, evidence.level)
    low, high = ratio_percentiles(x, t, rng, evidence.level)
    return [
        Reading("kl", float(x.mean()), span.low, span.high, evidence.level, span.method, len(x), unit="nats"),
        Reading(
            "kl.per_token",
            float(x.sum() / t.sum()),
            low,
            high,
            evidence.level,
            "bootstrap of a ratio over prompts",
            len(x),
            unit="nats a token",
        ),
    ]


@register(
    "measure",
    "length",
    source="arXiv:2310.03716 (length is the commonest side effect of preference learning)",
    question="Did answers become longer or shorter?",
    better="neither",
    range=(0.0, math.inf),
    needs=("samples",),
    unit="tokens",
    not_measured="whether the length suits the question",
    taxonomy=("bidirectional:model-learning", "bidirectional:automatic-evaluation"),
)
def length(evidence: Evidence, rng: np.random.Generator) -> list[Reading]:
    """Tokens a response, end-of-turn token included; words where a response carries no tokens."""

    def tokens(response: Response) -> float:
        return float(len(response.tokens) if response.tokens is not None else len(response.text.split()))

    return sampled("length", evidence, tokens, rng, unit="tokens")


@register(
    "measure",
    "truncated",
    source="ours: an answer that was cut off says little about the model",
    question="How often was an answer cut off at the token limit?",
    better="lower",
    range=(0.0, 1.0),
    needs=("samples",),
    unit="share",
    not_measured="answers that end early for another reason",
    taxonomy=("bidirectional:automatic-evaluation",),
)
def truncated(evidence: Evidence, rng: np.random.Generator) -> list[Reading]:
    """Share of responses that reached max_new_tokens without ending their turn."""

    def cut(response: Response) -> float:
        return math.nan if response.finish is None else float(response.finish == "length")

    return sampled("truncated", evidence, cut, rng, unit="share", better="lower")
