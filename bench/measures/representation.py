"""Measures of representations and similarity ratings beside the libraries people use for them, on the same data."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Case = tuple[str, str, Callable[[], float], Callable[[], float]]
PAIRWISE = 10_000
"""items beyond which the n x n work of a peer (Gram matrices, silhouettes) is not repeated"""


def cases(n: int) -> list[Case]:
    """(what, peer, ours, theirs); both return the same number. n: items, or item pairs for similarity ratings."""
    return [*_ratings(n), *_kernels(n), *_clusters(n), _aqi(n)]


def _ratings(n: int) -> list[Case]:
    from rsatoolbox.rdm import RDMs, compare

    from theodolite.measures.rank_rows import rank_correlations

    items = int((1 + np.sqrt(1 + 8 * n)) / 2)  # rsatoolbox wants all pairs of a whole number of items
    pairs = items * (items - 1) // 2
    rng = np.random.default_rng(0)
    human, model = (rng.integers(1, 8, (30, pairs)) + 0.5 * rng.random(pairs) for _ in range(2))

    def theirs() -> float:
        return float(compare(RDMs(human), RDMs(model), method="spearman").mean())

    return [
        (
            f"all rank correlations, 30 x 30 subjects, {pairs} pairs",
            "rsatoolbox",
            lambda: float(rank_correlations(human, model).mean()),
            theirs,
        )
    ]


def _kernels(n: int) -> list[Case]:
    from theodolite.measures.likeness.cka import cka

    few = min(n, PAIRWISE)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(few, 64))
    y = x @ rng.normal(size=(64, 32)) + rng.normal(size=(few, 32))

    def gram(debiased: bool) -> float:
        k, l = x @ x.T, y @ y.T
        if not debiased:
            k = k - k.mean(0) - k.mean(1)[:, None] + k.mean()
            l = l - l.mean(0) - l.mean(1)[:, None] + l.mean()
            return float((k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum()))
        np.fill_diagonal(k, 0)
        np.fill_diagonal(l, 0)

        def hsic(a: np.ndarray, b: np.ndarray) -> float:
            p, q = a.sum(1), b.sum(1)
            ends = p.sum() * q.sum() / ((few - 1) * (few - 2))
            return float((a * b).sum() + ends - 2 / (few - 2) * (p @ q))

        return hsic(k, l) / float(np.sqrt(hsic(k, k) * hsic(l, l)))

    return [
        (
            f"linear CKA, {few} items, 64 and 32 features",
            "Gram matrices (NumPy)",
            lambda: cka(x, y),
            lambda: gram(False),
        ),
        (
            f"debiased linear CKA, {few} items, 64 and 32 features",
            "Gram matrices (NumPy)",
            lambda: cka(x, y, debiased=True),
            lambda: gram(True),
        ),
    ]


def _clusters(n: int) -> list[Case]:
    from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score

    from theodolite.measures.likeness.separation import ClassSums, davies_bouldin, pairwise_extremes

    rng = np.random.default_rng(0)
    label = np.arange(n) % 2
    x = rng.normal(size=(n, 64)) + label[:, None]
    few = min(n, PAIRWISE)

    def dbs() -> float:
        sums, gaps = ClassSums.with_gaps(x, label)
        spread = np.bincount(label, np.sqrt(gaps)) / sums.size
        return float(davies_bouldin(spread, sums.mean))

    return [
        (
            f"Calinski-Harabasz, {n} items, 64 features",
            "scikit-learn",
            lambda: float(ClassSums.of(x, label).chi()),
            lambda: float(calinski_harabasz_score(x, label)),
        ),
        (
            f"Davies-Bouldin, {n} items, 64 features",
            "scikit-learn",
            dbs,
            lambda: float(davies_bouldin_score(x, label)),
        ),
        (
            f"silhouette (ours: Dunn index too), {few} items, 64 features",
            "scikit-learn",
            lambda: float(pairwise_extremes(x[:few], label[:few])[0].mean()),
            lambda: float(silhouette_score(x[:few], label[:few])),
        ),
    ]


def _aqi(n: int) -> Case:
    """AQI as it is reported: the five indices of separation and their combination. No library has it whole."""
    from scipy.spatial.distance import cdist, pdist
    from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, silhouette_score

    from theodolite.measures.call import evaluate

    rng = np.random.default_rng(0)
    few = min(n, PAIRWISE)
    label = np.arange(few) % 2
    x = rng.normal(size=(few, 64)) + label[:, None]
    words = ["safe" if i else "unsafe" for i in label]
    a, b = x[label == 0], x[label == 1]

    def ours() -> float:
        data = {"states": x, "label": words}
        return evaluate("aqi", data, cap=few, standardise=False, pca=None).value

    def theirs() -> float:
        calinski_harabasz_score(x, label)
        silhouette_score(x, label)
        dunn = cdist(a, b).min() / max(pdist(a).max(), pdist(b).max())
        return float(0.5 / (1 + davies_bouldin_score(x, label)) + 0.5 * dunn / (1 + dunn))

    return (f"AQI with its five indices, {few} items, 64 features", "scikit-learn and SciPy", ours, theirs)
