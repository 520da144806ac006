"""How sure is the ranking that came out of these tournaments? Single elimination on every prompt, pooled.

One bracket a prompt: M-1 matches whatever M (a full round robin needs M(M-1)/2, an outside anchor M). Strong models
play up to ceil(log2 M) matches a prompt, first-round losers one, so precision sits at the top of the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from theodolite.errors import UsageError
from theodolite.measures.arenas.bradley_terry import ELO, SEPARATED, bootstrap, fit
from theodolite.measures.arenas.matches import Ints, Matches, read_matches, spearman_rows, standings, unit_wins, verdict
from theodolite.measures.intervals import middle
from theodolite.measures.records import Floats, Records, Resampled
from theodolite.registry import register
from theodolite.types import Reading

Match = tuple[str, str, str]
"""prompt, the model shown first, the model shown second"""
Judge = Callable[[Sequence[Match]], Sequence[Any]]
"""asked a whole round at once; for each match 1, 'a' (the first is better), 0, 'b', 0.5, 'tie', None (no answer)"""
Columns = dict[str, list[Any]]


def matches_per_prompt(models: int, design: Literal["tournament", "anchored", "round_robin"]) -> int:
    """Matches that one prompt costs: M-1, M (anchor outside the M models; M-1 with one of them), M(M-1)/2."""
    return {"tournament": models - 1, "anchored": models, "round_robin": models * (models - 1) // 2}[design]


def bracket(models: int, prompts: int, rng: np.random.Generator) -> Ints:
    """(prompts, 2^ceil(log2 M)) random brackets: numbers of models, neighbours 2i and 2i+1 meet; -1 is a bye.

    Byes stand second in their pair and never meet each other; who gets one, and where, is uniform.
    """
    if models < 1:
        raise UsageError(f"a bracket needs at least one model, got {models}.")
    slots = 1 << (models - 1).bit_length()
    order = rng.permuted(np.tile(np.arange(models), (prompts, 1)), axis=1)
    half, byes = slots // 2, slots - models
    if not half:
        return order
    pairs = np.full((prompts, half, 2), -1)
    pairs[:, :, 0] = order[:, :half]
    pairs[:, byes:, 1] = order[:, half:]
    place = rng.permuted(np.tile(np.arange(half), (prompts, 1)), axis=1)
    return np.take_along_axis(pairs, place[:, :, None], 1).reshape(prompts, slots)


def play(judge: Judge, prompts: Sequence[str], models: Sequence[str], rng: np.random.Generator) -> Columns:
    """Match records of a single-elimination tournament of all models on every prompt, X (M-1) matches in all.

    Columns: prompt, model_a (shown first), model_b, outcome, round (from 1), advanced (who went on). All brackets
    advance together, so the judge is asked ceil(log2 M) times, for a whole round each, plus once a round for ties.
    Tie rule: a tie, or no answer, is asked again in the other order; a second tie is settled by a coin. The outcome
    is that of the first answer with a winner, 0.5 where both were ties, None where neither was an answer. Since
    places in the bracket are random, so is the order of presentation.
    """
    if len(set(models)) != len(models) or len(set(prompts)) != len(prompts):
        raise UsageError("every model and every prompt must be named once; a name stands twice.")
    columns: Columns = {k: [] for k in ("prompt", "model_a", "model_b", "outcome", "round", "advanced")}
    slots, number = bracket(len(models), len(prompts), rng), 0
    while slots.shape[1] > 1:
        number += 1
        a, b = slots[:, 0::2], slots[:, 1::2]
        row, place = np.nonzero(b >= 0)
        ends = zip(row.tolist(), a[row, place].tolist(), b[row, place].tolist())
        asked = [(prompts[r], models[x], models[y]) for r, x, y in ends]
        outcome = _ask(judge, asked)
        again = np.flatnonzero(np.isnan(outcome) | (outcome == 0.5))
        second = 1 - _ask(judge, [(p, y, x) for p, x, y in (asked[i] for i in again)])
        outcome[again] = np.where(np.isnan(second), outcome[again], second)
        open_ = np.isnan(outcome) | (outcome == 0.5)
        first = np.where(open_, rng.random(len(outcome)) < 0.5, outcome > 0.5)
        slots = a.copy()
        slots[row, place] = np.where(first, a[row, place], b[row, place])
        for (prompt, x, y), said, won in zip(asked, outcome.tolist(), first.tolist()):
            found = (prompt, x, y, None if math.isnan(said) else said, number, x if won else y)
            for name, value in zip(columns, found):
                columns[name].append(value)
    return columns


def play_anchored(
    judge: Judge, prompts: Sequence[str], models: Sequence[str], anchor: str, rng: np.random.Generator
) -> Columns:
    """Match records of every model against one anchor on every prompt, in random presentation order.

    X M matches for an outside anchor, X (M-1) where the anchor is one of the models. Asked all at once.
    """
    pairs = [(p, m, anchor) for p in prompts for m in models if m != anchor]
    flip = rng.random(len(pairs)) < 0.5
    asked = [(p, y, x) if f else (p, x, y) for (p, x, y), f in zip(pairs, flip)]
    said = [None if math.isnan(o) else o for o in _ask(judge, asked).tolist()]
    named = dict(zip(("prompt", "model_a", "model_b"), (list(c) for c in zip(*asked))))
    return (named or {"prompt": [], "model_a": [], "model_b": []}) | {"outcome": said}


def _ask(judge: Judge, asked: Sequence[Match]) -> Floats:
    if not asked:
        return np.empty(0)
    said = [verdict(v) for v in judge(asked)]
    if len(said) != len(asked):
        raise UsageError(f"the judge was asked about {len(asked)} matches and answered {len(said)}; one each, please.")
    if any(v < 0 for v in said):
        raise UsageError(
            "a judge must answer 1, 0, 0.5, a word such as 'a', 'b', 'tie', or None; it said something else."
        )
    return np.array(said, dtype=np.float64)


@register(
    "measure",
    "tournament",
    source="arXiv:2411.01281 (Varco Arena): pooled single elimination, Bradley-Terry; the reliability is ours",
    config=Resampled,
    reads="records",
    needs=("prompt", "model_a", "model_b", "?outcome", "?winner", "?round", "?weight"),
    question="How alike would the ranking be on other prompts of this kind?",
    better="higher",
    range=(-1.0, 1.0),
    unit="rank correlation",
    not_measured="whether the judge is right: a judge with a steady bias gives a very reliable wrong ranking",
)
def tournament(data: Records, rng: np.random.Generator, cfg: Resampled) -> Reading:
    """Mean Spearman correlation between the ranking from all prompts and the rankings from resampled prompts.

    Columns as in bradley_terry, but prompt is needed; ?round (1, 2, ...) where a knock-out was played. Any design may
    be read, not only brackets. Strengths by Bradley-Terry. 1: the ranking does not depend on the draw of prompts.
    The interval holds the middle of the resampled correlations. Since resamples share prompts with the whole, the
    value flatters; parts['split_half'] does not: the mean correlation r of the rankings of two random halves, raised to
    full length by Spearman-Brown, 2r / (1 + r).
    parts: table (ratings, ranks, intervals, matches: unequal by design), settled_pairs (share of pairs of models whose
    order holds in `level` of the resamples, two-sided), brackets (prompts with exactly M-1 matches), matches_by_round,
    titles (share of prompts won, where rounds are given; a tied final counts half for each).
    """
    m = read_matches(data)
    base: dict[str, Any] = {
        "level": cfg.level, "missing": sum(m.why.values()), "why": m.why, "unit": "rank correlation", "better": "higher",
    }  # fmt: skip
    if len(m.models) < 2 or not m.weight.any():
        return Reading("tournament", math.nan, note="no usable match between two models", **base)
    if m.units < 2:
        return Reading("tournament", math.nan, n=m.units, note="one prompt says nothing about other prompts", **base)
    found = fit(m.wins())
    drawn, separated = bootstrap(m, rng, cfg.resamples)
    alike = spearman_rows(np.round(found.theta, 6)[None], np.round(drawn, 6))
    alike = alike[~np.isnan(alike)]
    if not len(alike):
        return Reading("tournament", math.nan, n=m.units, note="all models are equal: there is no ranking", **base)
    low, high = middle(alike, cfg.level)
    parts: dict[str, Any] = {
        "table": standings(m, 1000 + ELO * found.theta, 1000 + ELO * drawn, cfg.level),
        "split_half": split_half(m, rng),
        "settled_pairs": settled(drawn, cfg.level),
        "brackets": int(np.sum(_size_of_field(m) - 1 == np.bincount(m.unit))),
        "connected": bool(found.connected),
        "separated_resamples": separated,
    } | (_rounds(data, m) if "round" in data.columns else {})
    return Reading(
        "tournament", float(alike.mean()), low, high, method=m.resampled, n=m.units,
        note="" if found.connected else SEPARATED, parts=parts, **base,
    )  # fmt: skip


def split_half(m: Matches, rng: np.random.Generator, splits: int = 200) -> float:
    """Spearman-Brown corrected mean rank correlation of strengths from two random halves of the prompts."""
    size = len(m.models)
    half = rng.permuted(np.tile(np.arange(m.units) % 2, (splits, 1)), axis=1)
    tables = (unit_wins(m) @ np.concatenate([half, 1 - half]).T.astype(np.float64)).T.reshape(2, splits, size, size)
    theta = np.round(fit(tables).theta, 6)
    r = spearman_rows(theta[0], theta[1])
    mean = float(np.mean(r[~np.isnan(r)])) if np.any(~np.isnan(r)) else math.nan
    return 2 * mean / (1 + mean) if mean > -1 else -1.0


def settled(drawn: Floats, level: float) -> float:
    """Share of pairs of models that stand in one order in at least (1 + level) / 2 of the resamples."""
    i, j = np.triu_indices(drawn.shape[1], 1)
    above = np.array([(drawn[:, x] > drawn[:, y]).mean() for x, y in zip(i, j)])
    return float(np.mean(np.maximum(above, 1 - above) >= (1 + level) / 2))


def _size_of_field(m: Matches) -> Ints:
    """(units,) number of different models on each prompt."""
    pairs = np.unique(np.concatenate([m.unit * len(m.models) + m.a, m.unit * len(m.models) + m.b]))
    return np.bincount(pairs // len(m.models), minlength=m.units)


def _rounds(data: Records, m: Matches) -> dict[str, Any]:
    data.rows("round", "prompt")
    rounds = data.numbers("round")[m.row]
    if np.isnan(rounds).any():
        return {}
    final = np.full(m.units, -np.inf)
    np.maximum.at(final, m.unit, rounds)
    last = rounds == final[m.unit]
    models = len(m.models)
    won = np.bincount(m.a[last], m.outcome[last], models) + np.bincount(m.b[last], 1 - m.outcome[last], models)
    found, count = np.unique(rounds, return_counts=True)
    return {
        "titles": dict(zip(m.models, (won / won.sum()).tolist())),
        "matches_by_round": {f"{r:g}": int(c) for r, c in zip(found, count)},
    }
