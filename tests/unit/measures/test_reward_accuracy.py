"""Reward models: pairs by hand, a slow obvious version, calibration of a reward that is calibrated, invariances."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from measure_case import Case
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.honesty.calibration import calibration_error
from theodolite.measures.judges.reward_accuracy import pair_accuracy
from theodolite.measures.records import Records

N = None
CASES = {
    "reward_model_accuracy": Case(
        good=Records(
            {"group": list("aaabbbcc"), "reward": [3, 2, 1, 5, 4, 9, 1, 0], "score": [3, 2, 1, 2, 1, 3, 0, 1]}
        ),
        bad=Records({"group": list("aaabbbcc"), "reward": [1, 2, 3, 5, 4, 9, 1, 0], "score": [3, 2, 1, 1, 2, 3, 0, 1]}),
        undefined=Records({"group": list("aab"), "reward": [1, 2, 3], "score": [1, 1, 2]}),
        missing=(Records({"group": ["a", "a", "a", "a", ""], "reward": [1, 2, N, 4, 1], "score": [1, 2, 3, N, 1]}), 3),
    )
}


def test_by_hand() -> None:
    # a: rewards 3 2 2, scores 2 1 3: (1,2) right; (1,3) wrong; (2,3) tied rewards, half. b: scores equal: no pair
    data = {"group": ["a", "a", "a", "b", "b"], "reward": [3, 2, 2, 1, 0], "score": [2, 1, 3, 5, 5]}
    got = evaluate("reward_model_accuracy", data)
    assert got.value == pytest.approx(1.5 / 3)
    assert (got.n, got.parts["pairs"], got.parts["groups_without_a_pair"]) == (1, 3, 1)
    assert got.parts["tied_rewards"] == pytest.approx(1 / 3)
    assert pair_accuracy([0, 0, 0], [3, 2, 1], [2, 2, 1]) == 1.0


@given(st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_agrees_with_looking_at_every_pair(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 40))
    group, reward, score = rng.integers(0, 6, n), rng.integers(0, 4, n) / 2, rng.integers(-1, 3, n)
    right, p, y = [], [], []
    for i, j in combinations(range(n), 2):
        if group[i] == group[j] and score[i] != score[j]:
            gap = (reward[i] - reward[j]) * np.sign(score[i] - score[j])
            right.append(1.0 if gap > 0 else 0.5 if gap == 0 else 0.0)
            for sign in (1, -1):
                p.append(1 / (1 + math.exp(-sign * gap)))
                y.append(int(sign > 0))
    got = evaluate("reward_model_accuracy", {"group": group, "reward": reward, "score": score}, resamples=100)
    if not right:
        assert math.isnan(got.value)
        return
    assert got.value == pytest.approx(np.mean(right))
    assert got.parts["ece"] == pytest.approx(calibration_error(p, y))
    assert got.parts["nll"] == pytest.approx(log_loss(y, p, labels=[0, 1]))


def world(rng: np.random.Generator, groups: int, answers: int, sharpness: float = 1.0) -> dict[str, np.ndarray]:
    """Scores drawn so that one answer beats the other with probability sigmoid(true reward gap)."""
    reward = rng.normal(size=(groups, answers))
    score = reward + rng.gumbel(size=reward.shape)  # a difference of two Gumbels is logistic
    return {
        "group": np.repeat(np.arange(groups), answers),
        "reward": sharpness * reward.ravel(),
        "score": score.ravel(),
    }


def test_a_calibrated_reward_and_an_overconfident_one() -> None:
    rng = np.random.default_rng(0)
    fair, loud = world(rng, 3000, 2), world(rng, 3000, 2, sharpness=4.0)
    a, b = (evaluate("reward_model_accuracy", d) for d in (fair, loud))
    assert a.parts["ece"] < 0.03
    assert b.parts["ece"] > 0.15
    assert a.low < a.value < a.high
    assert a.method == "wilson"  # one pair a group


def test_a_constant_for_each_prompt_changes_nothing() -> None:
    data = world(np.random.default_rng(1), 40, 4)
    moved = data | {"reward": data["reward"] + 100 * data["group"]}
    a, b = (evaluate("reward_model_accuracy", d) for d in (data, moved))
    assert a.value == b.value
    assert a.parts["ece"] == pytest.approx(b.parts["ece"])
    assert evaluate("reward_model_accuracy", data | {"reward": -data["reward"]}).value == pytest.approx(1 - a.value)


def test_groups_are_the_units() -> None:
    data = world(np.random.default_rng(2), 60, 5)
    got = evaluate("reward_model_accuracy", data)
    pairs = got.parts["pairs"]
    assert (got.n, pairs) == (60, 600)
    alone = 2 * 1.96 * math.sqrt(got.value * (1 - got.value) / pairs)  # as if pairs were independent
    assert got.high - got.low > 1.1 * alone
    assert got.method == "bootstrap (BCa)"


def test_a_large_gap_does_not_overflow() -> None:
    got = evaluate("reward_model_accuracy", {"group": [0, 0], "reward": [1e6, -1e6], "score": [0, 1]})
    assert got.value == 0.0
    assert got.parts["ece"] == pytest.approx(1.0)
    assert math.isfinite(got.parts["nll"])
    with pytest.raises(DataError, match="infinite"):
        evaluate("reward_model_accuracy", {"group": [0, 0], "reward": [math.inf, 0], "score": [0, 1]})
