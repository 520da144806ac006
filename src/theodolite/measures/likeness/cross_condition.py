"""Is a yes/no variable coded the same way in every condition? Parallelism and generalisation across conditions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from theodolite.measures.records import Floats


def parallelism(states: ArrayLike, target: ArrayLike, condition: ArrayLike) -> float:
    """Mean cosine, over pairs of conditions, of the directions from target-false to target-true state means.

    states: (n, d), target: (n,) bool, condition: (n,). 1: the target is coded the same way everywhere. NaN with
    fewer than two conditions that hold both values. Conditions are paired as given; Bernardi et al. 2020 maximise
    over pairings where the task names none.
    """
    x, t, c = np.asarray(states, float), np.asarray(target, bool), np.asarray(condition)
    both = [k for k in np.unique(c) if t[c == k].any() and not t[c == k].all()]
    if len(both) < 2:
        return math.nan
    ways = np.array([x[(c == k) & t].mean(0) - x[(c == k) & ~t].mean(0) for k in both])
    norms = np.linalg.norm(ways, axis=1, keepdims=True)
    if not norms.all():
        return math.nan
    cosines = (ways / norms) @ (ways / norms).T
    return float(cosines[np.triu_indices(len(both), 1)].mean())


def cross_condition(states: ArrayLike, target: ArrayLike, condition: ArrayLike, ridge: float = 0.01) -> float:
    """Accuracy on a condition that a linear readout never saw, averaged over conditions left out; 0.5 is chance.

    The readout is least squares on +-1 with `ridge` times the mean eigenvalue (Bernardi et al. 2020 use a support
    vector machine), judged by the mean of both classes' accuracies. NaN with fewer than two complete conditions.
    """
    x, t, c = np.asarray(states, float), np.asarray(target, bool), np.asarray(condition)
    both = [k for k in np.unique(c) if t[c == k].any() and not t[c == k].all()]
    scores = []
    for k in both if len(both) > 1 else []:
        there = c != k
        mean, sign = x[there].mean(0), np.where(t[there], 1.0, -1.0)
        weight = _ridge(x[there] - mean, sign - sign.mean(), ridge)
        guess = (x[~there] - mean) @ weight + sign.mean() > 0
        truth = t[~there]
        scores.append((guess[truth].mean() + (~guess[~truth]).mean()) / 2)
    return float(np.mean(scores)) if scores else math.nan


def _ridge(x: Floats, y: Floats, ridge: float) -> Floats:
    """Ridge weights of centred x (n, d), solved in the smaller of both forms."""
    wide = x.shape[1] > x.shape[0]
    gram = x @ x.T if wide else x.T @ x
    gram = gram + (ridge * np.trace(gram) / len(gram) + 1e-12) * np.eye(len(gram))
    return np.asarray(x.T @ np.linalg.solve(gram, y) if wide else np.linalg.solve(gram, x.T @ y))
