"""Which model is best, and by how much? The one Bradley-Terry solver of the package, and its measure.

    P(i beats j) = 1 / (1 + exp(theta_j - theta_i))

maximised over all matches at once, so their order does not matter. A tie is half a win for both. On the Elo scale
`rating = 1000 + 400 theta / ln 10`, with sum(theta) = 0: 400 points are odds of 10 to 1, 100 points a win rate of 64 %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field
from scipy.special import expit

from theodolite.errors import CheckFailed, UsageError
from theodolite.measures.arenas.matches import Matches, lead, read_matches, resampled_wins, standings
from theodolite.measures.over_units import reading, undefined
from theodolite.measures.records import Floats, Records, Resampled
from theodolite.registry import register
from theodolite.stats import Interval
from theodolite.types import Reading

RIDGE = 1e-6
"""penalty `ridge/2 sum(theta^2)` where the likelihood alone has no maximum"""
ELO = 400 / math.log(10)
"""Elo points in one unit of theta (natural log-odds)"""


SEPARATED = (
    "some models never lose to some others, so the gaps have no finite maximum-likelihood value: fitted with a ridge of "
    "1e-6; trust the order, not the size"
)


@dataclass(frozen=True, slots=True)
class Strengths:
    """theta: (..., M), sums to 0 over the finite ones. connected: (...) whether every model can be reached from every
    other by a chain of wins; only then has the likelihood a maximum."""

    theta: Floats
    connected: NDArray[np.bool_]


def fit(wins: ArrayLike, ridge: float = 0.0, separated: Literal["ridge", "infinite"] = "ridge") -> Strengths:
    """Strengths from win counts, one table or a batch of them.

    wins: (..., M, M); `wins[i, j]` is how often (or with what weight) i beat j, ties counted half on both sides; the
    diagonal is ignored. ridge: penalty `ridge/2 sum(theta^2)`; 0 is maximum likelihood.
    separated: what to do where the graph of wins is not strongly connected and the likelihood has no maximum.
    'ridge' fits with at least 1e-6, which keeps the order and makes the gaps large but finite. 'infinite' gives models
    that never lost +inf, models that never won -inf, models without a match NaN, and fits the rest among themselves
    (with 1e-6, since taking a layer off can separate the rest again).
    Returns natural-log strengths. `fit([[0, 3], [1, 0]]).theta` is (+0.5493, -0.5493) = +-ln(3)/2.
    """
    table = np.array(wins, dtype=np.float64)
    if table.ndim < 2 or table.shape[-1] != table.shape[-2]:
        raise UsageError(f"win counts must be square, models x models, got an array of shape {table.shape}.")
    if not np.all(np.isfinite(table)) or np.any(table < 0):
        raise UsageError("win counts must be finite and not negative.")
    models = table.shape[-1]
    table[..., np.arange(models), np.arange(models)] = 0
    connected = strongly_connected(table)
    penalty = np.where(connected, ridge, max(ridge, RIDGE))
    if separated == "ridge":
        return Strengths(_newton(table, penalty), connected)
    won, lost = table.sum(-1), table.sum(-2)
    inner = (won > 0) & (lost > 0)
    theta = _newton(table * (inner[..., :, None] & inner[..., None, :]), penalty)
    ends = np.where(won > 0, np.inf, np.where(lost > 0, -np.inf, np.nan))
    return Strengths(np.where(inner, theta, ends), connected)


def strongly_connected(wins: Floats) -> NDArray[np.bool_]:
    """(...) whether the graph of wins (..., M, M) is strongly connected, by squaring the reachability matrix."""
    models = wins.shape[-1]
    reach = ((wins > 0) | np.eye(models, dtype=bool)).astype(np.float32)
    for _ in range(max(models - 1, 1).bit_length()):
        reach = (reach @ reach > 0).astype(np.float32)
    return np.asarray(np.all(reach > 0, axis=(-1, -2)))


def bootstrap(m: Matches, rng: np.random.Generator, resamples: int, ridge: float = 0.0) -> tuple[Floats, float]:
    """(B, M) strengths of resampled units, by one batched Newton, and the share of resamples that are separated.

    Fewer than two units give B = 0. Separated resamples are fitted with the ridge of `fit`.
    """
    if m.units < 2:
        return np.empty((0, len(m.models))), math.nan
    made = [fit(block, ridge) for block in resampled_wins(m, resamples, rng)]
    return np.concatenate([s.theta for s in made]), float(1 - np.concatenate([s.connected for s in made]).mean())


def _newton(wins: Floats, ridge: Floats) -> Floats:
    """Maximise sum_ij wins_ij log sigmoid(theta_i - theta_j) - ridge/2 |theta|^2 for a whole batch.

    The step of M-1 free parameters: the singular direction (1, ..., 1) is filled so that each solution sums to 0. A
    step that changes differences by up to d is shortened by log(1+d)/d: since the third derivative of log sigmoid
    is at most its second, every such step gains, without a line search (Bach 2010, self-concordance of logistic
    losses), and the factor tends to 1, so convergence stays quadratic.
    """
    shape, models = wins.shape[:-1], wins.shape[-1]
    wins = wins.reshape(-1, models, models)
    ridge = np.broadcast_to(ridge, shape[:-1]).reshape(-1)
    theta = np.zeros((len(wins), models))
    if models < 2:
        return theta.reshape(shape)
    met, won, each = wins + wins.transpose(0, 2, 1), wins.sum(-1), np.arange(models)
    size = met.sum((-1, -2)) / 2
    left = np.flatnonzero(size > 0)
    for _ in range(200):
        if not len(left):
            return np.asarray((theta - theta.mean(-1, keepdims=True)).reshape(shape))
        here, n = theta[left], met[left]
        p = expit(here[:, :, None] - here[:, None, :])
        slope = won[left] - (n * p).sum(-1) - ridge[left, None] * here
        curve = -n * p * p.transpose(0, 2, 1)
        diagonal = -curve.sum(-1)
        curve += (diagonal.mean(-1) / models)[:, None, None]
        curve[:, each, each] += diagonal + ridge[left, None]
        step = np.linalg.solve(curve, slope[..., None])[..., 0]
        reach = step.max(-1) - step.min(-1)
        theta[left] = here + step * np.where(reach > 0, np.log1p(reach) / np.maximum(reach, 1e-300), 1)[:, None]
        gain = (slope * step).sum(-1)
        left = left[(reach > 1e-7) & (gain > 1e-18 * size[left])]
    raise CheckFailed("the Bradley-Terry fit did not converge in 200 Newton steps; are the weights of like size?")


class BradleyTerry(Resampled):
    ridge: float = Field(0.0, ge=0)
    """penalty ridge/2 sum(theta^2) on natural-log strengths; 0 is maximum likelihood (where it exists, else 1e-6)"""


@register(
    "measure",
    "bradley_terry",
    source="Bradley and Terry 1952; ties half and the bootstrap as in Chatbot Arena, arXiv:2403.04132",
    config=BradleyTerry,
    reads="records",
    needs=("model_a", "model_b", "?outcome", "?winner", "?prompt", "?weight"),
    question="Which model wins the comparisons, and by how much does it lead the second?",
    better="neither",
    range=(0.0, math.inf),
    unit="Elo points",
    not_measured="whether the judge is right; strengths that depend on the prompt; cycles (a beats b beats c beats a)",
)
def bradley_terry(data: Records, rng: np.random.Generator, cfg: BradleyTerry) -> Reading:
    """Lead of the best model over the second in Elo points, from Bradley-Terry strengths of all matches.

    Columns: model_a, model_b, outcome (1 or 'a' or 'model_a': a wins; 0, 'b', 'model_b': b wins; 0.5, 'tie',
    'tie (bothbad)': a tie; a number between is a probability) or winner, ?prompt (matches of one prompt are resampled
    together), ?weight.
    The interval is the percentile bootstrap of the gap between these two models; where it reaches below 0, who leads
    is not settled. parts['table']: every model's rating (1000 + 400 theta / ln 10, mean 1000), rank, intervals of
    both, matches, win rate, share of resamples in which it comes first. parts['separated_resamples']: share of
    resamples without a finite maximum, fitted with a ridge of 1e-6.
    Neighbours: FastChat's fit is the same maximum likelihood, its intervals resample matches, ours prompts where they
    are given. scikit-learn's LogisticRegression(C) without intercept is `ridge = 1 / C`.
    """
    m = read_matches(data)
    rest: dict[str, Any] = {"better": "neither", "why": m.why, "unit": "Elo points"}
    if len(m.models) < 2 or not m.weight.any():
        return undefined("bradley_terry", "no usable match between two models", cfg, **rest)
    found = fit(m.wins(), cfg.ridge)
    drawn, separated = bootstrap(m, rng, cfg.resamples, cfg.ridge)
    ratings, spread = 1000 + ELO * found.theta, 1000 + ELO * drawn
    gap, low, high = lead(ratings, spread, cfg.level)
    note = "" if found.connected else SEPARATED
    parts: dict[str, Any] = {
        "table": standings(m, ratings, spread, cfg.level),
        "connected": bool(found.connected),
        "separated_resamples": separated,
    }
    span = Interval(low, high, cfg.level, m.resampled if len(drawn) else "")
    return reading("bradley_terry", gap, span, m.units, note=note, parts=parts, **rest)
