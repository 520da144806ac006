"""How many prompts does it take to see a difference of so many points between before and after?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theodolite import stats
from theodolite.errors import UsageError
from theodolite.measures.records import Floats


@dataclass(frozen=True, slots=True)
class Spread:
    """How pass rates vary, for the planner.

    between: share of the variance of one answer that lies between prompts (0: all prompts alike, 1: every prompt always
    or never passes); equals the correlation of two answers to one prompt. correlation: of the prompts' own pass rates
    before and after. rate: pass rate before.
    """

    rate: float
    between: float
    correlation: float


def difference_variance(difference: float, rate: float, k: int, between: float, correlation: float) -> float:
    """Variance over prompts of (mean of k answers after) - (mean of k answers before).

        V = (v + v')(between + (1 - between) / k) - 2 correlation between sqrt(v v'),
        v = rate (1 - rate),  v' the same at rate + difference

    One prompt's answers are independent given the prompt. With between = 0, or correlation = 0 and k = 1, pairing gains
    nothing. `difference_variance(0, 0.5, 1, 0.5, 0.7)` is 0.325 = 0.5 - 0.7 * 0.5 * 0.5.
    """
    before, after = rate * (1 - rate), (rate + difference) * (1 - rate - difference)
    shared = 2 * correlation * between * math.sqrt(before * after)
    return (before + after) * (between + (1 - between) / k) - shared


def prompts_needed(
    difference: float,
    rate: float = 0.5,
    k: int = 1,
    correlation: float = 0.7,
    between: float = 0.5,
    level: float = 0.95,
    power: float = 0.8,
) -> int:
    """Prompts needed to see a change of a pass rate by `difference`, paired by prompt, with k answers each.

        n = ceil(((z_level + z_power) / difference)^2 V)

    difference: a share, 3 points are 0.03; negative for a fall. power: the chance that the interval at `level` excludes
    0 when the true change is this. Normal approximation: below about 20 prompts take it as an order of magnitude.
    between = 0.5 and correlation = 0.7 are guesses in the middle of what our quickstart shows; take yours from a
    pilot with `estimate`. `prompts_needed(0.03)` is 2830.
    """
    for name, value in (("correlation", correlation), ("between", between)):
        if not 0 <= value <= 1:
            raise UsageError(f"{name} must lie between 0 and 1, got {value}.")
    if difference == 0 or not abs(difference) < 1:
        raise UsageError(f"the difference is a share, not 0 and below 1, got {difference}. 3 points are 0.03.")
    if not 0 <= rate <= 1 or not 0 <= rate + difference <= 1:
        raise UsageError(f"a rate of {rate} cannot change by {difference}: both ends must lie between 0 and 1.")
    if k < 1:
        raise UsageError(f"at least one answer a prompt, got {k}.")
    if not 0 < power < 1:
        raise UsageError(f"power is a chance between 0 and 1, got {power}.")
    variance = difference_variance(difference, rate, k, between, correlation)
    return max(2, stats.units_needed(difference, math.sqrt(max(variance, 0.0)), level, power))


def estimate(before: ArrayLike, after: ArrayLike) -> Spread:
    """The planner's three numbers from a pilot: (prompts, k) pass or fail before and after, k >= 2.

    One-way analysis of variance: within = mean variance of the answers of a prompt, between = variance of the prompts'
    means - within / k. The covariance of the means needs no correction, before and after being drawn apart. Estimates
    outside [0, 1] are put on its edge; NaN where nothing varies.
    """
    a, b = np.asarray(before, float), np.asarray(after, float)
    if a.ndim != 2 or a.shape != b.shape or a.shape[0] < 3 or a.shape[1] < 2:
        raise UsageError(
            f"a pilot is two tables, prompts x answers, of one shape with at least 3 x 2, got {a.shape} and {b.shape}."
        )
    parts = [_components(t) for t in (a, b)]
    total, common = sum(x + y for x, y in parts), sum(x for x, _ in parts)
    covariance = float(np.cov(a.mean(1), b.mean(1))[0, 1])
    joint = math.sqrt(max(parts[0][0], 0) * max(parts[1][0], 0))
    return Spread(
        float(a.mean()),
        float(np.clip(common / total, 0, 1)) if total > 0 else math.nan,
        float(np.clip(covariance / joint, 0, 1)) if joint > 0 else math.nan,
    )


def _components(table: Floats) -> tuple[float, float]:
    """(variance between prompts, variance within a prompt) of (prompts, k) answers."""
    within = float(table.var(axis=1, ddof=1).mean())
    return float(table.mean(1).var(ddof=1)) - within / table.shape[1], within
