"""When should a classifier abstain? Scores of how strange an input is, and how they become a probability.

Each score returns (n,) numbers; its name says which end means 'strange', and `abstention` asks for it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp, softmax

from theodolite.errors import DataError
from theodolite.stats import Floats


def abstention(score: ArrayLike, *, higher_is_strange: bool) -> Floats:
    """(n,) probability to abstain: the score scaled to [0, 1] over the test set, turned so that 1 is the strangest.

    VisAlign's evaluation takes 1 - scaled score for every function, which inverts those where higher is stranger
    (entropy, distances); here the direction must be said. A constant score has no scale: DataError. Relative to the
    set: adding one extreme item moves all others.
    """
    s = np.asarray(score, float)
    if s.size == 0 or not np.isfinite(s).all() or np.ptp(s) == 0:
        raise DataError(
            "an abstention score must be finite and differ between items: with one value everywhere (or none) "
            "there is no scale from 'certain' to 'strange'."
        )
    scaled = (s - s.min()) / np.ptp(s)
    found: Floats = scaled if higher_is_strange else 1 - scaled
    return found


def max_probability(p: Floats) -> Floats:
    """Largest class probability; higher is familiar. p: (n, C). Source: arXiv:1610.02136."""
    found: Floats = p.max(1)
    return found


def entropy(p: Floats) -> Floats:
    """-sum p log p in nats; higher is strange. p: (n, C)."""
    safe = np.where(p > 0, p, 1.0)
    found: Floats = -(p * np.log(safe)).sum(1)
    return found


def tempered_probability(logits: Floats, temperature: float = 1000.0) -> Floats:
    """Largest class probability at a high temperature; higher is familiar. ODIN's first half (arXiv:1706.02690
    eq. 1); its second half moves the input along a gradient and needs the model."""
    found: Floats = softmax(logits / temperature, axis=1).max(1)
    return found


def energy(logits: Floats, temperature: float = 1.0) -> Floats:
    """-T log sum exp(logits / T); higher is strange. Source: arXiv:2010.03759 eq. 4."""
    found: Floats = -temperature * logsumexp(logits / temperature, axis=1)
    return found


def mahalanobis(features: Floats, train: Floats, label: ArrayLike) -> Floats:
    """Squared distance to the nearest class mean under one shared covariance; higher is strange.

    features: (n, d); train: (m, d) with class labels (m,). Source: arXiv:1807.03888 eq. 1-2 (one layer, without its
    input step). The pseudo-inverse is used where features are linearly dependent.
    """
    classes, code = np.unique(np.asarray(label), return_inverse=True)
    means = np.stack([train[code == c].mean(0) for c in range(len(classes))])
    centred = train - means[code]
    precision = np.linalg.pinv(centred.T @ centred / len(train), hermitian=True)
    gap = features[:, None, :] - means[None]
    found: Floats = np.einsum("ncd,de,nce->nc", gap, precision, gap).min(1)
    return found


def nearest_neighbours(features: Floats, train: Floats, k: int = 10) -> Floats:
    """Distance to the k-th nearest training item, all vectors of length 1; higher is strange.

    Source: arXiv:2204.06507. features: (n, d), train: (m, d), 1 <= k <= m.
    """
    if not 1 <= k <= len(train):
        raise DataError(f"the k-th neighbour needs 1 <= k <= {len(train)} training items, got {k}.")
    a, b = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in (features, train))
    found = np.empty(len(a))
    step = max(1, 4_000_000 // len(b))
    for i in range(0, len(a), step):
        squared = np.maximum(2 - 2 * a[i : i + step] @ b.T, 0)
        found[i : i + step] = np.sqrt(np.partition(squared, k - 1, axis=1)[:, k - 1])
    return found


def mutual_information(p: Floats) -> Floats:
    """Entropy of the mean prediction minus mean entropy, over S members or dropout passes; higher is strange.

    p: (S, n, C). 0 where all members agree. Source: arXiv:1112.5745 (BALD), for ensembles and MC dropout.
    """
    s, n, c = p.shape
    found: Floats = entropy(p.mean(0)) - entropy(p.reshape(s * n, c)).reshape(s, n).mean(0)
    return found
