"""Did fine-tuning move the concepts of a model, each as one, or its samples here and there?"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import linear_sum_assignment
from scipy.special import ndtri

from theodolite.errors import DataError
from theodolite.measures.records import Floats, Level, Records
from theodolite.registry import register
from theodolite.types import Reading

Codes = NDArray[np.intp]


class ConceptShift(Level):
    k: int = Field(20, ge=1)
    """number of concepts"""
    method: Literal["kmeans", "pca"] = "kmeans"
    """how concepts are found: k-means centres (the shift study's choice), or principal axes"""
    strength: float = 1.0
    """how much of its shift vector a concept is moved by before it is compared (alpha)"""
    starts: int = Field(5, ge=1)
    """starts of k-means, the tightest result kept"""


def mean_cosine(vectors: Floats) -> float:
    """Mean cosine over pairs of different rows, in O(n d): (|sum_i v_i/|v_i||^2 - n) / (n (n - 1)).

    vectors: (n, d). Zero rows have no direction and are left out; fewer than two others give NaN. The released code
    leaves out pairs with cosine 0 instead, which raises the mean where shifts are orthogonal.
    """
    unit = _unit(vectors)
    n = len(unit)
    return float((unit.sum(0) ** 2).sum() - n) / (n * (n - 1)) if n > 1 else math.nan


def mean_cosine_variance(vectors: Floats) -> float:
    """Jackknife variance of `mean_cosine` over rows, in O(n d); NaN with fewer than three directions."""
    unit = _unit(vectors)
    n = len(unit)
    if n < 3:
        return math.nan
    total = unit.sum(0)
    left = (total @ total - 2 * unit @ total + 1 - (n - 1)) / ((n - 1) * (n - 2))
    return float((n - 1) / n * ((left - left.mean()) ** 2).sum())


def kmeans(x: Floats, k: int, rng: np.random.Generator, starts: int = 5, rounds: int = 300) -> tuple[Floats, Codes]:
    """(centres (k, d), concept of each row) by Lloyd's algorithm from k-means++ starts; an empty centre stays."""
    best: tuple[float, Floats, Codes] = (math.inf, x[:0], np.empty(0, np.intp))
    for _ in range(starts):
        centres = _spread_start(x, k, rng)
        code = _nearest(x, centres)
        for _ in range(rounds):
            size = np.bincount(code, minlength=k)
            onehot = np.zeros((k, len(x)))
            onehot[code, np.arange(len(x))] = 1
            centres = np.where(size[:, None] > 0, (onehot @ x) / np.maximum(size, 1)[:, None], centres)
            new = _nearest(x, centres)
            if np.array_equal(new, code):
                break
            code = new
        inertia = float(((x - centres[code]) ** 2).sum())
        if inertia < best[0]:
            best = (inertia, centres, code)
    return best[1], best[2]


def principal_concepts(x: Floats, k: int) -> tuple[Floats, Codes]:
    """(axes (k, d), the axis on which each row lies furthest out). An axis points to its largest coordinate.

    The sign of an axis is arbitrary, so a row is assigned by the size of its projection.
    """
    centred = x - x.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:k]
    peak = axes[np.arange(len(axes)), np.abs(axes).argmax(1)]
    axes = axes * np.where(peak < 0, -1.0, 1.0)[:, None]
    return axes, np.abs(centred @ axes.T).argmax(1)


