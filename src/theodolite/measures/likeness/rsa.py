"""Do a model and people find the same things similar? Similarity ratings of item pairs, by group and by individual."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from theodolite.errors import DataError
from theodolite.measures.intervals import middle
from theodolite.measures.likeness.rsa_chance import item_bootstrap, mantel, recentred, subject_bootstrap, variability
from theodolite.measures.rank_rows import known_mean, mean_over, pooled, rank_correlations, row_correlations
from theodolite.measures.records import Floats, Records, Resampled, sieve
from theodolite.registry import register
from theodolite.types import Reading


class TuringRsa(Resampled):
    pool: Literal["mean", "rank"] = "mean"
    """a group's rating of a pair: the mean rating, or the mean of each subject's ranks (as rsatoolbox pools)"""


def group_ratings(ratings: Floats, pool: str = "mean") -> Floats:
    """(P,) mean over subjects, NaN where nobody rated. ratings: (S, P)."""
    return np.asarray(mean_over(pooled(ratings, pool), np.ones((1, len(ratings))))[0])


def pairs_of(matrices: ArrayLike) -> tuple[Floats, np.ndarray, np.ndarray]:
    """Ratings (S, P) of unordered pairs and both items' numbers, from (S, n, n) matrices with both orders of a pair.

    The two orders are averaged (one alone where the other is missing); the diagonal is ignored.
    """
    m = np.asarray(matrices, float)
    m = m[None] if m.ndim == 2 else m
    first, second = np.triu_indices(m.shape[-1], 1)
    both = np.stack([m[:, first, second], m[:, second, first]])
    given = (~np.isnan(both)).sum(0)
    with np.errstate(invalid="ignore"):
        return np.where(given > 0, np.nansum(both, 0) / given, math.nan), first, second


def noise_ceiling(ratings: Floats, pool: str = "mean") -> tuple[float, float]:
    """(lower, upper) mean correlation of a subject with the mean of the others, and with the mean of all.

    Upper is about the most that a model can reach with single subjects (exactly so with pool 'rank'). ratings: (S, P), S >= 2, else NaN.
    """
    if len(ratings) < 2:
        return math.nan, math.nan
    others = mean_over(pooled(ratings, pool), 1.0 - np.eye(len(ratings)))
    lower = row_correlations(ratings, others)
    upper = rank_correlations(ratings, group_ratings(ratings, pool)[None])
    return known_mean(lower), known_mean(upper)


def split_half(ratings: Floats, rng: np.random.Generator, splits: int = 100, pool: str = "mean") -> tuple[float, float]:
    """(raw, corrected) mean correlation of the means of two random halves of the subjects, and 2r/(1+r) of each split.

    Source: Spearman 1910, Brown 1910. Needs two subjects, else NaN.
    """
    count = len(ratings)
    if count < 2:
        return math.nan, math.nan
    half = (rng.permuted(np.tile(np.arange(count), (splits, 1)), axis=1) < count // 2).astype(float)
    entries = pooled(ratings, pool)
    raw = row_correlations(mean_over(entries, half), mean_over(entries, 1 - half))
    with np.errstate(divide="ignore", invalid="ignore"):
        corrected = 2 * raw / (1 + raw)
    return known_mean(raw), known_mean(corrected[np.isfinite(corrected)])


@register(
    "measure",
    "turing_rsa",
    source="arXiv:2412.00577 (group and individual level; read as abstract, the individual statistics are ours)",
    config=TuringRsa,
    reads="records",
    needs=("human", "model", "?first", "?second"),
    question="Does the model find the same things similar as people do?",
    better="higher",
    range=(-1.0, 1.0),
    not_measured="whether the model would choose these similarities unasked",
)
def turing_rsa(data: Records, rng: np.random.Generator, cfg: TuringRsa) -> Reading:
    """Spearman correlation of the group similarity ratings of a model's samples and of people, over item pairs.

    human: (S, P) ratings of P pairs by S people, model: (S2, P) by S2 samples of a model (both 1 upwards); NaN where one
    gave none. Any increasing change of a scale leaves 1 at 1. parts: noise ceiling and split-half reliability of
    the humans, each sample's mean correlation with people, everyone's correlation with the mean of the others, the
    spread within and between (`variability`). first, second: (P,) the items of each pair, any names; they allow
    the Mantel test (p_value) and parts["item_bootstrap"]. The interval resamples subjects (`recentred`); it
    resamples items where both sides have one subject only. A pair is missing where one side has no rating.
    """
    human, model = data.array("human", 2), data.array("model", 2)
    if human.shape[1] != model.shape[1]:
        raise DataError(f"'human' and 'model' must rate the same pairs, got {human.shape[1]} and {model.shape[1]}.")
    group = [group_ratings(r, cfg.pool) for r in (human, model)]
    ok, why = sieve(("no human rating", np.isnan(group[0])), ("no model rating", np.isnan(group[1])))
    human, model, x, y = human[:, ok], model[:, ok], group[0][ok], group[1][ok]
    common: dict[str, Any] = {"level": cfg.level, "better": "higher", "n": len(x)}
    common |= {"missing": sum(why.values()), "why": why}
    value = float(rank_correlations(x, y)[0, 0]) if len(x) > 2 else math.nan
    if math.isnan(value):
        few = "fewer than three pairs rated by both sides" if len(x) < 3 else "one side rates all pairs alike"
        return Reading("turing_rsa", math.nan, **common, note=few)
    parts = _parts(human, model, y, x, rng, cfg)
    spans = {}
    if max(len(human), len(model)) > 1:
        drawn = subject_bootstrap(human, model, rng, cfg.resamples, cfg.pool)
        spans["subject_bootstrap"] = recentred(drawn[np.isfinite(drawn)], value)
    p_value = None
    if "first" in data.columns and "second" in data.columns:
        first, second = _items(data, ok)
        p = mantel(x, y, first, second, rng, cfg.resamples)
        p_value = None if math.isnan(p) else p
        spans["item_bootstrap"] = item_bootstrap(x, y, first, second, rng, cfg.resamples)
    bounds = {k: middle(v, cfg.level) for k, v in spans.items()}
    used = next(iter(bounds), "")
    low, high = bounds.get(used, (math.nan, math.nan))
    counts = {
        "pairs have fewer than two human ratings": int((np.sum(~np.isnan(human), 0) < 2).sum()),
        "constant raters are left out of individual values": _constant(human, model),
    }
    return Reading(
        "turing_rsa",
        value,
        low,
        high,
        method=f"bootstrap over {used.split('_')[0]}s" if used else "",
        p_value=p_value,
        note="; ".join(f"{n} {text}" for text, n in counts.items() if n),
        parts=parts | bounds,
        **common,
    )


def _parts(
    human: Floats, model: Floats, y: Floats, x: Floats, rng: np.random.Generator, cfg: TuringRsa
) -> dict[str, Any]:
    lower, upper = noise_ceiling(human, cfg.pool)
    raw, corrected = split_half(human, rng, pool=cfg.pool)
    each = rank_correlations(model, human)
    others = mean_over(pooled(human, cfg.pool), 1.0 - np.eye(len(human)))
    return {
        "subjects": {"human": len(human), "model": len(model)},
        "noise_ceiling": {"lower": lower, "upper": upper},
        "split_half": {"raw": raw, "spearman_brown": corrected},
        "model_to_each_human": [known_mean(row) for row in each],
        "model_to_human_mean": rank_correlations(model, x)[:, 0],
        "human_to_other_humans": row_correlations(human, others) if len(human) > 1 else [],
        "human_to_model_mean": rank_correlations(human, y)[:, 0],
        "variability": variability(human, model, rng, cfg.resamples),
    }


def _items(data: Records, ok: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = data.words("first"), data.words("second")
    if not len(first) == len(second) == len(ok):
        raise DataError(
            f"'first' and 'second' must name the items of {len(ok)} pairs, got {len(first)}, {len(second)}."
        )
    bad = [k for k, (a, b) in enumerate(zip(first, second, strict=True)) if a is None or b is None or a == b]
    if bad:
        raise DataError(
            f"pair {bad[0] + 1} must name two different items, got {first[bad[0]]!r} and {second[bad[0]]!r}."
        )
    _, codes = np.unique(np.array([first, second])[:, ok], return_inverse=True)
    codes = codes.reshape(2, -1)
    return codes[0], codes[1]


def _constant(*sides: Floats) -> int:
    with np.errstate(all="ignore"):
        return sum(int(np.nanmax(row) == np.nanmin(row)) for x in sides for row in x if not np.isnan(row).all())
