"""Do 95 % intervals hold the truth in 95 of 100 samples? 2,000 simulated samples each, with the truth known exactly.

Each case names the n at which its method is held to 93-97 %: the smallest round n of realistic size. The Monte Carlo
error of a coverage of 95 % is 0.5 points, so a true coverage outside of 94-96 % would be noticed for most seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
import pytest
from scipy import integrate
from scipy import stats as scipy_stats

from theodolite import stats
from theodolite.measures.call import evaluate
from theodolite.measures.raters.krippendorff import Bags, disagreements
from theodolite.measures.records import Ratings, Records

SETS, RESAMPLES = 2000, 500
Sample = tuple[float, float]


def coverage(spans: Iterator[Sample], truth: float) -> float:
    found = np.array(list(spans))
    assert len(found) == SETS
    return float(np.mean((found[:, 0] <= truth) & (truth <= found[:, 1])))


def measured(name: str, draw: Callable[[np.random.Generator], object], **options: object) -> Iterator[Sample]:
    rng = np.random.default_rng(20_240)
    for seed in range(SETS):
        got = evaluate(name, draw(rng), seed=seed, resamples=RESAMPLES, **options)
        yield got.low, got.high


def close(share: float) -> None:
    assert 0.93 <= share <= 0.97, share


def test_wilson_at_30() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, SETS)  # for one p the coverage jumps with n, as for every interval of a count
    spans = [stats.wilson(int(k), 30) for k in rng.binomial(30, p)]
    close(float(np.mean([s.low <= q <= s.high for s, q in zip(spans, p, strict=True)])))


def test_mean_by_bootstrap_at_100() -> None:
    rng = np.random.default_rng(1)
    spans = (stats.bootstrap_mean(rng.gamma(4, 1, 100), rng, resamples=RESAMPLES) for _ in range(SETS))
    close(coverage(((s.low, s.high) for s in spans), 4.0))


P = np.array([0.5, 0.3, 0.2])
JOINT = 0.6 * np.diag(P) + 0.4 * np.outer(
    P, [0.2, 0.3, 0.5]
)  # the second rater copies 60 %, else has habits of their own


def two_raters(rng: np.random.Generator, n: int = 50) -> Ratings:
    cell = rng.choice(9, size=n, p=JOINT.ravel())
    return Ratings(np.column_stack([cell // 3, cell % 3]).astype(float), ("a", "b"))


@pytest.mark.parametrize(("weights", "power"), [("none", 0), ("quadratic", 2)])
def test_kappa_at_50(weights: str, power: int) -> None:
    gap = np.abs(np.arange(3)[:, None] - np.arange(3)[None, :])
    w = gap**power if power else (gap > 0).astype(float)
    truth = 1 - (JOINT * w).sum() / (np.outer(JOINT.sum(1), JOINT.sum(0)) * w).sum()
    close(coverage(measured("cohen_kappa", two_raters, weights=weights), float(truth)))


def three_raters(rng: np.random.Generator, n: int = 50) -> np.ndarray:
    truth = rng.choice(4, size=(n, 1), p=SHARES)
    return np.where(rng.random((n, 3)) < SURE, truth, rng.choice(4, size=(n, 3), p=SHARES)).astype(float)


SHARES, SURE = np.array([0.4, 0.3, 0.2, 0.1]), 0.75


def population() -> Bags:
    """Every triple of ratings with its probability, as units of an endless sample."""
    rows = np.array([sorted(t, reverse=True) for t in product(range(4), repeat=3)])
    rates = [
        sum(s * np.prod([SURE * (r == k) + (1 - SURE) * SHARES[r] for r in t]) for k, s in enumerate(SHARES))
        for t in product(range(4), repeat=3)
    ]
    return Bags(rows, 1e9 * np.array(rates), np.arange(4.0))


@pytest.mark.parametrize("metric", ["nominal", "ordinal", "interval"])
def test_alpha_at_50(metric: str) -> None:
    b = population()
    observed, expected = disagreements(b, metric)  # type: ignore[arg-type]
    truth = 1 - float(b.totals.sum()) * float(b.counts @ observed) / expected
    close(coverage(measured("krippendorff_alpha", three_raters, metric=metric), truth))


@pytest.mark.parametrize("name", ["spearman", "kendall"])
def test_rank_correlation_at_30(name: str) -> None:
    r = 0.6
    truth = 6 / math.pi * math.asin(r / 2) if name == "spearman" else 2 / math.pi * math.asin(r)

    def draw(rng: np.random.Generator) -> Ratings:
        a = rng.normal(size=30)
        return Ratings(np.column_stack([a, r * a + math.sqrt(1 - r * r) * rng.normal(size=30)]), ("a", "b"))

    close(coverage(measured(name, draw), truth))


def test_leniency_at_200() -> None:
    def draw(rng: np.random.Generator) -> Records:
        human = rng.random(200) < 0.5
        judge = np.where(rng.random(200) < 0.6, human, rng.random(200) < 0.7)
        return Records({"judge": judge.astype(float), "human": human.astype(float)})

    close(coverage(measured("leniency", draw), 0.7))


def test_corrected_rate_at_500_and_120_labelled() -> None:
    def draw(rng: np.random.Generator) -> Records:
        truth = np.r_[rng.random(500) < 0.2, np.arange(120) < 60]
        judged = np.where(truth, rng.random(620) < 0.9, rng.random(620) < 0.15).astype(float)
        return Records({"flag": judged[:500], "judge": judged[500:], "human": truth[500:].astype(float)})

    close(coverage(measured("corrected_rate", draw), 0.2))


def test_reward_accuracy_at_60_groups_of_4() -> None:
    density = scipy_stats.norm(scale=math.sqrt(2)).pdf
    truth = 2 * integrate.quad(lambda x: density(x) / (1 + math.exp(-x)), 0, 40)[0]

    def draw(rng: np.random.Generator) -> Records:
        reward = rng.normal(size=(60, 4))
        score = reward + rng.gumbel(size=reward.shape)  # the higher reward wins with sigmoid(gap)
        return Records({"group": np.repeat(np.arange(60), 4), "reward": reward.ravel(), "score": score.ravel()})

    close(coverage(measured("reward_model_accuracy", draw), truth))


def test_a_coverage_can_fail() -> None:
    rng = np.random.default_rng(3)
    half = [stats.bootstrap_mean(rng.normal(size=40), rng, level=0.8, resamples=200) for _ in range(SETS)]
    assert coverage(((s.low, s.high) for s in half), 0.0) < 0.9
