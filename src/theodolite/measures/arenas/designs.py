"""When does a tournament order models better than an anchor, at the same number of matches? A simulation, vectorised.

The law: model i of true Elo rating T_i beats j with probability 1 / (1 + 10^((T_j - T_i) / 400)); the judge reports the
opposite of what happened with probability `noise`. Prompts differ by chance alone and verdicts are independent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from theodolite import stats
from theodolite.errors import UsageError
from theodolite.measures.arenas.bradley_terry import ELO, fit
from theodolite.measures.arenas.matches import spearman_rows
from theodolite.measures.arenas.tournament import bracket
from theodolite.measures.records import Floats

Design = Literal["tournament", "anchored", "round_robin"]
DESIGNS: tuple[Design, ...] = ("tournament", "anchored", "round_robin")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one design reaches with `matches` matches, over simulated worlds.

    spearman: mean rank correlation with the truth, its bootstrap interval over worlds. best: share of worlds in which
    the design's first is truly the best (a shared first place counts its share). undefined: worlds without a ranking.
    over_anchored, low, high: mean difference in Spearman to the anchored design in the same worlds, with its interval.
    """

    design: Design
    matches: int
    spearman: float
    low: float
    high: float
    best: float
    undefined: int
    over_anchored: float
    over_low: float
    over_high: float


def simulate(
    models: int | Sequence[float],
    prompts: int,
    noise: float,
    rng: np.random.Generator,
    *,
    spread: float = 150.0,
    anchor: float = 0.0,
    repeats: int = 500,
    level: float = 0.95,
) -> list[Outcome]:
    """The three designs at equal matches: as many as single elimination needs, prompts * (M - 1).

    models: how many, drawn anew in each world with N(0, spread) Elo points, or their true ratings. noise: share of
    flipped verdicts, in [0, 0.5]. anchor: rating of the outside reference of the anchored design, 0 being the models'
    mean. repeats: worlds.
    Tournament: random brackets, Bradley-Terry. Round robin: every pair equally often (the remainder at random),
    Bradley-Terry. Anchored: every model equally often against the anchor, ranked by its win rate.
    """
    if not 0 <= noise <= 0.5:
        raise UsageError(f"noise is the share of flipped verdicts, from 0 to 0.5, got {noise}. 10 % is 0.1.")
    size = models if isinstance(models, int) else len(models)
    if size < 2 or prompts < 2:
        raise UsageError(f"a comparison needs two models and two prompts at least, got {size} and {prompts}.")
    if repeats < 2:
        raise UsageError(f"an interval needs at least two worlds, got {repeats}.")
    truth = rng.normal(0, spread, (repeats, size))
    if not isinstance(models, int):
        truth = np.tile(np.asarray(models, float) - np.mean(models), (repeats, 1))
    budget = prompts * (size - 1)
    scores = {
        "tournament": fit(tournament_wins(truth, prompts, noise, rng)).theta,
        "anchored": anchored_scores(truth, budget, anchor, noise, rng),
        "round_robin": fit(round_robin_wins(truth, budget, noise, rng)).theta,
    }
    rounded = {k: np.round(v, 6) for k, v in scores.items()}
    alike = {k: spearman_rows(truth, v) for k, v in rounded.items()}
    return [_outcome(d, budget, truth, rounded[d], alike[d], alike["anchored"], rng, level) for d in DESIGNS]


def win_chance(gap: Floats, noise: float) -> Floats:
    """Probability of the verdict 'first', for a gap in true Elo points."""
    return noise + (1 - 2 * noise) / (1 + np.exp(-gap / ELO))


def tournament_wins(truth: Floats, prompts: int, noise: float, rng: np.random.Generator) -> Floats:
    """(R, M, M) wins of `prompts` random brackets in each of R worlds; every bracket plays its rounds at once."""
    repeats, size = truth.shape
    wins = np.zeros(repeats * size * size)
    block = max(1, 2_000_000 // (prompts * 2 * size))
    for start in range(0, repeats, block):
        count = min(block, repeats - start)
        slots = bracket(size, count * prompts, rng)
        world = np.repeat(np.arange(start, start + count), prompts)[:, None]
        while slots.shape[1] > 1:
            a, b = slots[:, 0::2], slots[:, 1::2]
            bye = b < 0
            first = (rng.random(a.shape) < win_chance(truth[world, a] - truth[world, b], noise)) | bye
            slots = np.where(first, a, b)
            code = (world * size + slots) * size + np.where(first, b, a)
            wins += np.bincount(code[~bye], minlength=len(wins))
    return wins.reshape(repeats, size, size)


def round_robin_wins(truth: Floats, matches: int, noise: float, rng: np.random.Generator) -> Floats:
    """(R, M, M) wins where every pair meets equally often; matches left over go to pairs drawn at random."""
    repeats, size = truth.shape
    i, j = np.triu_indices(size, 1)
    met = _evenly(matches, len(i), repeats, rng)
    won = rng.binomial(met, win_chance(truth[:, i] - truth[:, j], noise))
    wins = np.zeros((repeats, size, size))
    wins[:, i, j], wins[:, j, i] = won, met - won
    return wins


def anchored_scores(truth: Floats, matches: int, anchor: float, noise: float, rng: np.random.Generator) -> Floats:
    """(R, M) win rates against one outside anchor; NaN for a model without a match."""
    met = _evenly(matches, truth.shape[1], len(truth), rng)
    won = rng.binomial(met, win_chance(truth - anchor, noise))
    return won / np.where(met == 0, np.nan, met)


def _evenly(matches: int, cells: int, repeats: int, rng: np.random.Generator) -> np.ndarray:
    """(R, cells) counts that sum to `matches`, as even as can be."""
    left = np.argsort(rng.random((repeats, cells)), axis=1) < matches % cells
    return matches // cells + left.astype(np.int64)


def _outcome(
    design: Design, budget: int, truth: Floats, scores: Floats, alike: Floats, anchored: Floats,
    rng: np.random.Generator, level: float,
) -> Outcome:  # fmt: skip
    top = scores == np.nanmax(scores, axis=1, keepdims=True)
    hit = np.take_along_axis(top / top.sum(1, keepdims=True), truth.argmax(1)[:, None], 1)
    span, gap = stats.bootstrap_mean(alike, rng, level), stats.bootstrap_mean(alike - anchored, rng, level)
    mean, over = (float(np.nanmean(v)) if np.any(~np.isnan(v)) else math.nan for v in (alike, alike - anchored))
    return Outcome(
        design, budget, mean, span.low, span.high, float(hit.mean()), int(np.isnan(alike).sum()), over, gap.low, gap.high
    )  # fmt: skip


def rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Plain dicts for JSON, None where there is no number."""
    plain = [{k: getattr(o, k) for k in Outcome.__slots__} for o in outcomes]
    return [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in plain]
