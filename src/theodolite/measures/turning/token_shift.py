"""At how many positions does an aligned model choose a token that its base model would not?"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from theodolite import stats
from theodolite.errors import DataError, UsageError
from theodolite.measures.intervals import ratio_percentiles
from theodolite.measures.over_units import reading, undefined
from theodolite.measures.records import Floats, Records, Resampled, bare, sieve
from theodolite.registry import register
from theodolite.stats import Interval
from theodolite.types import Reading

Ties = Literal["optimistic", "average", "pessimistic"]
MARGINAL = 3
"""ranks above 1 and up to this are marginal, ranks beyond it shifted (arXiv:2312.01552 section 2.2)"""
CLASSES = ("unshifted", "marginal", "shifted")


class TokenShift(Resampled):
    most: int = Field(20, ge=0)
    """how many of the most often shifted tokens to name, where the data has `token`"""


def base_ranks(
    logits: ArrayLike, chosen: ArrayLike, ties: Ties = "optimistic", vocabulary: int | None = None
) -> Floats:
    """(T,) rank of the chosen token among the base model's logits, 1 = the base model's own first choice.

        optimistic: 1 + #{larger}; average: 1 + #{larger} + #{equal others}/2; pessimistic: 1 + #{larger or equal others}

    logits: (T, V), chosen: (T,) ids. No sorting; rows in blocks. vocabulary: ids that both models share, where one is
    padded to more. Adding a constant to a row changes nothing. A uniform row gives 1, (V + 1)/2 or V.
    """
    table, ids = _shared(logits, vocabulary), _ids(chosen, logits, vocabulary)
    found = np.empty(len(ids))
    for rows in _blocks(table):
        own = table[rows][np.arange(len(ids[rows])), ids[rows]][:, None]
        larger, equal = (table[rows] > own).sum(1), (table[rows] == own).sum(1) - 1
        found[rows] = 1 + larger + {"optimistic": 0.0, "average": 0.5, "pessimistic": 1.0}[ties] * equal
    return found


def token_kl(aligned: ArrayLike, base: ArrayLike, vocabulary: int | None = None) -> Floats:
    """(T,) KL(aligned || base) in nats of the next-token distributions of two (T, V) logits, over the shared ids."""
    a, b = _shared(aligned, vocabulary), _shared(base, vocabulary)
    if a.shape != b.shape:
        raise UsageError(
            f"logits must have one shape, got {a.shape} and {b.shape}; name the shared ids in 'vocabulary'."
        )
    found = np.empty(len(a))
    for rows in _blocks(a):
        p, q = (_log_softmax(x[rows]) for x in (a, b))
        weight = np.exp(p)
        with np.errstate(invalid="ignore"):
            found[rows] = np.where(weight > 0, weight * (p - q), 0.0).sum(1)
    return found


def classes(rank: ArrayLike) -> np.ndarray:
    """0 unshifted (rank 1), 1 marginal (above 1, up to 3), 2 shifted (above 3)."""
    r = np.asarray(rank, float)
    return (r > 1).astype(int) + (r > MARGINAL)


@register(
    "measure",
    "token_shift",
    source="arXiv:2312.01552 section 2 (three classes of positions, by the rank under the base model)",
    config=TokenShift,
    reads="records",
    needs=("rank", "?position", "?kl", "?p_base", "?prompt", "?token"),
    question="At what share of positions would the base model not have come to the aligned model's token?",
    better="neither",
    range=(0.0, 1.0),
    unit="share",
    not_measured="whether the shifted tokens make the answer better",
)
def token_shift(data: Records, rng: np.random.Generator, cfg: TokenShift) -> Reading:
    """Share of positions whose greedy token under the aligned model has rank above 3 under the base model.

    rank: (n,) from 1 upwards, one row a position of an answer, the base model given the same text (`base_ranks`). The
    end of the turn is a position. parts: shares of unshifted (1), marginal (2-3) and shifted (above 3), which sum to 1;
    by_position over doubling ranges of `position` (from 0); mean kl and p_base where given; tokens, those most often
    shifted. prompt (n,) names the answer and is what the interval resamples; without it each position counts as
    independent, which it is not. The paper reports 5-8 % shifted, most of them early.
    """
    rank = data.numbers("rank")
    given = [c for c in ("position", "kl", "p_base", "prompt", "token") if c in data.columns]
    data.rows("rank", *given)
    if (rank < 1).any():
        raise DataError(f"ranks count from 1, the base model's first choice, got {float(np.nanmin(rank)):g}.")
    prompt = data.words("prompt") if "prompt" in data.columns else None
    ok, why = sieve(("no rank", np.isnan(rank)), ("no prompt", bare(prompt) if prompt else np.zeros(len(rank), bool)))
    kind = classes(rank[ok])
    n = len(kind)
    if not n:
        return undefined("token_shift", "no position has a rank", cfg, "neither", why, unit="share")
    shares = np.bincount(kind, minlength=3) / n
    parts: dict[str, Any] = {name: float(v) for name, v in zip(CLASSES, shares, strict=True)} | {"positions": n}
    for name in ("kl", "p_base"):
        if name in data.columns:
            parts[name] = _known_mean(data.numbers(name)[ok])
    if "position" in data.columns:
        parts["by_position"] = by_position(data.numbers("position")[ok], kind)
    if "token" in data.columns:
        tokens = np.array([t or "" for t in data.words("token")])[ok]
        parts["tokens"] = _most_shifted(tokens[kind == 2], cfg.most)
    value = float(shares[2])
    rest: dict[str, Any] = {"better": "neither", "why": why, "unit": "share", "parts": parts}
    if prompt is None:
        note = "positions counted as independent: name each answer in 'prompt'"
        span = stats.wilson(float((kind == 2).sum()), n, cfg.level)
        return reading("token_shift", value, span, n, note=note, **rest)
    answers, code = np.unique(np.array([p or "" for p in prompt])[ok], return_inverse=True)
    shifted, size = np.bincount(code, weights=kind == 2), np.bincount(code)
    low, high = ratio_percentiles(shifted, size, rng, cfg.level, cfg.resamples)
    method = "bootstrap over prompts" if not math.isnan(low) else ""
    return reading("token_shift", value, Interval(low, high, cfg.level, method), len(answers), **rest)


def by_position(position: Floats, kind: np.ndarray) -> list[dict[str, float]]:
    """Shares of the three classes at positions 0, 1, 2-3, 4-7, 8-15, ... (counted from 0); unknown positions are out."""
    ok = position >= 0
    at, kind = np.floor(np.log2(np.maximum(position[ok], 0.5))).astype(int) + 1, kind[ok]
    rows = []
    for k in np.unique(at):
        here = kind[at == k]
        shares = np.bincount(here, minlength=3) / len(here)
        first, last = (0, 0) if k == 0 else (2 ** (k - 1), 2**k - 1)
        rows.append(
            {"from": int(first), "to": int(last), "n": len(here)} | dict(zip(CLASSES, shares.tolist(), strict=True))
        )
    return rows


def _most_shifted(tokens: np.ndarray, most: int) -> dict[str, int]:
    names, count = np.unique(tokens, return_counts=True)
    return {str(names[i]): int(count[i]) for i in np.lexsort((names, -count))[:most]}


def _known_mean(x: Floats) -> float:
    x = x[~np.isnan(x)]
    return float(x.mean()) if len(x) else math.nan


def _shared(logits: ArrayLike, vocabulary: int | None) -> np.ndarray:
    table = np.asarray(logits)
    if table.ndim != 2:
        raise UsageError(f"logits must be (positions, vocabulary), got shape {table.shape}.")
    return table[:, :vocabulary]


def _ids(chosen: ArrayLike, logits: ArrayLike, vocabulary: int | None) -> np.ndarray:
    ids, (rows, width) = np.asarray(chosen), _shared(logits, vocabulary).shape
    if ids.shape != (rows,) or (ids < 0).any() or (ids >= width).any():
        raise UsageError(f"'chosen' must hold {rows} token ids from 0 to {width - 1}, got shape {ids.shape}.")
    return ids


def _blocks(table: np.ndarray) -> list[slice]:
    step = max(1, 4_000_000 // max(table.shape[1], 1))
    return [slice(a, a + step) for a in range(0, len(table), step)]


def _log_softmax(x: np.ndarray) -> Floats:
    y = np.asarray(x, float) - x.max(1, keepdims=True)
    return np.asarray(y - np.log(np.exp(y).sum(1, keepdims=True)))
