"""Abstention scores against SciPy and scikit-learn; their direction is never guessed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from scipy.special import softmax
from sklearn.covariance import EmpiricalCovariance
from sklearn.neighbors import NearestNeighbors

from theodolite.errors import DataError
from theodolite.measures.honesty import abstention as ab

RNG = np.random.default_rng(0)
P = RNG.dirichlet(np.ones(5), 30)
LOGITS = RNG.normal(0, 3, (30, 5))
TRAIN, LABEL, TEST = RNG.normal(size=(200, 6)), RNG.integers(0, 3, 200), RNG.normal(0, 2, (30, 6))


def test_direction_is_said() -> None:
    s = np.array([1.0, 3.0, 2.0])
    assert ab.abstention(s, higher_is_strange=True).tolist() == [0.0, 1.0, 0.5]
    assert ab.abstention(s, higher_is_strange=False).tolist() == [1.0, 0.0, 0.5]
    # certain and uniform predictions: whichever score is used, the uniform one abstains
    p = np.array([[1.0, 0.0], [0.5, 0.5]])
    assert ab.abstention(ab.entropy(p), higher_is_strange=True).tolist() == [0, 1]
    assert ab.abstention(ab.max_probability(p), higher_is_strange=False).tolist() == [0, 1]


@pytest.mark.parametrize("score", [[], [1.0, 1.0], [1.0, math.nan], [1.0, math.inf]])
def test_no_scale(score: list[float]) -> None:
    with pytest.raises(DataError, match="there is no scale"):
        ab.abstention(score, higher_is_strange=True)


def test_entropy_and_energy() -> None:
    assert ab.entropy(P) == pytest.approx(scipy_stats.entropy(P, axis=1))
    assert ab.entropy(np.array([[1.0, 0.0]])).tolist() == [0.0]
    assert ab.energy(LOGITS, 2.0) == pytest.approx(-2 * np.log(np.exp(LOGITS / 2).sum(1)))
    assert ab.tempered_probability(LOGITS, 1.0) == pytest.approx(softmax(LOGITS, axis=1).max(1))
    assert ab.tempered_probability(LOGITS, 1e9) == pytest.approx(np.full(30, 0.2))


def test_mahalanobis_is_scikit_learns() -> None:
    means = np.stack([TRAIN[c == LABEL].mean(0) for c in range(3)])
    shared = EmpiricalCovariance(assume_centered=True).fit(TRAIN - means[LABEL])
    theirs = np.min([shared.mahalanobis(TEST - m) for m in means], axis=0)
    assert ab.mahalanobis(TEST, TRAIN, LABEL) == pytest.approx(theirs)


def test_neighbours_are_scikit_learns() -> None:
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (TRAIN, TEST)]
    distance, _ = NearestNeighbors(n_neighbors=7).fit(unit[0]).kneighbors(unit[1])
    assert ab.nearest_neighbours(TEST, TRAIN, 7) == pytest.approx(distance[:, 6])
    with pytest.raises(DataError, match="1 <= k <= 200"):
        ab.nearest_neighbours(TEST, TRAIN, 201)


def test_mutual_information_is_zero_where_members_agree() -> None:
    assert ab.mutual_information(np.stack([P, P])) == pytest.approx(np.zeros(30), abs=1e-12)
    # two sure members who disagree: the mean is even, log 2
    assert ab.mutual_information(np.array([[[1.0, 0.0]], [[0.0, 1.0]]])) == pytest.approx([math.log(2)])
