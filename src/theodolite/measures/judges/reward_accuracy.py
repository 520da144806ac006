"""Does a reward model order answers as people do, and do its margins mean probabilities?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field
from scipy import special

from theodolite import stats
from theodolite.errors import DataError
from theodolite.measures.honesty.calibration import summary
from theodolite.measures.intervals import bootstrap_ratio
from theodolite.measures.over_units import reading, undefined
from theodolite.measures.records import Records, Resampled, bare, sieve
from theodolite.registry import register
from theodolite.stats import Floats
from theodolite.types import Reading


class RewardAccuracy(Resampled):
    bins: int = Field(10, ge=1, le=1000)
    """equal-width bins of the calibration error"""


@register(
    "measure",
    "reward_model_accuracy",
    source="arXiv:2312.07401 (MORE: accuracy and calibration of reward models); arXiv:1706.04599 eq. 3",
    question="Of two answers to one prompt, does the reward model give the better one more?",
    better="higher",
    range=(0.0, 1.0),
    reads="records",
    needs=("group", "reward", "score"),
    unit="share",
    config=RewardAccuracy,
    not_measured="whether rewards of different prompts can be compared",
)
def reward_model_accuracy(data: Records, rng: np.random.Generator, cfg: RewardAccuracy) -> Reading:
    """Share of answer pairs of one prompt with unequal human scores that the reward orders alike; equal rewards half.

        value = sum_groups right / sum_groups pairs,   right = 1{(r_i - r_j)(s_i - s_j) > 0} + 1/2 1{r_i = r_j}

    group: the prompt; reward: the model's; score: people's. A group of m answers adds up to m(m - 1)/2 pairs, so that
    prompts with many answers weigh more; the interval draws groups. parts: calibration of p = sigmoid(r_i - r_j)
    against 1{s_i > s_j} over both orders of each pair (ECE, ACE, MCE, debiased, Brier, NLL), ties, margins, and the
    mean over groups of the group's share. Differs: negative scores are scores here, not padding.
    """
    data.rows("group", "reward", "score")
    group, reward, score = data.words("group"), data.numbers("reward"), data.numbers("score")
    if np.isinf(reward).any() or np.isinf(score).any():
        raise DataError("a reward or score is infinite; leave what is missing blank.")
    kept, why = sieve(("no group", bare(group)), ("no reward", np.isnan(reward)), ("no score", np.isnan(score)))
    keep = np.flatnonzero(kept)
    names, codes = np.unique(np.array([str(group[i]) for i in keep], dtype=str), return_inverse=True)
    margin, owner = pairs(codes, reward[keep], score[keep])
    if len(margin) == 0:
        note = "no group has two answers with different scores"
        return undefined("reward_model_accuracy", note, cfg, "higher", why, unit="share")
    right = (margin > 0) + 0.5 * (margin == 0)
    n_pairs = np.bincount(owner, minlength=len(names)).astype(float)
    sums = np.bincount(owner, weights=right, minlength=len(names)).astype(float)
    sums, n_pairs = sums[n_pairs > 0], n_pairs[n_pairs > 0]
    value, n = float(right.mean()), len(sums)
    if (n_pairs == 1).all() or value in (0.0, 1.0):
        span = stats.wilson(float(sums.sum() / n_pairs.mean()), n, cfg.level)
    else:
        span = bootstrap_ratio(sums, n_pairs, np.ones(n), rng, cfg.level, cfg.resamples)
    parts = pair_calibration(margin, cfg.bins) | {
        "pairs": len(margin),
        "tied_rewards": float(np.mean(margin == 0)),
        "mean_margin": float(margin.mean()),
        "mean_of_groups": float((sums / n_pairs).mean()),
        "groups_without_a_pair": len(names) - n,
    }
    return reading("reward_model_accuracy", value, span, n, better="higher", why=why, unit="share", parts=parts)


def pairs(codes: np.ndarray, reward: Floats, score: Floats) -> tuple[Floats, np.ndarray]:
    """Reward of the better-scored answer minus that of the other, for all pairs of a group, and the pair's group.

    Rows are sorted by group, so that the k-th neighbours of all groups are compared at once.
    """
    order = np.argsort(codes, kind="stable")
    c, r, s = codes[order], reward[order], score[order]
    margins, owners = [np.empty(0)], [np.empty(0, dtype=np.int64)]
    for k in range(1, int(np.bincount(codes).max(initial=0))):
        use = (c[k:] == c[:-k]) & (s[k:] != s[:-k])
        sign = np.sign(s[k:] - s[:-k])[use]
        margins.append(sign * (r[k:] - r[:-k])[use])
        owners.append(c[k:][use])
    return np.concatenate(margins), np.concatenate(owners)


def pair_calibration(margin: Floats, bins: int) -> dict[str, float]:
    """Calibration of sigmoid(reward gap) over both orders of each pair: p for the better-scored one, 1 - p for the other."""
    p = np.concatenate([special.expit(margin), special.expit(-margin)])
    y = np.concatenate([np.ones(len(margin)), np.zeros(len(margin))])
    b = np.searchsorted(np.arange(1, bins) / bins, p, side="left")
    gaps = np.abs(np.bincount(b, weights=p - y, minlength=bins))
    return {"ece": float(gaps.sum() / len(p))} | summary(p, y, b, bins)


def pair_accuracy(group: ArrayLike, reward: ArrayLike, score: ArrayLike) -> float:
    """`reward_model_accuracy` as a number: `pair_accuracy([0, 0, 0], [3, 2, 1], [2, 2, 1])` is 1, of two pairs."""
    _, codes = np.unique(np.asarray(group), return_inverse=True)
    margin, _ = pairs(codes, np.asarray(reward, float), np.asarray(score, float))
    return float(np.mean((margin > 0) + 0.5 * (margin == 0))) if len(margin) else math.nan
