"""How well do a model's features predict recorded brain activity in stimuli held out?"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from theodolite import stats
from theodolite.errors import DataError
from theodolite.measures.records import Floats, Records, Resampled
from theodolite.registry import register
from theodolite.types import Reading

Select = Literal["loo", "gcv"]
ALPHAS = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)


class BrainEncoding(Resampled):
    folds: int = Field(10, ge=2)
    """outer folds; groups (stories) are never split between them"""
    alphas: tuple[float, ...] = Field(ALPHAS, min_length=1)
    """ridge penalties on standardised features; each voxel takes its own within the training fold"""
    select: Select = "loo"
    """how a voxel's penalty is chosen: squared leave-one-out error, or generalised cross-validation"""
    threshold: float = Field(0.0, ge=0)
    """voxels whose ceiling is not above this are left out (0.05 is common)"""


def ridge_predict(
    x: Floats, y: Floats, x_test: Floats, alphas: tuple[float, ...] = ALPHAS, select: Select = "loo"
) -> tuple[Floats, Floats]:
    """(predictions (T2, V), alpha (V,)) of ridge regression with a penalty chosen for each voxel.

        loo: mean_t [(y_t - yhat_t) / (1 - h_tt)]^2,  h_tt = 1/T + sum_i u_ti^2 s_i^2 / (s_i^2 + alpha)
        gcv: the same with the mean of h in place of h_tt

    x: (T, d), y: (T, V), x_test: (T2, d). Features are standardised by the training rows, responses centred. One
    singular value decomposition, O(T d min(T, d)), serves all penalties and voxels.
    """
    mean, scale = x.mean(0), x.std(0)
    scale = np.where(np.ptp(x, axis=0) > 0, scale, 1.0)
    u, s, vt = np.linalg.svd((x - mean) / scale, full_matrices=False)
    keep = s > 1e-12 * s[0] if len(s) and s[0] > 0 else np.zeros(len(s), bool)
    u, s, vt = u[:, keep], s[keep], vt[keep]
    centre = y.mean(0)
    target = y - centre
    inner = u.T @ target
    errors = np.stack([_error(u, s, inner, target, a, select) for a in alphas])
    best = errors.argmin(0)
    test = ((x_test - mean) / scale) @ vt.T
    found = np.empty((len(x_test), y.shape[1]))
    for i, a in enumerate(alphas):
        chosen = best == i
        found[:, chosen] = test @ ((s / (s**2 + a))[:, None] * inner[:, chosen])
    return found + centre, np.asarray(alphas, float)[best]


