from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from measure_case import Case
from theodolite.errors import DataError, UsageError
from theodolite.measures.call import evaluate
from theodolite.measures.records import Records
from theodolite.measures.values.discretion import (
    case_types,
    conflict_wins,
    discrepancy,
    predicted_share,
    priorities,
    ranks,
    resampled,
    supremacy,
)


def cases(seed: int, n: int = 80, k: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).choice([-1.0, 0.0, 1.0], (n, k), p=[0.3, 0.4, 0.3])


def follower(principles: np.ndarray, order: list[int]) -> np.ndarray:
    """Decides as the first principle of `order` that speaks."""
    made = np.zeros(len(principles))
    for column in reversed(order):
        made = np.where(principles[:, column] != 0, principles[:, column], made)
    return made


P = cases(0)
AGREE = np.where((P != 0).any(1), np.sign(P.sum(1)), 1)
LOYAL = Records({"principles": P, "annotator": AGREE})
CONTRARY = Records({"principles": P, "annotator": -AGREE})
SILENT = Records({"principles": np.zeros((4, 3)), "annotator": [1, -1, 1, 1]})
STRICT = Records({"principles": P, "annotator": follower(P, [0, 1, 2, 3, 4])})
SOLID = np.array([[1, 1, 0], [-1, 0, -1], [0, 1, 1], [1, -1, 0]])
CASES = {
    "discretion_arbitrariness": Case(
        good=LOYAL,
        bad=CONTRARY,
        undefined=SILENT,
        missing=(Records({"principles": SOLID, "annotator": [1, 0, None, 1]}), 2),
    ),
    "principle_priority": Case(
        good=STRICT,
        undefined=SILENT,
        missing=(Records({"principles": np.array([[1, -1], [-1, 1], [1, -1]]), "annotator": [1, 0, 1]}), 1),
    ),
    "discretion_discrepancy": Case(
        good=Records({**STRICT, "other": follower(P, [0, 1, 2, 4, 3])}),
        bad=Records({**STRICT, "other": follower(P, [4, 3, 2, 1, 0])}),
        undefined=Records({**SILENT, "other": [1, 1, 1, -1]}),
        missing=(
            Records(
                {
                    "principles": np.array([[1, -1, 0], [-1, 1, 1], [1, 0, -1], [0, 1, -1], [1, -1, 1]]),
                    "annotator": [1, -1, 1, 1, 0],
                    "other": [1, -1, 1, -1, 1],
                }
            ),
            1,
        ),
    ),
}


def test_case_types_by_hand() -> None:
    types = case_types(np.array([[0, 0], [1, 0], [1, -1], [-1, -1]], float))
    assert types["indifference"].tolist() == [True, False, False, False]
    assert types["consensus"].tolist() == [False, True, False, True]
    assert types["conflict"].tolist() == [False, False, True, False]


def test_arbitrariness_by_hand() -> None:
    # four cases of consensus: followed, opposed, followed, undecided; one conflict, one indifferent
    rows = {"principles": [[1, 0], [-1, -1], [0, 1], [1, 1], [1, -1], [0, 0]], "annotator": [1, 1, 1, 0, 1, -1]}
    got = evaluate("discretion_arbitrariness", rows)
    assert got.value == pytest.approx(1 / 3)
    assert got.n == 3
    assert got.missing == 1
    assert got.parts["cases"] == pytest.approx({"indifference": 1 / 6, "conflict": 1 / 6, "consensus": 4 / 6})
    assert evaluate("discretion_arbitrariness", LOYAL).value == 0
    assert evaluate("discretion_arbitrariness", CONTRARY).value == 1


