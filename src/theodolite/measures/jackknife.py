"""Intervals of smooth statistics that are no means: leave out one group of units at a time."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from theodolite.stats import Interval


def grouped_jackknife(
    statistic: Callable[[NDArray[np.bool_]], float], units: int, rng: np.random.Generator, groups: int, level: float
) -> Interval:
    """t interval around statistic(all): variance (G-1)/G sum_g (theta_g - mean)^2, each group of units left out once.

    statistic takes a mask of the units kept. Smooth statistics only. Fewer than three groups give NaN bounds.
    """
    g = min(groups, units)
    part = rng.permutation(units) % max(g, 1)
    left = np.array([statistic(part != i) for i in range(g)])
    centre = statistic(np.ones(units, bool))
    if g < 3 or not np.isfinite([*left, centre]).all():
        return Interval(math.nan, math.nan, level, "")
    half = student.ppf(0.5 + level / 2, g - 1) * math.sqrt((g - 1) / g * ((left - left.mean()) ** 2).sum())
    return Interval(centre - half, centre + half, level, f"jackknife over {g} groups")
