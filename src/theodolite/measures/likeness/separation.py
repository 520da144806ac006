"""Five indices of how far classes stand apart in a space: cluster quality with the clusters given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theodolite.measures.records import Floats

Codes = NDArray[np.intp]
ROWS = 2048
"""rows a block of a pass over the states"""


@dataclass(frozen=True, slots=True)
class ClassSums:
    """Size, mean and scatter of K classes; batches are merged, so states need never lie in memory together.

    size: (K,). mean: (..., K, d). scatter: (..., K), summed squared distance to the class mean. Leading axes are
    layers or resamples. For two classes chi * xbi = n0 n1 (n - 2) / n^2: the two say the same thing.
    """

    size: Floats
    mean: Floats
    scatter: Floats

    @classmethod
    def of(cls, states: ArrayLike, codes: ArrayLike, classes: int = 2) -> ClassSums:
        """states: (..., n, d), codes: (n,) in 0..classes-1."""
        return cls.with_gaps(states, codes, classes)[0]

    @classmethod
    def with_gaps(cls, states: ArrayLike, codes: ArrayLike, classes: int = 2) -> tuple[ClassSums, Floats]:
        """The sums, and each state's squared distance to its class mean (..., n)."""
        x, c = np.asarray(states, float), np.asarray(codes)
        member = (c[:, None] == np.arange(classes)).astype(float)
        size = member.sum(0)
        mean = (member.T @ x) / np.maximum(size, 1)[:, None]
        gaps = np.empty(x.shape[:-1])
        for rows in (slice(i, i + ROWS) for i in range(0, len(c), ROWS)):  # small enough to stay in the cache
            away = x[..., rows, :] - mean[..., c[rows], :]
            gaps[..., rows] = np.einsum("...d,...d->...", away, away)
        return cls(size, mean, gaps @ member), gaps

    def merge(self, other: ClassSums) -> ClassSums:
        """The sums of both batches (Chan, Golub and LeVeque's update, which does not lose digits)."""
        size = self.size + other.size
        share = other.size / np.maximum(size, 1)
        gap = other.mean - self.mean
        scatter = self.scatter + other.scatter + (gap**2).sum(-1) * self.size * share
        return ClassSums(size, self.mean + gap * share[:, None], scatter)

    def chi(self) -> Any:
        """Calinski-Harabasz: [sum_k n_k |m_k - m|^2 / (K - 1)] / [W / (n - K)]; higher is better separated."""
        n, k = self.size.sum(-1), self.size.shape[-1]
        centre = (self.size[..., None] * self.mean).sum(-2, keepdims=True) / n[..., None, None]
        between = (self.size * ((self.mean - centre) ** 2).sum(-1)).sum(-1)
        return _ratio(between * (n - k), self.scatter.sum(-1) * (k - 1))

    def xbi(self) -> Any:
        """Xie-Beni: W / (n * smallest squared distance of two class means); lower is better separated."""
        return _ratio(self.scatter.sum(-1), self.size.sum(-1) * _gaps(self.mean).min((-2, -1)) ** 2)


def davies_bouldin(spread: Floats, mean: Floats) -> Any:
    """Mean over classes of max_j (s_k + s_j) / |m_k - m_j|; s_k (..., K) mean distance to the own mean; lower better.

    It needs the distances themselves, so a second pass: class sums give root mean squares only.
    """
    return _ratio(spread[..., :, None] + spread[..., None, :], _gaps(mean)).max(-1).mean(-1)


def separation(states: ArrayLike, label: ArrayLike) -> dict[str, float]:
    """All five indices of hard classes in raw space. states: (n, d); label: (n,), any two or more distinct values.

    xbi, dbs: lower is better separated; chi, di, silhouette: higher. di is the smallest distance between classes
    over the largest within one; distances of 0 count (the released code skips them). Points (0,0), (0,2) against
    (4,0), (4,2) give chi 8, xbi 0.0625, dbs 0.5, di 2. One class gives NaN.
    """
    x = np.asarray(states, float)
    names, codes = np.unique(np.asarray(label), return_inverse=True)
    if len(names) < 2 or len(x) < 3:
        return dict.fromkeys(("xbi", "chi", "dbs", "di", "silhouette"), math.nan)
    sums, gaps = ClassSums.with_gaps(x, codes, len(names))
    spread = np.bincount(codes, np.sqrt(gaps)) / sums.size
    silhouettes, nearest, widest = pairwise_extremes(x, codes)
    return {
        "xbi": float(sums.xbi()),
        "chi": float(sums.chi()),
        "dbs": float(davies_bouldin(spread, sums.mean)),
        "di": float(_ratio(np.float64(nearest), np.float64(widest))),
        "silhouette": float(silhouettes.mean()),
    }


def pairwise_extremes(x: Floats, codes: Codes, block: int = 1024) -> tuple[Floats, float, float]:
    """Silhouette of every item (0 in a class of one), smallest distance between classes, largest within one.

    Distances come from Gram blocks, each pair once; the two extremes are computed again without cancellation.
    """
    order = np.argsort(codes, kind="stable")
    x, c = x[order] - x.mean(0), codes[order]
    size, square = np.bincount(c), (x**2).sum(1)
    ends = np.cumsum(size)
    cuts = [(k, a, min(a + block, e)) for k, e in enumerate(ends) for a in range(e - size[k], e, block)]
    sums, nearest, widest = np.zeros((len(x), len(size))), math.inf, 0.0
    for i, (k, a, b) in enumerate(cuts):
        for j, s, t in cuts[i:]:
            d = square[a:b, None] + square[s:t] - 2 * (x[a:b] @ x[s:t].T)
            np.sqrt(np.maximum(d, 0, out=d), out=d)
            if a == s:
                np.fill_diagonal(d, 0)
            else:
                sums[s:t, k] += d.sum(0)
            sums[a:b, j] += d.sum(1)
            row, column = np.unravel_index(d.argmax() if k == j else d.argmin(), d.shape)
            exact = float(np.linalg.norm(x[a + row] - x[s + column]))
            nearest, widest = (nearest, max(widest, exact)) if k == j else (min(nearest, exact), widest)
    rows = np.arange(len(x))
    own = sums[rows, c] / np.maximum(size[c] - 1, 1)
    sums = sums / size
    sums[rows, c] = math.inf
    other, found = sums.min(1), np.zeros(len(x))
    top = np.maximum(own, other)
    scored = (size[c] > 1) & (top > 0)
    found[order[scored]] = (other - own)[scored] / top[scored]
    return found, nearest, widest


def _gaps(mean: Floats) -> Floats:
    """(..., K, K) distances of class means, infinite on the diagonal."""
    d = np.linalg.norm(mean[..., :, None, :] - mean[..., None, :, :], axis=-1)
    return np.asarray(d + np.where(np.eye(d.shape[-1], dtype=bool), math.inf, 0.0))


def _ratio(top: Any, bottom: Any) -> Any:
    """top / bottom; x/0 is infinite and 0/0 NaN."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(top, float) / np.asarray(bottom, float)