def voxel_correlations(predicted: ArrayLike, measured: ArrayLike) -> Floats:
    """(V,) Pearson correlation of each column; NaN for a constant one (some code adds 1e-8 and gets about 0)."""
    p, m = np.asarray(predicted, float), np.asarray(measured, float)
    flat = (np.ptp(p, axis=0) == 0) | (np.ptp(m, axis=0) == 0)
    p, m = p - p.mean(0), m - m.mean(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r = (p * m).sum(0) / np.sqrt((p**2).sum(0) * (m**2).sum(0))
    return np.where(flat, math.nan, np.clip(r, -1, 1))


def assign_folds(groups: list[str] | None, rows: int, folds: int) -> NDArray[np.intp]:
    """(rows,) fold of each row: whole groups, the largest first into the lightest fold; without groups runs of rows.

    Neighbouring stimuli share signal, so rows are never scattered over folds.
    """
    if groups is None:
        return np.arange(rows) * min(folds, rows) // max(rows, 1)
    names, code, size = np.unique(np.array(groups), return_inverse=True, return_counts=True)
    load, home = np.zeros(min(folds, len(names))), np.zeros(len(names), np.intp)
    for g in np.lexsort((np.arange(len(names)), -size)):
        home[g] = int(load.argmin())
        load[home[g]] += size[g]
    return home[code]


def extrapolated_ceiling(sizes: ArrayLike, scores: ArrayLike, rng: np.random.Generator, resamples: int = 100) -> Floats:
    """(V,) score that infinitely many subjects would reach: v0 of scores ~ v0 (1 - exp(-size / tau)), 0 <= v0 <= 1.

    sizes: (N,) numbers of subjects, scores: (N, V) a held-out subject predicted from size - 1 others, several draws a
    size. Each resample of the N rows is fitted by least squares over a grid of tau (v0 has a closed form); the ceiling
    is the median v0. Source: Schrimpf et al. 2021 (PNAS), supplement. The median over voxels is one number.
    """
    k, y = np.asarray(sizes, float), np.asarray(scores, float)
    y = y[:, None] if y.ndim == 1 else y
    if len(k) != len(y):
        raise DataError(f"each row of scores needs its number of subjects: {len(y)} rows, {len(k)} sizes.")
    if len(k) < 2:
        return np.full(y.shape[1], math.nan)
    curve = 1 - np.exp(-k / np.geomspace(0.05 * k.min(), 50 * k.max(), 1000)[:, None])
    fits = []
    for weight in rng.multinomial(len(k), np.full(len(k), 1 / len(k)), size=resamples).astype(float):
        cross, power = (curve * weight) @ y, (curve**2 @ weight)[:, None]
        v0 = np.clip(cross / power, 0, 1)
        best = (v0**2 * power - 2 * v0 * cross).argmin(0)
        fits.append(v0[best, np.arange(y.shape[1])])
    return np.asarray(np.median(fits, axis=0))


@register(
    "measure",
    "brain_encoding",
    source="arXiv:2312.00575 and arXiv:2506.08277; aggregation and penalties as in Brain-Score language's ridge",
    config=BrainEncoding,
    reads="records",
    needs=("features", "responses", "?groups", "?ceiling"),
    question="How well do the model's features predict brain responses to stimuli held out?",
    better="higher",
    range=(-1.0, 1.0),
    not_measured="whether the model computes what the brain computes",
)
def brain_encoding(data: Records, rng: np.random.Generator, cfg: BrainEncoding) -> Reading:
    """Cross-validated ridge: Pearson r of predicted and measured, median over voxels, mean over folds.

    features: (T, d) of one layer, responses: (T, V). groups: (T,) story or run of each stimulus, kept in one fold;
    without it folds are runs of neighbouring rows, so the order of rows matters. ceiling: (V,) noise ceiling; then each
    voxel's r is divided by it and the value clipped to 0..1, with the raw value in parts["raw"]. parts["voxels"] has
    each voxel's r (mean over folds), parts["alphas"] how often each penalty was chosen. To report a best layer, choose
    it on other stimuli. The interval resamples fold scores, whose training sets overlap: it is approximate.
    """
    x, y = data.array("features", 2), data.array("responses", 2)
    rows = data.rows("features", "responses", *(("groups",) if "groups" in data.columns else ()))
    groups = data.words("groups") if "groups" in data.columns else None
    voxels, ceiling = _voxels(data, y, cfg.threshold)
    y, ceiling = y[:, voxels], ceiling[voxels]
    kept, why = _usable(x, y, groups)
    x, y = x[kept], y[kept]
    fold = assign_folds([groups[i] or "" for i in np.flatnonzero(kept)] if groups else None, len(x), cfg.folds)
    count = int(fold.max()) + 1 if len(fold) else 0
    common: dict[str, Any] = {"level": cfg.level, "better": "higher", "n": len(x)}
    common |= {"missing": rows - len(x), "why": why}
    if not y.shape[1] or count < 2:
        few = "no usable voxel" if not y.shape[1] else "fewer than two folds: too few rows or groups"
        return Reading("brain_encoding", math.nan, **common, note=few)
    scores, chosen = np.empty((count, y.shape[1])), []
    for k in range(count):
        train = fold != k
        predicted, alpha = ridge_predict(x[train], y[train], x[~train], cfg.alphas, cfg.select)
        scores[k] = voxel_correlations(predicted, y[~train]) if (~train).sum() > 1 else math.nan
        chosen.append(alpha)
    raw, normalised = _medians(scores), _medians(scores / ceiling)
    if np.isnan(raw).all():
        return Reading("brain_encoding", math.nan, **common, note="predictions or responses are constant in every fold")
    with_ceiling = "ceiling" in data.columns
    folds = normalised if with_ceiling else raw
    span = stats.bootstrap_mean(folds, rng, cfg.level, cfg.resamples)
    value, low, high = (_clip(v) if with_ceiling else v for v in (float(np.nanmean(folds)), span.low, span.high))
    parts = {
        "raw": float(np.nanmean(raw)),
        "folds": folds,
        "voxels": np.array([_mean(column) for column in scores.T]),
        "alphas": {str(a): int((np.stack(chosen) == a).sum()) for a in cfg.alphas},
        "voxels_left_out": int((~voxels).sum()),
    }
    method = "bootstrap over folds" if not math.isnan(low) else ""
    note = "" if groups else "folds are runs of neighbouring rows: name stories in 'groups'"
    return Reading("brain_encoding", value, low, high, method=method, note=note, parts=parts, **common)


def _error(u: Floats, s: Floats, inner: Floats, target: Floats, alpha: float, select: Select) -> Floats:
    """(V,) error by which a penalty is chosen."""
    shrink = s**2 / (s**2 + alpha)
    rest = target - u @ (shrink[:, None] * inner)
    free = 1 - 1 / len(u) - u**2 @ shrink
    free = np.full(len(u), free.mean()) if select == "gcv" else free
    with np.errstate(divide="ignore", invalid="ignore"):
        found = ((rest / free[:, None]) ** 2).mean(0)
    return np.where(np.isnan(found), math.inf, found)


def _voxels(data: Records, y: Floats, threshold: float) -> tuple[NDArray[np.bool_], Floats]:
    """(V,) mask of voxels with any response and a usable ceiling, and the ceiling (1 where none is given)."""
    some = np.asarray(np.isfinite(y).any(0))
    if "ceiling" not in data.columns:
        return some, np.ones(y.shape[1])
    ceiling = data.numbers("ceiling")
    if len(ceiling) != y.shape[1]:
        raise DataError(f"'ceiling' must hold one number for each of {y.shape[1]} voxels, got {len(ceiling)}.")
    return np.asarray(some & (np.nan_to_num(ceiling, nan=-1.0) > threshold)), ceiling


def _usable(x: Floats, y: Floats, groups: list[str | None] | None) -> tuple[NDArray[np.bool_], dict[str, int]]:
    bad_x, bad_y = ~np.isfinite(x).all(1), ~np.isfinite(y).all(1)
    lost = np.array([g is None for g in groups]) if groups else np.zeros(len(x), bool)
    why = {"a feature is not finite": bad_x, "a response is not finite": bad_y & ~bad_x}
    why["no group"] = lost & ~bad_x & ~bad_y
    return ~(bad_x | bad_y | lost), {reason: int(out.sum()) for reason, out in why.items() if out.any()}


def _medians(scores: Floats) -> Floats:
    """(folds,) median over voxels, NaN where none is defined."""
    return np.array([np.median(row[~np.isnan(row)]) if (~np.isnan(row)).any() else math.nan for row in scores])


def _mean(x: Floats) -> float:
    x = x[~np.isnan(x)]
    return float(x.mean()) if len(x) else math.nan


def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0) if not math.isnan(value) else value
