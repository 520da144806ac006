"""How alike are two geometries of the same items: two models, or a layer and its inputs or targets?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator
from scipy.spatial.distance import pdist, squareform

from theodolite.errors import DataError
from theodolite.measures.intervals import grouped_jackknife
from theodolite.measures.likeness.cross_condition import cross_condition, parallelism
from theodolite.measures.records import Floats, Level, Records
from theodolite.registry import register
from theodolite.types import Reading

Kernel = Literal["linear", "rbf"]


class Aligned(Level):
    debiased: bool | None = None
    """unbiased HSIC; null takes it where n < 5 features, since the plain index tends to 1 as features outgrow items"""
    groups: int = Field(20, ge=3)
    """groups of items that the jackknife leaves out in turn"""


class Cka(Aligned):
    kernel: Kernel = "linear"
    """linear, or rbf: exp(-d^2 / (2 (bandwidth * median distance)^2))"""
    bandwidth: float = Field(1.0, gt=0)
    """width of the rbf kernel in median distances of different items"""

    @model_validator(mode="after")
    def _fits(self) -> Cka:
        if self.kernel == "linear" and self.bandwidth != 1:
            raise ValueError("a linear kernel has no bandwidth; leave bandwidth out, or set kernel to rbf")
        return self


class KernelAlignment(Aligned):
    centred: bool = True
    """centre both kernels (CKA); false gives the plain cosine of the kernels, which has no debiased form"""

    @model_validator(mode="after")
    def _fits(self) -> KernelAlignment:
        if not self.centred and self.debiased:
            raise ValueError("the cosine of kernels that are not centred has no debiased form; leave debiased out")
        return self


def linear_hsic(x: Floats, y: Floats, debiased: bool = False) -> float:
    """HSIC of the kernels x x' and y y', from features in O(n dx dy) or from Gram matrices in O(n^2 d).

        plain     |xc' yc|^2 / (n - 1)^2
        debiased  [|xc' yc|^2 - n/(n-2) k.l + (sum k)(sum l)/((n-1)(n-2))] / (n (n-3)),  k_i = |xc_i|^2, l_i = |yc_i|^2

    x: (n, dx), y: (n, dy). The debiased form equals `gram_hsic` with zero diagonals: centring adds row and column
    constants, which it ignores. Fewer than 4 items (2 when plain) give NaN.
    """
    x, y = _centred(x), _centred(y)
    if x.shape[1] * y.shape[1] <= len(x) * (x.shape[1] + y.shape[1]):
        square = float(((x.T @ y) ** 2).sum())
    else:
        square = float(((x @ x.T) * (y @ y.T)).sum())
    n = len(x)
    if n < (4 if debiased else 2):
        return math.nan
    if not debiased:
        return square / (n - 1) ** 2
    k, l = (x**2).sum(1), (y**2).sum(1)
    return float(square - n / (n - 2) * (k @ l) + k.sum() * l.sum() / ((n - 1) * (n - 2))) / (n * (n - 3))


def gram_hsic(k: Floats, l: Floats, debiased: bool = False) -> float:
    """HSIC of two (n, n) kernels: sum(HkH * l) / (n-1)^2, or Song et al. 2012's unbiased form (eq. 5)."""
    n = len(k)
    if n < (4 if debiased else 2):
        return math.nan
    if not debiased:
        centred = k - k.mean(0) - k.mean(1)[:, None] + k.mean()
        return float((centred * l).sum()) / (n - 1) ** 2
    k, l = (m - np.diag(np.diag(m)) for m in (k, l))
    rows, columns = k.sum(1), l.sum(1)
    between = rows.sum() * columns.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (rows @ columns)
    return float((k * l).sum() + between) / (n * (n - 3))


def rbf(x: Floats, bandwidth: float = 1.0) -> Floats:
    """exp(-d^2 / (2 s^2)), s = bandwidth * median distance of different items (some code counts d_ii = 0 too)."""
    d = pdist(x) if len(x) > 1 else np.empty(0)
    scale = bandwidth * float(np.median(d)) if len(d) else 0.0
    return (
        np.asarray(squareform(np.exp(-(d**2) / (2 * scale**2)), checks=False) + np.eye(len(x)))
        if scale
        else (np.full((len(x), len(x)), math.nan))
    )


def cka(x: ArrayLike, y: ArrayLike, kernel: Kernel = "linear", debiased: bool = False, bandwidth: float = 1.0) -> float:
    """hsic(x, y) / sqrt(hsic(x, x) hsic(y, y)); 1 for geometries equal up to rotation and scale, about 0 for unrelated.

    x: (n, dx), y: (n, dy), the same n items. A constant side gives NaN. The debiased form can fall below 0.
    """
    return _ratio(terms(x, y, kernel, debiased, bandwidth))


def terms(
    x: ArrayLike, y: ArrayLike, kernel: Kernel = "linear", debiased: bool = False, bandwidth: float = 1.0
) -> tuple[float, float, float]:
    """hsic(x, y), hsic(x, x), hsic(y, y)."""
    a, b = _features(x), _features(y)
    if len(a) != len(b):
        raise DataError(f"both sides must describe the same items, got {len(a)} and {len(b)} rows.")
    hsic: Callable[[Floats, Floats, bool], float] = linear_hsic
    if kernel == "rbf":
        a, b, hsic = rbf(a, bandwidth), rbf(b, bandwidth), gram_hsic
    return hsic(a, b, debiased), hsic(a, a, debiased), hsic(b, b, debiased)


def minibatch_cka(batches: Iterable[tuple[ArrayLike, ArrayLike]]) -> float:
    """Linear CKA from batches: each unbiased HSIC is averaged before the ratio (arXiv:2010.15327 eq. 3)."""
    found = [terms(x, y, debiased=True) for x, y in batches]
    return _ratio(tuple(np.mean(found, axis=0))) if found else math.nan


def kernel_cosine(x: ArrayLike, y: ArrayLike) -> float:
    """<K, L> / (|K| |L|) of the kernels x x' and y y', not centred (Cristianini et al. 2001)."""
    a, b = _features(x), _features(y)
    return _ratio(tuple(float(((p.T @ q) ** 2).sum()) for p, q in ((a, b), (a, a), (b, b))))


@register(
    "measure",
    "cka",
    source="arXiv:1905.00414 eq. 3; debiased: arXiv:2010.15327 and Song et al. 2012 eq. 5",
    config=Cka,
    reads="records",
    needs=("x", "y"),
    question="How alike are two representations of the same items?",
    better="neither",
    range=(-1.0, 1.0),
    not_measured="whether the shared structure is what either model uses",
)
def cka_measure(data: Records, rng: np.random.Generator, cfg: Cka) -> Reading:
    """Centred kernel alignment of x (n, dx) and y (n, dy), two descriptions of the same n items.

    1: equal up to rotation, shift and scale. Plain CKA of unrelated Gaussians is well above 0 when features outnumber
    items, so the debiased form is the default there; parts hold both. It is not blind to general linear maps.
    """
    x, y = (_features(data.array(name)) for name in ("x", "y"))
    data.rows("x", "y")
    ok = np.asarray(np.isfinite(x).all(1) & np.isfinite(y).all(1))
    x, y = x[ok], y[ok]
    debiased = _choose(cfg.debiased, x, y)

    def value(mask: NDArray[np.bool_]) -> float:
        return cka(x[mask], y[mask], cfg.kernel, debiased, cfg.bandwidth)

    every = np.ones(len(x), bool)
    parts = {name: cka(x, y, cfg.kernel, form, cfg.bandwidth) for name, form in (("plain", False), ("debiased", True))}
    return _reading("cka", value(every), value, ok, rng, cfg, _form_note(cfg.debiased, debiased, x, y), parts)


@register(
    "measure",
    "kernel_alignment",
    source="arXiv:2401.13558 (kernel alignment over training, CCGP, parallelism; read as abstract, details ours)",
    config=KernelAlignment,
    reads="records",
    needs=("states", "inputs", "targets", "?condition"),
    question="Does a representation keep the geometry of its inputs, or take that of its targets?",
    better="neither",
    range=(-1.0, 1.0),
    not_measured="which of the two the behaviour rests on",
)
def kernel_alignment(data: Records, rng: np.random.Generator, cfg: KernelAlignment) -> Reading:
    """Alignment of states (L, n, d), layers or checkpoints, with targets; the value is that of the last.

    inputs: (n, p). targets: (n,) or (n, q) numbers, or words (one column each). parts["targets"] and ["inputs"] are the
    curves over L. With targets of two values and `condition` (n,), parts["parallelism"] and ["cross_condition"] too:
    is the target coded alike in every condition, and does a readout carry over to a condition it never saw?
    """
    states, inputs, targets = data.array("states", 3), _features(data.array("inputs")), _targets(data)
    if not states.shape[1] == len(inputs) == len(targets) or not len(states):
        raise DataError(
            "'states' must be (layers, items, features) for the items of 'inputs' and 'targets', got "
            f"{states.shape[1]}, {len(inputs)} and {len(targets)} items."
        )
    ok = np.asarray(np.isfinite(states).all((0, 2)) & np.isfinite(inputs).all(1) & np.isfinite(targets).all(1))
    states, inputs, targets = states[:, ok], inputs[ok], targets[ok]
    debiased = cfg.centred and _choose(cfg.debiased, states[0], targets)

    def align(x: Floats, y: Floats) -> float:
        return cka(x, y, debiased=debiased) if cfg.centred else kernel_cosine(x, y)

    parts: dict[str, Any] = {
        "targets": [align(x, targets) for x in states],
        "inputs": [align(x, inputs) for x in states],
    }
    values = np.unique(targets[:, 0]) if targets.shape[1] == 1 else np.empty(0)
    if "condition" in data.columns and len(values) == 2:
        yes = targets[:, 0] == values[1]
        condition = np.array([c or "" for c in data.words("condition")])[ok]
        parts["parallelism"] = [parallelism(x, yes, condition) for x in states]
        parts["cross_condition"] = [cross_condition(x, yes, condition) for x in states]
    note = _form_note(cfg.debiased, debiased, states[0], targets) if cfg.centred else ""
    last = states[-1]
    return _reading(
        "kernel_alignment", parts["targets"][-1], lambda m: align(last[m], targets[m]), ok, rng, cfg, note, parts
    )


def _reading(
    name: str,
    value: float,
    statistic: Callable[[NDArray[np.bool_]], float],
    ok: NDArray[np.bool_],
    rng: np.random.Generator,
    cfg: Aligned,
    note: str,
    parts: dict[str, Any],
) -> Reading:
    n, lost = int(ok.sum()), int((~ok).sum())
    why = {"a value is not finite": lost} if lost else {}
    if math.isnan(value):
        reason = "fewer than four items" if n < 4 else "one side is the same for all items"
        return Reading(name, math.nan, level=cfg.level, n=n, missing=lost, why=why, note=reason)
    span = grouped_jackknife(statistic, n, rng, cfg.groups, cfg.level)
    low, high = max(span.low, -1.0), min(span.high, 1.0)
    if math.isnan(span.low):
        low = high = math.nan
    return Reading(name, value, low, high, cfg.level, span.method, n, missing=lost, why=why, note=note, parts=parts)


def _choose(asked: bool | None, x: Floats, y: Floats) -> bool:
    return len(x) < 5 * max(x.shape[1], y.shape[1]) if asked is None else asked


def _form_note(asked: bool | None, debiased: bool, x: Floats, y: Floats) -> str:
    few = len(x) < 5 * max(x.shape[1], y.shape[1])
    if asked is None and debiased:
        return "debiased, because there are fewer than 5 items a feature"
    return "plain CKA is biased towards 1 with fewer than 5 items a feature" if few and not debiased else ""


def _targets(data: Records) -> Floats:
    """(n, q): numbers as given, words as one column each."""
    try:
        return _features(data.array("targets"))
    except DataError:
        words = np.array([w or "" for w in data.words("targets")])
        names = sorted(set(words) - {""})
        columns: Floats = (words[:, None] == np.array(names)).astype(float)
        columns[words == ""] = math.nan
        return columns


def _features(values: ArrayLike) -> Floats:
    x = np.asarray(values, float)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2:
        raise DataError(f"features must be (items, features), got shape {x.shape}.")
    return x


def _centred(x: Floats) -> Floats:
    """Centred columns; those that are constant become exactly 0."""
    if not len(x):
        return x
    return np.asarray(np.where(np.ptp(x, axis=0) > 0, x - x.mean(0), 0.0))


def _ratio(found: tuple[float, ...]) -> float:
    xy, xx, yy = found
    return xy / math.sqrt(xx * yy) if xx > 0 and yy > 0 else math.nan
