"""Does a model rate words (how pleasant, how concrete, ...) as people do?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field
from scipy.stats import rankdata

from theodolite.errors import UsageError
from theodolite.measures.intervals import middle, weights
from theodolite.measures.records import Floats, Records, Resampled, sieve
from theodolite.registry import register
from theodolite.types import Reading


class NormAlignment(Resampled):
    minimum: int = Field(3, ge=3)
    """words with both ratings that a correlation needs"""


def expected_rating(logps: ArrayLike, scale: tuple[int, int]) -> tuple[Floats, Floats]:
    """(rating, covered): mean of the integer ratings under their next-token probabilities, and their total mass.

        rating = sum_k k p_k / sum_k p_k,   covered = sum_k p_k,   k = scale[0], ..., scale[1]

    logps: (..., K) nats of the tokens of the K integers of the scale, -inf or NaN where a token was not returned
    (servers give the top few only). rating is NaN where none was. All mass on one integer gives it; equal mass on 1..7
    gives 4. A number of two tokens, such as 10, needs its summed log-prob here. The released code keeps integers
    outside the scale; they are no ratings and cannot enter here.
    """
    low, high = scale
    x = np.asarray(logps, float)
    if x.shape[-1:] != (high - low + 1,):
        raise UsageError(f"a scale of {low} to {high} needs {high - low + 1} log-probs in a row, got shape {x.shape}.")
    x = np.where(np.isnan(x), -math.inf, x)
    scaled = np.exp(x - x.max(-1, keepdims=True, initial=-745.0))  # a tiny covered mass keeps its digits
    with np.errstate(invalid="ignore"):
        rating = scaled @ np.arange(low, high + 1.0) / scaled.sum(-1)
    return rating, np.exp(x).sum(-1)


def reliability(mean: Floats, sd: Floats, raters: Floats) -> float:
    """Share of the variance of the mean ratings that is not sampling error: 1 - mean(sd^2 / raters) / var(mean).

    NaN where it comes out 0 or below, or where fewer than two words carry all three numbers.
    """
    ok = np.isfinite(mean) & np.isfinite(sd) & (raters > 0)
    if ok.sum() < 2 or not (spread := float(mean[ok].var(ddof=1))):
        return math.nan
    found = 1 - float((sd[ok] ** 2 / raters[ok]).mean()) / spread
    return found if found > 0 else math.nan


def rescaled_error(model: Floats, human: Floats) -> float:
    """Mean |human - (a + b model)| with the a and b of least squares: how far off once the scale is fitted."""
    x = model - model.mean()
    slope = float(x @ human) / float(x @ x)
    return float(np.abs(human - human.mean() - slope * x).mean())


def correlation_bounds(
    x: Floats, y: Floats, rng: np.random.Generator, level: float, resamples: int
) -> tuple[float, float]:
    """Percentile bootstrap of Pearson's r over rows, from five weighted moments a resample."""
    a, b = x - x.mean(), y - y.mean()
    moments = np.stack([a, b, a * a, b * b, a * b], 1)
    found = []
    for w in weights(len(a), resamples, rng):
        ma, mb, aa, bb, ab = (w @ moments / len(a)).T
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append((ab - ma * mb) / np.sqrt((aa - ma * ma) * (bb - mb * mb)))
    values = np.concatenate(found)
    return middle(np.clip(values[np.isfinite(values)], -1, 1), level)


@register(
    "measure",
    "norm_alignment",
    source="arXiv:2506.22439 (Pearson and Spearman with human norms); error and correction for attenuation: ours",
    config=NormAlignment,
    reads="records",
    needs=("model", "human", "?sd", "?raters"),
    question="Does the model rate words as people do?",
    better="higher",
    range=(-1.0, 1.0),
    not_measured="whether the words are used as they are rated",
)
def norm_alignment(data: Records, rng: np.random.Generator, cfg: NormAlignment) -> Reading:
    """Pearson correlation of a model's ratings of words with the human means; 1 is the same up to scale and shift.

    model: (n,) ratings, best from `expected_rating`, since arg-max ratings are mostly ties. human: (n,) mean ratings.
    Unlike senses of one word are different rows. parts: spearman; error, the mean absolute error in units of the human
    scale after a linear rescale; corrected, r / sqrt(reliability of the human means), from sd (n,) and raters (n,),
    which may pass 1. The interval resamples words.
    """
    model, human = data.numbers("model"), data.numbers("human")
    data.rows("model", "human")
    ok, why = sieve(("no rating by the model", ~np.isfinite(model)), ("no human rating", ~np.isfinite(human)))
    x, y = model[ok], human[ok]
    common: dict[str, Any] = {"level": cfg.level, "better": "higher", "n": len(x)}
    common |= {"missing": sum(why.values()), "why": why}
    if len(x) < cfg.minimum:
        return Reading("norm_alignment", math.nan, **common, note=f"fewer than {cfg.minimum} words with both ratings")
    if not np.ptp(x) or not np.ptp(y):
        return Reading("norm_alignment", math.nan, **common, note="one side rates all words alike")
    value = _pearson(x, y)
    parts: dict[str, Any] = {"spearman": _pearson(rankdata(x), rankdata(y)), "error": rescaled_error(x, y)}
    if "sd" in data.columns and "raters" in data.columns:
        parts["reliability"] = reliability(y, data.numbers("sd")[ok], data.numbers("raters")[ok])
        parts["corrected"] = value / math.sqrt(parts["reliability"])
    low, high = correlation_bounds(x, y, rng, cfg.level, cfg.resamples)
    return Reading("norm_alignment", value, low, high, method="bootstrap over words", parts=parts, **common)


def _pearson(x: Floats, y: Floats) -> float:
    a, b = x - x.mean(), y - y.mean()
    return float(np.clip(a @ b / math.sqrt(float(a @ a) * float(b @ b)), -1, 1))
