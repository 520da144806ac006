"""Match records: who met whom on which prompt, and who won. Read, counted, resampled by prompt, put in a table."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import rankdata

from theodolite.measures.intervals import blocks, middle
from theodolite.measures.records import Floats, Records, bare, sieve

Ints = NDArray[np.int64]
VERDICTS = {
    "a": 1.0, "model_a": 1.0, "true": 1.0, "win": 1.0,
    "b": 0.0, "model_b": 0.0, "false": 0.0, "loss": 0.0,
    "tie": 0.5, "draw": 0.5, "tie (bothbad)": 0.5, "both": 0.5, "both_bad": 0.5,
}  # fmt: skip
"""words for the outcome of a match, seen from model a; a draw in which both were bad is a draw"""


@dataclass(frozen=True, slots=True)
class Matches:
    """n usable matches between M models.

    a, b: (n,) numbers of the models. outcome: (n,) in [0, 1], 1 where a won, 0.5 for a tie. weight: (n,) >= 0.
    unit: (n,) number of the prompt, or of the row where no prompts are given. row: (n,) rows of the data they come
    from. why: rows left out, by reason.
    """

    models: tuple[str, ...]
    a: Ints
    b: Ints
    outcome: Floats
    weight: Floats
    unit: Ints
    row: Ints
    by_prompt: bool = False
    why: dict[str, int] = field(default_factory=dict)

    @property
    def units(self) -> int:
        return int(self.unit.max()) + 1 if len(self.unit) else 0

    @property
    def resampled(self) -> str:
        return "bootstrap over prompts" if self.by_prompt else "bootstrap over matches"

    def wins(self) -> Floats:
        """(M, M) weighted wins of the row's model over the column's; a tie is half a win for both."""
        return win_matrix(self.a, self.b, self.outcome, self.weight, len(self.models))


def win_matrix(a: Ints, b: Ints, outcome: Floats, weight: Floats, models: int) -> Floats:
    """(M, M) counts: `wins[i, j] = sum of weight * outcome` over matches of i (as a or b) against j."""
    size = models * models
    forth = np.bincount(a * models + b, weights=weight * outcome, minlength=size)
    back = np.bincount(b * models + a, weights=weight * (1 - outcome), minlength=size)
    return (forth + back).reshape(models, models).astype(np.float64)


def verdict(word: Any) -> float:
    """The outcome in [0, 1] that a judge's word or number means; NaN where it is blank, -1 where not understood."""
    text = "" if word is None else str(word).strip().lower()
    if text in ("", "nan", "none", "na", "null"):
        return math.nan
    if text in VERDICTS:
        return VERDICTS[text]
    try:
        number = float(text)
    except ValueError:
        return -1.0
    return number if 0 <= number <= 1 else -1.0


def verdicts(words: Sequence[Any]) -> Floats:
    """`verdict` of every word; each distinct word is read once."""
    known = {w: verdict(w) for w in set(words)}
    return np.array([known[w] for w in words], dtype=np.float64)


def read_matches(data: Records) -> Matches:
    """Matches from the columns model_a, model_b, outcome (or winner), ?prompt, ?weight. Models are sorted by name."""
    column = "winner" if "winner" in data.columns and "outcome" not in data.columns else "outcome"
    rows = data.rows("model_a", "model_b", column, *(c for c in ("prompt", "weight") if c in data.columns))
    a, b, outcome = data.words("model_a"), data.words("model_b"), verdicts(data.words(column))
    weight = data.numbers("weight") if "weight" in data.columns else np.ones(rows)
    prompt = data.words("prompt") if "prompt" in data.columns else None
    ok, why = sieve(
        ("no model name", bare(a) | bare(b)),
        ("a model against itself", [x == y for x, y in zip(a, b)]),
        ("no outcome", np.isnan(outcome)),
        ("outcome not understood", outcome < 0),
        ("no prompt", bare(prompt) if prompt else np.zeros(rows, bool)),
        ("no usable weight", ~(np.isfinite(weight) & (weight >= 0))),
    )
    kept = np.flatnonzero(ok)
    models = tuple(sorted({str(x) for i in kept for x in (a[i], b[i])}))
    number = {m: i for i, m in enumerate(models)}
    a_codes, b_codes = (np.array([number[str(side[i])] for i in kept], np.int64) for side in (a, b))
    unit = np.arange(len(kept))
    if prompt:
        unit = np.unique(np.array([str(prompt[i]) for i in kept], dtype=str), return_inverse=True)[1].astype(np.int64)
    return Matches(models, a_codes, b_codes, outcome[kept], weight[kept], unit, kept, prompt is not None, why)


