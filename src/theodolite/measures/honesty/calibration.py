"""Do probabilities mean what they say? Of answers given with 70 %, are 70 % right?"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field
from scipy import special

from theodolite import stats
from theodolite.errors import DataError
from theodolite.measures.intervals import blocks, kind_weights, middle
from theodolite.measures.judges.judging import NOTHING, complete, yes_no
from theodolite.measures.over_units import reading, undefined
from theodolite.measures.records import Records, Resampled
from theodolite.registry import register
from theodolite.stats import Floats, Interval
from theodolite.types import Reading

Scheme = Literal["equal-width", "quantile"]


class Ece(Resampled):
    bins: int = Field(10, ge=1, le=1000)
    """how many bins"""
    scheme: Scheme = "equal-width"
    """bins of equal width, or with equally many answers"""


@register(
    "measure",
    "ece",
    source="arXiv:1706.04599 eq. 3; debiased: arXiv:1909.10155 (their normal approximation, here in closed form)",
    question="Do the stated probabilities match how often the answers are right?",
    better="lower",
    range=(0.0, 1.0),
    reads="records",
    needs=("probability", "correct"),
    unit="probability",
    config=Ece,
    not_measured="whether the probabilities tell right from wrong: the base rate for everything is calibrated",
    taxonomy=("trust:miscalibration",),
)
def ece(data: Records, rng: np.random.Generator, cfg: Ece) -> Reading:
    """Expected calibration error: mean gap between confidence and accuracy, bin by bin.

        ECE = sum_b |sum_{i in b} p_i - sum_{i in b} y_i| / n,   bins (lo, hi], p = 0 in the first

    probability: of the answer given (or of the event); correct: 1 or 0. Binning makes ECE too high in small samples:
    parts hold `debiased`, which takes off the bias expected from the noise of each bin's accuracy, and
    `expected_if_calibrated`, what a perfectly calibrated source would show at this n. Interval: basic bootstrap
    (2 ECE - quantiles), from 0 where the p-value, that a calibrated source shows this much, is above (1 - level)/2,
    and widened to hold the value. parts: ACE and MCE, the mean and largest gap of non-empty bins; Brier; NLL in nats
    with p clipped to [1e-15, 1 - 1e-15]; the table of bins.
    """
    (p, y), why = complete(data, "probability", "correct", read=column)
    n = len(p)
    if n == 0:
        return undefined("ece", NOTHING, cfg, "lower", why, unit="probability")
    edges = bin_edges(p, cfg.bins, cfg.scheme)
    b = np.searchsorted(edges, p, side="left")
    gaps, counts = binned(p - y, b, cfg.bins), np.bincount(b, minlength=cfg.bins)
    value = float(np.abs(gaps).sum() / n)
    span, p_value = ece_interval(p, y, b, cfg.bins, value, rng, cfg)
    parts = summary(p, y, b, cfg.bins) | {"bins": bin_table(p, y, b, edges, cfg.level)}
    parts["expected_if_calibrated"] = float(np.sqrt(binned(p * (1 - p), b, cfg.bins) * 2 / math.pi).sum() / n)
    parts["non_empty_bins"] = int((counts > 0).sum())
    return reading("ece", value, span, n, better="lower", why=why, unit="probability", p_value=p_value, parts=parts)


def column(data: Records, name: str) -> Floats:
    """(n,) the probabilities, or right and wrong as 1 and 0; NaN where blank."""
    if name == "correct":
        return yes_no(data, name)
    x = data.numbers(name)
    if (odd := np.flatnonzero((x < 0) | (x > 1))).size:
        raise DataError(
            f"the column '{name}' must hold probabilities in [0, 1], got {x[odd[0]]:g} in row {odd[0] + 1}. 72 % is 0.72."
        )
    return x


def bin_edges(p: Floats, bins: int, scheme: Scheme) -> Floats:
    """(bins - 1,) inner edges; bin b holds edges[b - 1] < p <= edges[b]. Equal probabilities share a bin."""
    inner = np.arange(1, bins) / bins
    return inner if scheme == "equal-width" else np.quantile(p, inner, method="inverted_cdf")


def binned(x: Floats, b: np.ndarray, bins: int) -> Floats:
    """(bins,) sums of x."""
    return np.bincount(b, weights=x, minlength=bins).astype(float)


def calibration_error(p: ArrayLike, y: ArrayLike, bins: int = 10, scheme: Scheme = "equal-width") -> float:
    """ECE of probabilities and 0/1 outcomes; `calibration_error([.8, .8, .6], [1, 0, 1])` is (0.6 + 0.4)/3."""
    prob, hit = np.asarray(p, float), np.asarray(y, float)
    if len(prob) == 0:
        return math.nan
    b = np.searchsorted(bin_edges(prob, bins, scheme), prob, side="left")
    return float(np.abs(binned(prob - hit, b, bins)).sum() / len(prob))


def summary(p: Floats, y: Floats, b: np.ndarray, bins: int) -> dict[str, float]:
    """ACE, MCE, debiased ECE, Brier and NLL."""
    counts = np.bincount(b, minlength=bins)
    full = counts > 0
    n_b, gap = counts[full], binned(p - y, b, bins)[full] / counts[full]
    hits = binned(y, b, bins)[full] / n_b
    noise = np.sqrt(hits * (1 - hits) / n_b)
    bias = float(n_b @ (folded_normal(gap, noise) - np.abs(gap)) / len(p))
    safe = np.clip(p, 1e-15, 1 - 1e-15)
    return {
        "ace": float(np.abs(gap).mean()),
        "mce": float(np.abs(gap).max()),
        "debiased": max(0.0, float(n_b @ np.abs(gap) / len(p)) - bias),
        "brier": float(np.mean((p - y) ** 2)),
        "nll": float(-np.mean(y * np.log(safe) + (1 - y) * np.log1p(-safe))),
    }


def folded_normal(mean: Floats, sd: Floats) -> Floats:
    """E|X| of X ~ N(mean, sd^2) = sd sqrt(2/pi) exp(-mean^2/(2 sd^2)) + mean (1 - 2 Phi(-mean/sd)); |mean| at sd 0."""
    z = np.divide(mean, sd, out=np.zeros_like(mean), where=sd > 0)
    spread = sd * math.sqrt(2 / math.pi) * np.exp(-z * z / 2) + mean * (1 - 2 * special.ndtr(-z))
    return np.where(sd > 0, spread, np.abs(mean))


def bin_table(p: Floats, y: Floats, b: np.ndarray, edges: Floats, level: float) -> list[dict[str, float]]:
    """One row a non-empty bin: its bounds, n, mean probability, accuracy with its Wilson interval."""
    ends = np.concatenate([[0.0], edges, [1.0]])
    rows = []
    for k in np.unique(b):
        here = b == k
        n, hits = int(here.sum()), float(y[here].sum())
        span = stats.wilson(hits, n, level)
        row = {"from": ends[k], "to": ends[k + 1], "n": n, "probability": float(p[here].mean()), "correct": hits / n}
        rows.append({**row, "low": span.low, "high": span.high})
    return rows


def ece_interval(
    p: Floats, y: Floats, b: np.ndarray, bins: int, value: float, rng: np.random.Generator, cfg: Resampled
) -> tuple[Interval, float]:
    """Basic bootstrap of the ECE (bins stay where they are), and the p-value that the source is calibrated.

    Clipped at 0 and widened to hold the value. The bootstrap takes off less than half of the bias of a calibrated
    source, so low is 0 wherever the test does not reject calibration on that side.
    """
    n = len(p)
    if n < 2:
        return Interval(math.nan, math.nan, cfg.level, "basic bootstrap"), math.nan
    by_chance = errors_if_calibrated(p, b, bins, rng, cfg.resamples)
    p_value = (1 + float(np.sum(by_chance >= value - 1e-12))) / (1 + len(by_chance))
    draws, method = resampled_errors(p - y, b, bins, rng, cfg.resamples)
    below, above = middle(draws, cfg.level)
    low = max(0.0, 2 * value - above) if p_value <= (1 - cfg.level) / 2 else 0.0
    return Interval(low, float(np.clip(2 * value - below, value, 1.0)), cfg.level, method), p_value


def resampled_errors(
    gap: Floats, b: np.ndarray, bins: int, rng: np.random.Generator, resamples: int
) -> tuple[Floats, str]:
    """(B,) ECE of resampled rows; for very many rows from the joint normal limit of the bins' sums."""
    n = len(gap)
    if n * resamples <= stats.LIMIT:
        cells = np.zeros((n, bins))
        cells[np.arange(n), b] = gap
        drawn = kind_weights(np.ones(n), resamples, rng)
        return np.concatenate([np.abs(w @ cells).sum(1) for w in drawn]) / n, "basic bootstrap"
    mean = binned(gap, b, bins)
    spread = np.diag(binned(gap**2, b, bins)) - np.outer(mean, mean) / n
    sums = rng.multivariate_normal(mean, spread, size=resamples, method="eigh", check_valid="ignore")
    return np.abs(sums).sum(1) / n, "basic bootstrap, normal limit"


def errors_if_calibrated(p: Floats, b: np.ndarray, bins: int, rng: np.random.Generator, resamples: int) -> Floats:
    """(B,) ECE of outcomes drawn with these very probabilities; for very many rows each bin's sum from its normal limit.

    Source: consistency resampling, Broecker and Smith 2007 (Weather and Forecasting 22:651-661).
    """
    n = len(p)
    if n * resamples > stats.LIMIT:
        sums = rng.normal(size=(resamples, bins)) * np.sqrt(binned(p * (1 - p), b, bins))
        gaps: Floats = np.abs(sums).sum(1) / n
        return gaps
    cells = np.zeros((n, bins))
    cells[np.arange(n), b] = 1
    return np.concatenate([np.abs((p - (rng.random((k, n)) < p)) @ cells).sum(1) for k in blocks(resamples, n)]) / n
