"""A share or a mean over independent units as a Reading, with what was left out counted under its reason."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theodolite import stats
from theodolite.measures.records import Options
from theodolite.stats import Floats, Interval
from theodolite.types import Better, Reading

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


def sieve(*rules: tuple[str, ArrayLike]) -> tuple[Mask, dict[str, int]]:
    """(kept, why): rows that no rule names, and how many each rule took away.

    rules: (reason, (n,) bool, true where the row cannot be used). A row counts once, under the first that names it.
    """
    kept = np.ones(np.size(rules[0][1]), bool)
    why: dict[str, int] = {}
    for reason, bad in rules:
        hit = kept & np.asarray(bad, bool)
        if hit.any():
            why[reason] = why.get(reason, 0) + int(hit.sum())
        kept &= ~hit
    return kept, why


def codes(names: Sequence[Any]) -> tuple[list[Any], Integers]:
    """The distinct names in order of first appearance, and the number of each row's name among them."""
    number: dict[Any, int] = {}
    found = np.array([number.setdefault(name, len(number)) for name in names], dtype=np.int64)
    return list(number), found


def groups(names: Sequence[str | None]) -> list[tuple[str, Integers]]:
    """(name, row numbers) of each distinct name, names sorted. Rows whose name is None are in no group."""
    distinct, code = codes(names)
    return [(distinct[i], np.flatnonzero(code == i)) for i in sorted(_named(distinct), key=lambda i: distinct[i])]


def _named(distinct: Sequence[Any]) -> list[int]:
    return [i for i, name in enumerate(distinct) if name is not None]


def bare(words: Sequence[str | None]) -> Mask:
    """(n,) bool, true where there is no word."""
    return np.array([w is None for w in words], bool)


def weights(n: int, resamples: int, rng: np.random.Generator, rows: int = 0) -> Iterator[Floats]:
    """Bootstrap counts of n units in blocks (b, n): each line sums to n, the b add up to `resamples`.

    A block has at most ~4 million numbers, also when spread to `rows` rows of data. Fewer than two units give none.
    """
    if n < 2:
        return
    block = max(1, min(resamples, 4_000_000 // max(n, rows)))
    for start in range(0, resamples, block):
        yield rng.multinomial(n, np.full(n, 1 / n), size=min(block, resamples - start)).astype(np.float64)


def percentile(draws: ArrayLike, cfg: Options, method: str) -> Interval:
    """The percentile interval of resampled values; undefined ones are left out, fewer than half defined gives NaN."""
    x = np.asarray(draws, float)
    kept = x[~np.isnan(x)]
    if len(kept) < max(2, len(x) / 2):
        return Interval(math.nan, math.nan, cfg.level, method)
    low, high = np.quantile(kept, [(1 - cfg.level) / 2, (1 + cfg.level) / 2])
    return Interval(float(low), float(high), cfg.level, method)


def row(value: float, span: Interval, n: int, **rest: Any) -> dict[str, Any]:
    """One line of `parts`."""
    return {**rest, "value": value, "low": span.low, "high": span.high, "n": n}


def share_row(k: float, n: int, cfg: Options, **rest: Any) -> dict[str, Any]:
    """One line of `parts`: k of n with its Wilson interval; NaN where n is 0."""
    return row(k / n if n else math.nan, stats.wilson(k, n, cfg.level), n, **rest)


def undefined(name: str, note: str, cfg: Options, better: Better, why: Mapping[str, int], **rest: Any) -> Reading:
    return Reading(
        name, math.nan, level=cfg.level, note=note, better=better, missing=sum(why.values()), why=dict(why), **rest
    )


def reading(
    name: str, value: float, span: Interval, n: int, *, better: Better, why: Mapping[str, int], **rest: Any
) -> Reading:
    return Reading(
        name,
        value,
        span.low,
        span.high,
        span.level,
        span.method,
        n,
        missing=sum(why.values()),
        why=dict(why),
        better=better,
        **rest,
    )


def share(
    name: str, k: float, n: int, cfg: Options, *, better: Better, why: Mapping[str, int], empty: str, **rest: Any
) -> Reading:
    """k of n units with Wilson's interval; NaN with the note `empty` where n is 0."""
    if n == 0:
        return undefined(name, empty, cfg, better, why, **rest)
    return reading(name, k / n, stats.wilson(k, n, cfg.level), n, better=better, why=why, **rest)


def mean(
    name: str,
    values: ArrayLike,
    rng: np.random.Generator,
    cfg: Options,
    *,
    better: Better,
    why: Mapping[str, int],
    empty: str,
    units: str = "units",
    **rest: Any,
) -> Reading:
    """The mean of independent units' values with a percentile bootstrap; NaN with the note `empty` without any."""
    x = np.asarray(values, float)
    if x.size == 0:
        return undefined(name, empty, cfg, better, why, **rest)
    span = stats.bootstrap_mean(x, rng, cfg.level, cfg.resamples)
    span = Interval(span.low, span.high, span.level, f"bootstrap over {units}")
    return reading(name, float(x.mean()), span, len(x), better=better, why=why, **rest)


def mean_row(x: Floats, rng: np.random.Generator, cfg: Options, **rest: Any) -> dict[str, Any]:
    """One line of `parts`: a mean with its bootstrap interval; NaN where there is nothing."""
    value = float(x.mean()) if len(x) else math.nan
    return row(value, stats.bootstrap_mean(x, rng, cfg.level, cfg.resamples), len(x), **rest)


def take(names: Sequence[Any], rows: Integers) -> list[Any]:
    """The names at these row numbers."""
    return [names[i] for i in rows]