def recovery(concepts: Floats, shifts: Floats, tuned: Floats) -> dict[str, Floats]:
    """(K,) gains of moving each concept by its shift vector towards its match among the fine-tuned ones.

        cosine: [cos(u*, u + v) - cos(u*, u)] / cos(u*, u)      l2: (|u* - u| - |u* - u - v|) / |u* - u|

    concepts, shifts: (K, d); tuned: (K, d), matched one to one by the largest summed cosine (Hungarian). Above 0: the
    shift leads to where the concept went; l2 is 1 where it leads there exactly.
    """
    u, t = concepts, tuned
    _, match = linear_sum_assignment(-_cosines(u, t))
    t = t[match]
    before, after = _cosine_rows(t, u), _cosine_rows(t, u + shifts)
    far, near = np.linalg.norm(t - u, axis=1), np.linalg.norm(t - u - shifts, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {"match": match.astype(float), "cosine": (after - before) / before, "l2": (far - near) / far}


@register(
    "measure",
    "concept_shift",
    source="arXiv:2501.03012 (shift vectors, consistency, recovery); closed forms and interval: ours",
    config=ConceptShift,
    reads="records",
    needs=("before", "after"),
    question="Do the samples of one concept move together when the model is fine-tuned?",
    better="neither",
    range=(-1.0, 1.0),
    not_measured="what a concept means, or whether its move was wanted",
)
def concept_shift(data: Records, rng: np.random.Generator, cfg: ConceptShift) -> Reading:
    """Shift consistency: mean over concepts of the mean cosine between the shifts of a concept's samples.

        shift of sample i = after_i - before_i;   v_k = mean shift of the samples of concept k

    before, after: (n, d) states of the same n samples in the original and the fine-tuned model. Concepts are found in
    `before`; 1: all samples of a concept move the same way, 0: unrelated ways. parts, one a concept: size,
    consistency, magnitude |v_k|, and the gains of `recovery` against the concepts found in `after`; relation, Pearson
    of consistency and cosine gain over concepts. Concepts with fewer than two moved samples have no consistency. The
    interval is a jackknife over samples with the concepts held fixed. Rows are sorted first, so their order is
    irrelevant.
    """
    before, after = data.array("before", 2), data.array("after", 2)
    if before.shape != after.shape:
        raise DataError(f"'before' and 'after' must hold the same samples, got {before.shape} and {after.shape}.")
    ok = np.isfinite(before).all(1) & np.isfinite(after).all(1)
    lost = int((~ok).sum())
    f, g = before[ok], after[ok]
    order = np.lexsort(np.hstack([f, g]).T)
    f, g = f[order], g[order]
    common: dict[str, Any] = {"level": cfg.level, "n": len(f), "missing": lost}
    common["why"] = {"a state is not finite": lost} if lost else {}
    if len(f) < max(2, cfg.k):
        return Reading("concept_shift", math.nan, **common, note=f"fewer samples than {max(2, cfg.k)}: lower k")
    concepts, code = _concepts(f, rng, cfg)
    tuned, _ = _concepts(g, rng, cfg)
    groups = [g[code == k] - f[code == k] for k in range(len(concepts))]
    shifts = np.array([s.mean(0) if len(s) else np.full(f.shape[1], math.nan) for s in groups])
    full = np.array([len(s) > 0 for s in groups])
    consistency = np.array([mean_cosine(s) for s in groups])
    known = ~np.isnan(consistency)
    parts: dict[str, Any] = {
        "size": [len(s) for s in groups],
        "consistency": consistency,
        "magnitude": np.linalg.norm(shifts, axis=1),
        "unmoved": int((~(f != g).any(1)).sum()),
    }
    gains = recovery(concepts[full], cfg.strength * shifts[full], tuned) if len(tuned) >= full.sum() else {}
    for name, found in gains.items():
        parts[name] = np.full(len(concepts), math.nan)
        parts[name][full] = found
    if gains:
        parts["relation"] = _pearson(consistency, parts["cosine"])
    if not known.any():
        return Reading("concept_shift", math.nan, **common, note="no concept has two samples that moved", parts=parts)
    variance = np.array([mean_cosine_variance(s) for s, there in zip(groups, known, strict=True) if there])
    half = float(ndtri(0.5 + cfg.level / 2) * math.sqrt(variance.sum()) / len(variance))
    value, method = float(consistency[known].mean()), "" if math.isnan(half) else "jackknife over samples"
    note = "" if method else "no interval: a concept has fewer than three samples that moved"
    low, high = (math.nan, math.nan) if math.isnan(half) else (max(value - half, -1.0), min(value + half, 1.0))
    return Reading("concept_shift", value, low, high, method=method, note=note, parts=parts, **common)


def _concepts(x: Floats, rng: np.random.Generator, cfg: ConceptShift) -> tuple[Floats, Codes]:
    return kmeans(x, cfg.k, rng, cfg.starts) if cfg.method == "kmeans" else principal_concepts(x, cfg.k)


def _spread_start(x: Floats, k: int, rng: np.random.Generator) -> Floats:
    """k-means++ (Arthur and Vassilvitskii 2007): each further centre is a row, drawn by its squared distance."""
    chosen = [int(rng.integers(len(x)))]
    gap = ((x - x[chosen[0]]) ** 2).sum(1)
    while len(chosen) < k:
        total = gap.sum()
        chosen.append(int(rng.choice(len(x), p=gap / total) if total > 0 else rng.integers(len(x))))
        gap = np.minimum(gap, ((x - x[chosen[-1]]) ** 2).sum(1))
    return x[chosen]


def _nearest(x: Floats, centres: Floats) -> Codes:
    return np.asarray(((centres**2).sum(1) - 2 * x @ centres.T).argmin(1))


def _unit(vectors: Floats) -> Floats:
    norm = np.linalg.norm(vectors, axis=1)
    return np.asarray(vectors[norm > 0] / norm[norm > 0, None])


def _cosines(a: Floats, b: Floats) -> Floats:
    """(A, B) cosines, 0 where a row is 0."""
    norms = np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    return np.asarray(np.divide(a @ b.T, norms, out=np.zeros_like(norms), where=norms > 0))


def _cosine_rows(a: Floats, b: Floats) -> Floats:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray(np.divide((a * b).sum(1), norms, out=np.full(len(a), math.nan), where=norms > 0))


def _pearson(x: Floats, y: Floats) -> float:
    ok = np.isfinite(x) & np.isfinite(y)
    x, y = x[ok], y[ok]
    return float(np.corrcoef(x, y)[0, 1]) if len(x) > 2 and np.ptp(x) > 0 and np.ptp(y) > 0 else math.nan