def unit_wins(m: Matches) -> sparse.csr_array:
    """(M * M, units) win counts of each unit; times weights of units (units, B) it gives B win matrices."""
    return _cells(m.a, m.b, m.outcome, m.weight, m.unit, len(m.models), m.units)


def _cells(
    a: Ints, b: Ints, outcome: Floats, weight: Floats, column: Ints, models: int, columns: int
) -> sparse.csr_array:
    values = np.concatenate([weight * outcome, weight * (1 - outcome)])
    cell = np.concatenate([a * models + b, b * models + a])
    return sparse.coo_array((values, (cell, np.tile(column, 2))), shape=(models * models, columns)).tocsr()


def resampled_wins(m: Matches, resamples: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Blocks (B, M, M) of win counts with the units drawn anew with replacement; B sums to `resamples`.

    Resampling is a draw of multinomial weights for the units, times a sparse matrix units x cells. Where every unit
    is one match, equal matches are one row with a higher chance, so a million matches cost what a few hundred do.
    """
    models, row, chance = len(m.models), m.unit, np.full(m.units, 1 / max(m.units, 1))
    a, b, outcome, weight = m.a, m.b, m.outcome, m.weight
    if m.units == len(m.a):
        table = np.stack([a * models + b, *(np.unique(x, return_inverse=True)[1] for x in (outcome, weight))], axis=1)
        key = (table * np.array([1, models**2, models**2 * (table[:, 1].max() + 1)])).sum(1)
        first, count = np.unique(key, return_index=True, return_counts=True)[1:]
        a, b, outcome, weight = a[first], b[first], outcome[first], weight[first]
        row, chance = np.arange(len(first)), count / m.units
    cells = _cells(a, b, outcome, weight, row, models, len(chance))
    for size in blocks(resamples, max(len(chance), models * models)):
        drawn = rng.multinomial(m.units, chance, size=size)
        yield np.ascontiguousarray((cells @ drawn.T.astype(np.float64)).T).reshape(-1, models, models)


def standings(m: Matches, ratings: Floats, drawn: Floats, level: float) -> list[dict[str, Any]]:
    """One row a model, the best first: rating, its interval, rank, its interval, matches, win rate, share of firsts.

    ratings: (M,). drawn: (B, M) ratings of resamples; with B = 0 the intervals are NaN. `first_share` is the share of
    resamples in which the model comes first. A rank is 1 + the number of better models.
    """
    tails, models = [(1 - level) / 2, (1 + level) / 2], len(m.models)
    span = rank_span = np.full((2, models), math.nan)
    first = np.full(models, math.nan)
    if len(drawn):
        ranks = rankdata(-np.round(drawn, 9), method="min", axis=1)
        span = np.quantile(drawn, tails, axis=0)
        below = np.quantile(ranks, tails[0], axis=0, method="lower")
        rank_span = np.stack([below, np.quantile(ranks, tails[1], axis=0, method="higher")])
        first = (ranks == 1).mean(0)
    rank = rankdata(-np.round(ratings, 9), method="min")
    played = np.bincount(m.a, minlength=models) + np.bincount(m.b, minlength=models)
    won = np.bincount(m.a, m.outcome, minlength=models) + np.bincount(m.b, 1 - m.outcome, minlength=models)
    return [
        {
            "model": m.models[i], "rating": float(ratings[i]), "low": float(span[0, i]), "high": float(span[1, i]),
            "rank": int(rank[i]), "rank_low": float(rank_span[0, i]), "rank_high": float(rank_span[1, i]),
            "matches": int(played[i]), "win_rate": float(won[i] / played[i]), "first_share": float(first[i]),
        }
        for i in np.argsort(-np.round(ratings, 9), kind="stable")
    ]  # fmt: skip


def spearman_rows(x: Floats, y: Floats) -> Floats:
    """(B,) Spearman correlation of the rows of x and y (B or 1, M), ties at average ranks; NaN where a row is constant."""
    p, q = (rankdata(v, axis=1) - (v.shape[1] + 1) / 2 for v in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((p * q).sum(1) / np.sqrt((p * p).sum(1) * (q * q).sum(1)))


def lead(ratings: Floats, drawn: Floats, level: float) -> tuple[float, float, float]:
    """Gap between the best and the second, and the percentile interval of the gap of these two over the resamples."""
    best, second = np.argsort(-np.round(ratings, 9), kind="stable")[:2]
    return float(ratings[best] - ratings[second]), *middle(drawn[:, best] - drawn[:, second], level)
