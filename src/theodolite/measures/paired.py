"""Before, after and their paired difference: the three Readings of anything measured prompt by prompt."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from theodolite import stats
from theodolite.measures.evidence import Evidence
from theodolite.types import Better, Example, Reading, Response


def paired(
    name: str,
    before: Sequence[Sequence[float]],
    after: Sequence[Sequence[float]],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    unit: str = "",
    better: Better = "neither",
    parts: Mapping[str, Any] | None = None,
    missing: Mapping[str, int] | None = None,
) -> list[Reading]:
    """`name.before`, `name.after`, `name.difference` (after minus before) from K values a prompt on each side.

    The unit is the prompt: values of one prompt are averaged first. One yes/no value a prompt gets the exact
    McNemar test and Newcombe's interval, everything else a paired bootstrap over prompts and a sign-flip test.
    A NaN value is missing and counted; a prompt without a value on either side is left out of the difference.
    """
    if len(before) != len(after):
        raise ValueError(f"paired data need the same prompts on both sides, got {len(before)} and {len(after)}")
    why = dict(missing or {})
    unscored = sum(math.isnan(v) for side in (before, after) for row in side for v in row)
    if unscored:
        why["value missing"] = why.get("value missing", 0) + unscored
    b, a = (np.array([_mean(row) for row in side], float) for side in (before, after))
    ok = ~(np.isnan(a) | np.isnan(b))
    single = _binary(before) and _binary(after)
    common: dict[str, Any] = {"level": level, "unit": unit, "missing": sum(why.values()), "why": why}
    return [
        _one(f"{name}.before", b, _binary(before), rng, {**common, "better": better}),
        _one(f"{name}.after", a, _binary(after), rng, {**common, "better": better}),
        _difference(
            f"{name}.difference", a[ok], b[ok], single, rng, {**common, "better": better, "parts": parts or {}}
        ),
    ]


def _binary(side: Sequence[Sequence[float]]) -> bool:
    """One yes or no a prompt."""
    return all(len(row) == 1 and row[0] in (0.0, 1.0) for row in side)


def _one(name: str, x: np.ndarray, single: bool, rng: np.random.Generator, rest: dict[str, Any]) -> Reading:
    x = x[~np.isnan(x)]
    if len(x) == 0:
        return Reading(name, math.nan, note="no prompt has a value", **rest)
    level = rest["level"]
    span = stats.wilson(float(x.sum()), len(x), level) if single else stats.bootstrap_mean(x, rng, level)
    return Reading(name, float(x.mean()), span.low, span.high, method=span.method, n=len(x), **rest)


def _difference(
    name: str, a: np.ndarray, b: np.ndarray, single: bool, rng: np.random.Generator, rest: dict[str, Any]
) -> Reading:
    n, level = len(a), rest["level"]
    if n == 0:
        return Reading(name, math.nan, note="no prompt has a value on both sides", **rest)
    if single:
        both, neither = int(np.sum((a == 1) & (b == 1))), int(np.sum((a == 0) & (b == 0)))
        up, down = int(np.sum(a > b)), int(np.sum(a < b))
        span, p = stats.newcombe_paired(both, up, down, neither, level), stats.mcnemar(up, down)
        method = "newcombe-paired, exact McNemar"
    else:
        span, p = stats.paired_bootstrap(a, b, rng, level), stats.sign_flip(a - b, rng)
        method = "paired bootstrap over prompts, sign-flip test"
    return Reading(name, float(np.mean(a - b)), span.low, span.high, method=method, n=n, p_value=p, **rest)


def sampled(
    name: str,
    evidence: Evidence,
    value: Callable[[Response], float],
    rng: np.random.Generator,
    **rest: Any,
) -> list[Reading]:
    """`paired` over a number read off each sampled response."""

    def column(side: Sequence[Example]) -> list[list[float]]:
        return [[value(r) for r in e.responses] for e in side]

    return paired(name, column(evidence.before), column(evidence.after), rng, level=evidence.level, **rest)


def _mean(row: Sequence[float]) -> float:
    kept = [v for v in row if not math.isnan(v)]
    return sum(kept) / len(kept) if kept else math.nan
