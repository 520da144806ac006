"""Do people read a word more slowly when the model finds it more surprising?"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from theodolite.measures.intervals import middle, weights
from theodolite.measures.records import Floats, Mask, Records, Resampled, bare, sieve
from theodolite.registry import register
from theodolite.types import Reading

CONTROLS = ("word_length", "log_frequency", "previous_surprisal", "previous_word_length", "previous_log_frequency")


class ReadingTimeSlope(Resampled):
    controls: tuple[str, ...] | None = None
    """columns beside surprisal that predict reading time; null takes those of the known ones that the data has"""
    minimum: int = Field(10, ge=3)
    """words that a regression needs"""


def word_surprisal(logps: ArrayLike, token_start: ArrayLike, word_start: ArrayLike) -> Floats:
    """(W,) surprisal in bits of each word: the sum over its tokens of -log2 p(token | all earlier text).

    logps: (T,) nats, NaN where unknown (the first token has none), which makes the word NaN. token_start: (T,) character
    where a token's first letter stands, leading space not counted; word_start: (W,) rising, likewise. A token that
    crosses into the next word counts for the word it begins in. A word in which no token begins is NaN. Under a
    uniform model of V tokens a word of k tokens has k log2 V bits.
    """
    bits = -np.asarray(logps, float) / math.log(2)
    starts, words = np.asarray(token_start), np.asarray(word_start)
    of = np.searchsorted(words, starts, side="right") - 1
    inside = of >= 0
    total = np.bincount(of[inside], weights=bits[inside], minlength=len(words))
    return np.where(np.bincount(of[inside], minlength=len(words)) > 0, total, math.nan)


def least_squares(x: Floats, y: Floats) -> tuple[Floats, float]:
    """(coefficients, residual sum of squares) of y (n,) on x (n, p)."""
    weight, _, _, _ = np.linalg.lstsq(x, y, rcond=None)
    return np.asarray(weight, float), float(((y - x @ weight) ** 2).sum())


def cluster_slopes(x: Floats, y: Floats, clusters: ArrayLike, rng: np.random.Generator, resamples: int) -> Floats:
    """(resamples, p) coefficients of y on x with whole clusters of rows drawn again; none with fewer than two clusters.

    Each resample is a weighted sum of the clusters' x'x and x'y and one small solve. Singular resamples are NaN.
    """
    _, code = np.unique(np.asarray(clusters), return_inverse=True)
    g, p = int(code.max()) + 1, x.shape[1]
    products = np.empty((g, p, p + 1))
    for i in range(p):
        for j, column in enumerate([*x.T, y]):
            products[:, i, j] = np.bincount(code, weights=x[:, i] * column, minlength=g)
    found = [np.empty((0, p))]
    for w in weights(g, resamples, rng):
        total = (w @ products.reshape(g, -1)).reshape(len(w), p, p + 1)
        sound = np.linalg.cond(total[:, :, :p]) < 1e13
        slopes = np.full((len(w), p), math.nan)
        slopes[sound] = np.linalg.solve(total[sound, :, :p], total[sound, :, p:])[..., 0]
        found.append(slopes)
    return np.concatenate(found)


@register(
    "measure",
    "reading_time_slope",
    source="Smith and Levy 2013 (slope of reading time on surprisal); arXiv:2312.00575 (correlation alone)",
    config=ReadingTimeSlope,
    reads="records",
    needs=(
        "surprisal",
        "reading_time",
        *(f"?{name}" for name in CONTROLS),
        "?story",
        "?sentence_start",
    ),
    question="How much longer do people read a word for each bit of the model's surprisal?",
    better="neither",
    range=(-math.inf, math.inf),
    unit="ms a bit",
    not_measured="why a word takes long; a larger slope is not a better model, see delta_loglik",
)
def reading_time_slope(data: Records, rng: np.random.Generator, cfg: ReadingTimeSlope) -> Reading:
    """Slope of mean reading time (ms) on surprisal (bits) with the controls held, by least squares; people show > 0.

        reading_time = b0 + b1 surprisal + controls;   value b1
        delta_loglik = n/2 log(RSS without surprisal / RSS with), nats; a word: divided by n

    All columns (n,), one row a word; `previous_...` are the word before. story (n,) names the text a word is from and
    is what the interval resamples (few stories make it rough); without it words are. sentence_start (n,) not 0 marks
    first words, which are left out. parts: the standardised slope, Pearson's r of the two alone and its absolute
    value (which Brain-Score reports), delta_loglik (how much the model helps to predict reading), r2 with and without.
    """
    controls = [name for name in CONTROLS if name in data.columns] if cfg.controls is None else list(cfg.controls)
    data.rows("surprisal", "reading_time", *controls, *(n for n in ("story", "sentence_start") if n in data.columns))
    kept, why = _usable(data, controls)
    surprisal, y = data.numbers("surprisal")[kept], data.numbers("reading_time")[kept]
    common: dict[str, Any] = {"level": cfg.level, "unit": "ms a bit", "n": len(y), "missing": sum(why.values())}
    common["why"] = why
    if len(y) < max(cfg.minimum, len(controls) + 3):
        return Reading("reading_time_slope", math.nan, **common, note="too few words for this regression")
    design = _scaled(np.stack([surprisal, *(data.numbers(c)[kept] for c in controls)], 1))
    if design is None or not np.ptp(y):
        same = "surprisal, a control or the reading time never varies, or one control is made of the others"
        return Reading("reading_time_slope", math.nan, **common, note=same)
    weight, rss = least_squares(design, y)
    _, rss_controls = least_squares(np.delete(design, 1, axis=1), y)
    unit, total = 1 / surprisal.std(), float(((y - y.mean()) ** 2).sum())
    stories = np.array([s or "" for s in data.words("story")])[kept] if "story" in data.columns else np.arange(len(y))
    slopes = cluster_slopes(design, y, stories, rng, cfg.resamples)[:, 1] * unit
    low, high = middle(slopes, cfg.level)
    r = float(np.corrcoef(surprisal, y)[0, 1])
    gain = len(y) / 2 * math.log(rss_controls / rss) if rss > 0 else math.inf
    parts = {
        "standardised": weight[1] / y.std(),
        "pearson": r,
        "abs_pearson": abs(r),
        "delta_loglik": gain,
        "delta_loglik_per_word": gain / len(y),
        "r2": 1 - rss / total,
        "r2_controls": 1 - rss_controls / total,
        "controls": controls,
    }
    none = math.isnan(low)
    method = "" if none else f"cluster bootstrap over {'stories' if 'story' in data.columns else 'words'}"
    note = "no interval: all words are from one story" if none else ""
    return Reading(
        "reading_time_slope",
        float(weight[1] * unit),
        low,
        high,
        method=method,
        note=note,
        parts=parts,
        **common,
    )


def _usable(data: Records, controls: list[str]) -> tuple[Mask, dict[str, int]]:
    """(n,) mask of rows to use, and what was left out by the first reason that holds."""
    first = np.zeros(len(data["surprisal"]), bool)
    if "sentence_start" in data.columns:
        first = np.nan_to_num(data.numbers("sentence_start")) != 0
    numbers = {"surprisal": "surprisal", "reading_time": "reading time"} | {name: name for name in controls}
    rules = [(f"no {word}", ~np.isfinite(data.numbers(column))) for column, word in numbers.items()]
    if "story" in data.columns:
        rules.append(("no story", bare(data.words("story"))))
    return sieve(("first word of a sentence", first), *rules)


def _scaled(columns: Floats) -> Floats | None:
    """Ones and the standardised columns; None where they do not determine a regression."""
    spread = columns.std(0)
    if not spread.all() or not np.ptp(columns, axis=0).all():
        return None
    design = np.column_stack([np.ones(len(columns)), (columns - columns.mean(0)) / spread])
    return design if np.linalg.matrix_rank(design) == design.shape[1] else None
