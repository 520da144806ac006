"""Do the 95 % intervals of comparisons, win rates and human-likeness hold the truth? 2,000 simulated samples each.

As in test_interval_coverage: every case names the n at which its method is held to 93-97 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from scipy.special import expit

from theodolite import stats
from theodolite.measures import compare
from theodolite.measures.arenas.bradley_terry import ELO, bootstrap
from theodolite.measures.arenas.matches import read_matches
from theodolite.measures.call import evaluate
from theodolite.measures.records import Ratings, Records

SETS, RESAMPLES = 2000, 500
Span = tuple[float, float]


def held(spans: Iterator[Span], truth: float) -> None:
    found = np.array(list(spans))
    assert len(found) == SETS
    share = float(np.mean((found[:, 0] <= truth) & (truth <= found[:, 1])))
    assert 0.93 <= share <= 0.97, share


def measured(name: str, draw: Callable[[np.random.Generator], object], **options: object) -> Iterator[Span]:
    rng = np.random.default_rng(77)
    for seed in range(SETS):
        got = evaluate(name, draw(rng), seed=seed, **options)
        yield got.low, got.high


def test_a_paired_difference_of_shares_at_60() -> None:
    # probabilities of both, only a, only b, neither change from set to set: for one table the coverage jumps with n
    rng, hits = np.random.default_rng(0), 0
    for p in rng.dirichlet([4, 2, 2, 4], SETS):
        span = stats.newcombe_paired(*(int(k) for k in rng.multinomial(60, p)))
        hits += span.low <= p[1] - p[2] <= span.high
    assert 0.93 <= hits / SETS <= 0.97, hits / SETS


@pytest.mark.parametrize("sizes", ["equal", "unequal"])
def test_a_difference_over_100_prompts_with_several_answers(sizes: str) -> None:
    def spans() -> Iterator[Span]:
        rng = np.random.default_rng(1)
        for _ in range(SETS):
            m = np.full(100, 3) if sizes == "equal" else rng.integers(1, 7, 100)
            sums = m * rng.normal(0.3, 1, 100) + np.sqrt(m) * rng.normal(size=100)
            span = compare.cluster_bootstrap(sums, m, rng, resamples=RESAMPLES)
            yield span.low, span.high

    held(spans(), 0.3)


def test_the_normal_limit_of_the_cluster_bootstrap() -> None:
    rng = np.random.default_rng(2)
    m = rng.integers(1, 7, 20_000)
    sums = m * rng.normal(0.3, 1, len(m))
    limit = compare.cluster_bootstrap(sums, m, rng, resamples=1000)
    drawn = compare.cluster_bootstrap(sums, m, rng, resamples=999)
    assert (limit.method, drawn.method) == ("cluster-bootstrap, normal limit", "cluster-bootstrap")
    assert (limit.low, limit.high) == pytest.approx((drawn.low, drawn.high), abs=0.1 * (drawn.high - drawn.low))


def test_win_rate_over_80_prompts_in_both_orders() -> None:
    def draw(rng: np.random.Generator) -> Records:
        own = rng.beta(3, 2, 80)  # each prompt has a win probability of its own, 0.6 on average
        won = rng.random((80, 2)) < own[:, None]
        return Records({"outcome": won.ravel().astype(float), "prompt": np.repeat(np.arange(80), 2)})

    held(measured("win_rate", draw, resamples=RESAMPLES), 0.6)


def test_the_gap_of_two_models_in_300_matches() -> None:
    truth = np.array([0.5, 0.0, -0.5])

    def spans() -> Iterator[Span]:
        rng = np.random.default_rng(3)
        for _ in range(SETS):
            a = rng.integers(0, 3, 300)
            b = (a + rng.integers(1, 3, 300)) % 3
            won = (rng.random(300) < expit(truth[a] - truth[b])).astype(float)
            m = read_matches(Records({"model_a": a.astype(str), "model_b": b.astype(str), "outcome": won}))
            drawn = ELO * bootstrap(m, rng, 300)[0]
            low, high = np.quantile(drawn[:, 0] - drawn[:, 2], [0.025, 0.975])
            yield float(low), float(high)

    held(spans(), ELO * 1.0)


JOINT = 0.6 * np.diag([0.5, 0.3, 0.2]) + 0.4 * np.outer([0.5, 0.3, 0.2], [0.2, 0.3, 0.5])
"""probability of each pair of ratings by two raters"""


def two_raters(rng: np.random.Generator) -> Ratings:
    cell = rng.choice(9, size=80, p=JOINT.ravel())
    return Ratings(np.column_stack([cell // 3, cell % 3]).astype(float), ("a", "b"))


@pytest.mark.parametrize("name", ["scott_pi", "fleiss_kappa"])
def test_coefficients_of_pooled_raters_at_80(name: str) -> None:
    pooled = (JOINT.sum(0) + JOINT.sum(1)) / 2
    chance = float(pooled @ pooled)
    held(measured(name, two_raters, resamples=RESAMPLES), (float(np.trace(JOINT)) - chance) / (1 - chance))


def test_percent_agreement_of_three_raters_at_80() -> None:
    habits = np.array([0.5, 0.3, 0.2])

    def draw(rng: np.random.Generator) -> Ratings:
        truth = rng.choice(3, size=(80, 1), p=habits)
        seen = np.where(rng.random((80, 3)) < 0.7, truth, rng.choice(3, size=(80, 3), p=habits))
        return Ratings(seen.astype(float), ("a", "b", "c"))

    # two raters agree if both see the truth or one or both of them draw what the other says
    agree = 0.7**2 + (1 - 0.7**2) * float(habits @ habits)
    held(measured("percent_agreement", draw, resamples=RESAMPLES), agree)


def test_reading_time_slope_at_200_words() -> None:
    def draw(rng: np.random.Generator) -> Records:
        length = rng.integers(2, 12, 200).astype(float)
        surprisal = 0.5 * length + rng.gamma(2, 2, 200)
        time = 250 + 3 * surprisal + 8 * length + 25 * rng.normal(size=200)
        return Records({"surprisal": surprisal, "reading_time": time, "word_length": length})

    held(measured("reading_time_slope", draw, resamples=300), 3.0)


def test_norm_alignment_at_200_words() -> None:
    def draw(rng: np.random.Generator) -> Records:
        human = rng.normal(size=200)
        return Records({"human": human, "model": 0.6 * human + 0.8 * rng.normal(size=200)})

    held(measured("norm_alignment", draw, resamples=300), 0.6)


def test_a_narrow_interval_would_be_seen() -> None:
    rng, hits = np.random.default_rng(4), 0
    for _ in range(SETS):
        sums = rng.normal(size=100)
        span = compare.cluster_bootstrap(sums, np.ones(100), rng, level=0.8, resamples=RESAMPLES)
        hits += span.low <= 0 <= span.high
    assert hits / SETS < 0.9
