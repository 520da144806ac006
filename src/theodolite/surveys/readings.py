"""Readings with the value of every item beside them, so that two models can be compared item by item."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from theodolite import stats
from theodolite.types import Better, Reading


def with_items(reading: Reading, items: Mapping[str, float], **parts: Any) -> Reading:
    """The same reading with `parts["items"]` (item -> value whose mean it is, or nearly) and further parts."""
    return replace(reading, parts={**reading.parts, **parts, "items": dict(items)})


def mean_reading(
    name: str,
    items: Mapping[str, float],
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    unit: str = "share",
    better: Better = "higher",
    chance: float | None = None,
    **parts: Any,
) -> Reading:
    """Mean over items: Wilson's interval where every value is 0 or 1, else a bootstrap over items.

    A NaN is a missing item ('no answer could be read'). `chance` is what guessing would reach.
    """
    x = np.array(list(items.values()), float)
    there = x[~np.isnan(x)]
    missing = int(np.isnan(x).sum())
    why = {"no answer could be read": missing} if missing else {}
    parts |= {"items": dict(items)} | ({} if chance is None else {"chance": chance})
    rest: dict[str, Any] = {"unit": unit, "better": better, "missing": missing, "why": why, "parts": parts}
    if len(there) == 0:
        return Reading(name, math.nan, level=level, note="no item has an answer that could be read", **rest)
    yes_no = bool(np.isin(there, (0.0, 1.0)).all())
    span = stats.wilson(float(there.sum()), len(there), level) if yes_no else stats.bootstrap_mean(there, rng, level)
    return Reading(name, float(there.mean()), span.low, span.high, level, span.method, len(there), **rest)
