"""How do sequential Elo ratings stand after these matches? Order matters; averaged over orders on request."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from pydantic import Field
from scipy.special import expit

from theodolite.measures.arenas.matches import Ints, Matches, lead, read_matches, standings
from theodolite.measures.over_units import reading, undefined
from theodolite.measures.records import Floats, Records, Resampled
from theodolite.registry import register
from theodolite.stats import Interval
from theodolite.types import Reading


class Elo(Resampled):
    k: float = Field(4.0, gt=0)
    """most points that one match can move (Chatbot Arena's 4; chess uses 10 to 40)"""
    scale: float = Field(400.0, gt=0)
    """difference in points at which the odds are `base` to 1"""
    base: float = Field(10.0, gt=1)
    """odds at a difference of `scale` points"""
    init: float = 1000.0
    """rating of a model before its first match"""
    permutations: int = Field(0, ge=0)
    """0 plays the matches in the order of the rows; else the mean rating over so many random orders"""
    resamples: int = Field(200, ge=100)
    """bootstrap resamples; each is replayed match by match, all of them side by side"""


def replay(a: Ints, b: Ints, outcome: Floats, models: int, cfg: Elo) -> Floats:
    """(M,) ratings after the matches in this order.

        expected = 1 / (1 + base^((R_b - R_a) / scale)),   R_a += k (outcome - expected),   R_b -= the same

    Two new models at 1000, a wins, k = 4: 1002 and 998.
    """
    rating = [cfg.init] * models
    alpha = math.log(cfg.base) / cfg.scale
    for i, j, won in zip(a.tolist(), b.tolist(), outcome.tolist()):
        gap = alpha * (rating[j] - rating[i])
        expected = 1 / (1 + math.exp(gap)) if gap < 700 else 0.0
        move = cfg.k * (won - expected)
        rating[i] += move
        rating[j] -= move
    return np.array(rating)


def replay_orders(a: Ints, b: Ints, outcome: Floats, orders: Ints, models: int, cfg: Elo) -> Floats:
    """(R, M) ratings after R orders played side by side; orders: (R, L) numbers of matches, -1 for no match."""
    alpha, runs = math.log(cfg.base) / cfg.scale, np.arange(len(orders))
    a, b, outcome = np.append(a, models), np.append(b, models), np.append(outcome, 0.5)  # -1: a dummy ties itself
    rating = np.zeros((len(orders), models + 1))
    for match in np.ascontiguousarray(orders.T):
        i, j = a[match], b[match]
        move = cfg.k * (outcome[match] - expit(alpha * (rating[runs, i] - rating[runs, j])))
        rating[runs, i] += move
        rating[runs, j] -= move
    return cfg.init + rating[:, :models]


def resampled_orders(m: Matches, resamples: int, rng: np.random.Generator, shuffle: bool) -> Ints:
    """(B, L) matches of resampled units, padded with -1; in the order of the rows, or shuffled."""
    drawn = rng.multinomial(m.units, np.full(m.units, 1 / m.units), size=resamples)
    rows = [np.repeat(np.arange(len(m.a)), times[m.unit]) for times in drawn]
    if shuffle:
        rows = [rng.permutation(r) for r in rows]
    orders = np.full((resamples, max(map(len, rows))), -1)
    for i, r in enumerate(rows):
        orders[i, : len(r)] = r
    return orders


@register(
    "measure",
    "elo",
    source="Elo 1978; K = 4, base 10, scale 400, start 1000 as in FastChat (arXiv:2403.04132)",
    config=Elo,
    reads="records",
    needs=("model_a", "model_b", "?outcome", "?winner", "?prompt"),
    question="By how much does the best model lead the second in sequential Elo ratings?",
    better="neither",
    range=(0.0, math.inf),
    unit="Elo points",
    not_measured="the strength itself: with K = 4 and few matches ratings are still on their way; see bradley_terry",
)
def elo(data: Records, rng: np.random.Generator, cfg: Elo) -> Reading:
    """Lead of the best model over the second in Elo points after playing the matches one by one.

    Columns as in bradley_terry, without weight. The order of the rows is the order of play: later matches weigh more.
    With `permutations` the ratings are means over random orders, and parts['order_sd'] is how much order alone moves
    each. The interval resamples prompts (or matches) and replays them: in the order of the rows, or, with
    `permutations`, each resample in one random order as FastChat does, which adds the noise of the order.
    For models that do not change, bradley_terry uses the data better.
    """
    m = read_matches(data)
    rest: dict[str, Any] = {"better": "neither", "why": m.why, "unit": "Elo points"}
    models = len(m.models)
    if models < 2:
        return undefined("elo", "no usable match between two models", cfg, **rest)
    parts: dict[str, Any] = {}
    if cfg.permutations:
        orders = rng.permuted(np.tile(np.arange(len(m.a)), (cfg.permutations, 1)), axis=1)
        played = replay_orders(m.a, m.b, m.outcome, orders, models, cfg)
        ratings = played.mean(0)
        parts["order_sd"] = dict(zip(m.models, played.std(0).tolist()))
    else:
        ratings = replay(m.a, m.b, m.outcome, models, cfg)
    drawn = np.empty((0, models))
    if m.units >= 2:
        orders = resampled_orders(m, cfg.resamples, rng, shuffle=cfg.permutations > 0)
        drawn = replay_orders(m.a, m.b, m.outcome, orders, models, cfg)
    gap, low, high = lead(ratings, drawn, cfg.level)
    parts["table"] = standings(m, ratings, drawn, cfg.level)
    method = f"{m.resampled}, {'random order' if cfg.permutations else 'order kept'}" if len(drawn) else ""
    return reading("elo", gap, Interval(low, high, cfg.level, method), m.units, parts=parts, **rest)