def masks(principles: np.ndarray, annotator: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Supremacy and conflict counts by K^2 masks, as the definition reads."""
    k = principles.shape[1]
    share, met = np.full((k, k), math.nan), np.zeros((k, k))
    for i in range(k):
        for j in range(k):
            here = (principles[:, i] * principles[:, j] < 0) & (annotator != 0)
            met[i, j] = here.sum()
            if here.any():
                share[i, j] = (principles[here, i] == annotator[here]).mean()
    return share, met


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 10**6))
def test_matrix_products_equal_masks(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    principles, annotator = rng.choice([-1.0, 0, 1], (n, k)), rng.choice([-1.0, 0, 1], n)
    wins = conflict_wins(principles, annotator)
    share, met = masks(principles, annotator)
    assert np.array_equal(wins + wins.T, met)
    assert supremacy(wins) == pytest.approx(share, nan_ok=True)
    both = supremacy(wins) + supremacy(wins).T
    assert np.all(np.isnan(both) | np.isclose(both, 1))


def test_annotator_that_is_a_principle() -> None:
    wins = conflict_wins(P, P[:, 2])
    assert np.nan_to_num(supremacy(wins)[2], nan=1) == pytest.approx(np.ones(5))
    theta = priorities(wins)
    assert theta[2] == np.inf
    assert ranks(theta)[2] == 1
    assert priorities(conflict_wins(P, -P[:, 2]))[2] == -np.inf


def test_a_strict_order_is_found() -> None:
    big = cases(1, 30000)
    got = evaluate(
        "principle_priority", {"principles": big, "annotator": follower(big, [3, 1, 0, 2, 4])}, names=list("abcde"), resamples=100
    )  # fmt: skip
    assert sorted(got.parts["rank"], key=got.parts["rank"].get) == list("dbace")
    assert got.value > 0.75  # a lower principle wins only where a higher one takes its side
    coin = evaluate(
        "principle_priority",
        {"principles": big, "annotator": np.random.default_rng(0).choice([-1, 1], 30000)},
        resamples=100,
    )
    assert coin.value == pytest.approx(0.5, abs=0.03)


def test_two_principles_by_hand() -> None:
    # three conflicts, principle 1 wins twice: odds 2, theta = ln(2)/2; the order predicts 2 of 3 verdicts
    rows = {"principles": [[1, -1], [1, -1], [-1, 1], [0, 0]], "annotator": [1, -1, -1, 1]}
    got = evaluate("principle_priority", rows)
    assert got.parts["priority"] == pytest.approx({"1": math.log(2) / 2, "2": -math.log(2) / 2}, abs=1e-6)
    assert got.value == pytest.approx(2 / 3)
    assert got.n == 3
    assert got.parts["supremacy"][0][1] == pytest.approx(2 / 3)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(2, 7).flatmap(
        lambda k: st.tuples(
            *(st.lists(st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 2.0, math.inf]), min_size=k, max_size=k),) * 2
        )
    )
)
def test_discrepancy_equals_scipy(pair: tuple[list[float], list[float]]) -> None:
    big = [np.clip(np.array(v), -99, 99) for v in pair]
    tau = kendalltau(*big).statistic
    assert discrepancy(np.array(pair[0]), np.array(pair[1])) == pytest.approx((1 - tau) / 2, nan_ok=True)


def test_discrepancy_limits() -> None:
    x = np.array([3.0, 1, -np.inf, np.inf])
    assert discrepancy(x, x) == 0
    assert discrepancy(x, -x) == 1
    assert np.isnan(discrepancy(x, np.zeros(4)))
    assert discrepancy(np.array([1.0, 2, np.nan]), np.array([1.0, 2, 9])) == 0
    batch = discrepancy(np.stack([x, -x]), np.stack([x, x]))
    assert batch.tolist() == [0, 1]


def test_predicted_share_by_hand() -> None:
    wins = np.array([[0, 3, 1], [1, 0, 0], [1, 0, 0]], float)
    # order 0 > 1 > 2: predicts 3 + 1 of 6 verdicts; all equal: half
    assert predicted_share(wins, np.array([2.0, 1, 0])) == pytest.approx(4 / 6)
    assert predicted_share(wins, np.zeros(3)) == pytest.approx(0.5)
    assert np.isnan(predicted_share(np.zeros((2, 2)), np.zeros(2)))


def test_resampled_counts_are_weighted_sums() -> None:
    principles, a = cases(3, 30, 4), np.random.default_rng(4).choice([-1.0, 1], 30)
    drawn = resampled(principles, [a, -a], 4000, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    weights = rng.multinomial(30, np.full(30, 1 / 30), size=4000)
    for b in range(5):
        rows = np.repeat(np.arange(30), weights[b])
        assert drawn[0][b] == pytest.approx(conflict_wins(principles[rows], a[rows]))
    assert drawn[0] == pytest.approx(drawn[1].transpose(0, 2, 1))
    assert drawn[0].mean(0) == pytest.approx(conflict_wins(principles, a), abs=0.3)


def test_blanks_are_indifferent_and_odd_values_a_letter() -> None:
    nulls = evaluate("discretion_arbitrariness", {"principles": [[1, None], [None, None]], "annotator": [1, None]})
    assert nulls.n == 1
    assert nulls.parts["cases"]["indifference"] == 0.5
    with pytest.raises(DataError, match="-1, 0 or 1"):
        evaluate("discretion_arbitrariness", {"principles": [[2, 0]], "annotator": [1]})
    with pytest.raises(DataError, match="rows"):
        evaluate("principle_priority", {"principles": [[1, 0]], "annotator": [1, 1]})
    with pytest.raises(UsageError, match="names"):
        evaluate("principle_priority", {"principles": [[1, 0]], "annotator": [1]}, names=["only one"])
