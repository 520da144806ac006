from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from measure_case import Case
from theodolite import stats
from theodolite.errors import DataError, UsageError
from theodolite.measures.arenas.length_control import STRENGTHS, cross_validated, deviates, l1_logistic
from theodolite.measures.call import evaluate
from theodolite.measures.records import Records


def judged(seed: int, n: int = 200, theta: float = 0.5, phi: float = 0.0, shift: float = 0.0) -> Records:
    """n verdicts by the minimal model: logit P = theta + phi tanh(standardised baseline minus model length)."""
    rng = np.random.default_rng(seed)
    one, two = rng.normal(1000, 150, n).round(), rng.normal(1000 + shift, 150, n).round()
    delta = (one - two) / np.std(one - two, ddof=1)
    won = rng.random(n) < expit(theta + phi * np.tanh(delta))
    return Records({"preference": np.where(won, 2.0, 1.0), "length_1": one, "length_2": two})


GAPS = {"preference": [2, 1, None, 2, 7], "length_1": [10, 20, 30, None, 50], "length_2": [12, 18, 33, 40, 60]}
CASES = {
    "win_rate": Case(
        good=Records({"outcome": ["a"] * 9 + ["b"]}),
        bad=Records({"outcome": ["a"] * 2 + ["b"] * 8}),
        undefined=Records({"outcome": [None, ""]}),
        missing=(Records({"preference": GAPS["preference"]}), 2),
    ),
    "length_controlled_win_rate": Case(
        good=judged(0, theta=1.2),
        bad=judged(0, theta=-1.2),
        undefined=Records({"preference": [None, 1], "length_1": [1, None], "length_2": [1, 1]}),
        missing=(Records(GAPS), 3),
        options={"resamples": 100},
    ),
}


def test_plain_by_hand() -> None:
    # AlpacaEval's numbers: 2 wins, 1 loss, a draw as 1.5 and a draw as the old 0: y = 1, 1, 0, .5, .5
    got = evaluate("win_rate", {"preference": [2, 2, 1, 1.5, 0]})
    assert got.value == pytest.approx(0.6)
    assert got.parts["standard_error"] == pytest.approx(np.std([1, 1, 0, 0.5, 0.5], ddof=1) / math.sqrt(5))
    assert (got.parts["wins"], got.parts["losses"], got.parts["draws"]) == (2, 1, 2)
    assert got.method == "bootstrap"


def test_soft_preferences_and_their_discrete_rate() -> None:
    got = evaluate("win_rate", {"preference": [1.9, 1.6, 1.2, 1.5]})
    assert got.value == pytest.approx((0.9 + 0.6 + 0.2 + 0.5) / 4)
    assert got.parts["discrete_win_rate"] == pytest.approx((1 + 1 + 0 + 0.5) / 4)


def test_yes_no_verdicts_get_wilson() -> None:
    got = evaluate("win_rate", {"outcome": [1] * 7 + [0] * 3})
    span = stats.wilson(7, 10)
    assert (got.low, got.high, got.method) == (span.low, span.high, "wilson")
    sweep = evaluate("win_rate", {"outcome": [1] * 8})
    assert sweep.value == 1
    assert sweep.low < 1
    assert sweep.high == 1
    draws = evaluate("win_rate", {"outcome": ["tie"] * 8})
    assert draws.value == 0.5
    assert draws.low < 0.5 < draws.high


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(1, 2)), min_size=1, max_size=30))
def test_swapping_roles_mirrors(preference: list[float | None]) -> None:
    there = evaluate("win_rate", {"preference": preference}, resamples=100)
    back = evaluate("win_rate", {"preference": [None if p is None else 3 - p for p in preference]}, resamples=100)
    if math.isnan(there.value):
        assert math.isnan(back.value)
        return
    assert back.value == pytest.approx(1 - there.value, abs=1e-12)
    assert there.missing == back.missing == sum(p is None for p in preference)


def test_each_prompt_counts_once() -> None:
    rows = {"outcome": [1, 1, 1, 0], "prompt": ["p", "p", "p", "q"]}
    assert evaluate("win_rate", rows).value == 0.5
    assert evaluate("win_rate", rows).n == 2
    rng = np.random.default_rng(0)
    once = rng.integers(0, 2, 200).astype(float)
    wide = evaluate("win_rate", {"outcome": np.repeat(once, 5), "prompt": np.repeat(np.arange(200), 5)})
    narrow = evaluate("win_rate", {"outcome": np.repeat(once, 5)})
    assert wide.high - wide.low > 1.9 * (narrow.high - narrow.low)  # copies of a verdict are not data


def test_order_by_hand() -> None:
    # p: model wins in both orders; q: wins only when shown first; r: judged in one order only
    rows = {
        "outcome": [1, 1, 1, 0, 0],
        "prompt": list("ppqqr"),
        "order": ["first", "second", "first", "second", "first"],
    }
    order = evaluate("win_rate", rows).parts["order"]
    assert order["by_order"] == pytest.approx({"first": 2 / 3, "second": 1 / 2})
    assert order["consistency"] == 0.5
    assert order["both_orders"] == 2
    one = evaluate("win_rate", {"outcome": [1, 0], "order": ["first", "first"]}).parts["order"]
    assert math.isnan(one["consistency"])


def test_letters() -> None:
    with pytest.raises(DataError, match="Keep the one"):
        evaluate("win_rate", {"preference": [1], "outcome": [1]})
    with pytest.raises(DataError, match="outcome"):
        evaluate("win_rate", {"verdict": [1]})
    with pytest.raises(DataError, match="length_1"):
        evaluate("length_controlled_win_rate", {"preference": [1, 2]})
    with pytest.raises(UsageError, match="difficulty and gamed"):
        evaluate("length_controlled_win_rate", judged(0), convention="alpaca_eval")


# length control


def features(data: Records) -> tuple[np.ndarray, np.ndarray]:
    delta = np.asarray(data["length_1"]) - np.asarray(data["length_2"])
    tanh = np.tanh(delta / np.std(delta, ddof=1))
    return np.stack([np.ones(len(tanh)), tanh], 1), np.asarray(data["preference"]) - 1


@pytest.mark.parametrize("seed", range(4))
def test_minimal_form_equals_statsmodels(seed: int) -> None:
    data = judged(seed, theta=0.4, phi=-1.0, shift=80)
    got = evaluate("length_controlled_win_rate", data, c=1e7, resamples=100)
    x, y = features(data)
    theirs = sm.GLM(y, x, family=sm.families.Binomial()).fit(tol=1e-12).params
    assert [got.parts["theta"], got.parts["phi"]] == pytest.approx(theirs, abs=1e-5)
    assert got.value == pytest.approx(expit(theirs[0]), abs=1e-6)
    assert got.parts["form"] == "minimal"


@pytest.mark.parametrize("seed", range(4))
def test_soft_labels_equal_statsmodels_too(seed: int) -> None:
    x, hard = features(judged(seed, phi=-0.5))
    y = np.clip(hard * 0.7 + 0.1, 0, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # statsmodels doubts shares without counts
        theirs = sm.GLM(y, x, family=sm.families.Binomial()).fit(tol=1e-12).params
    assert l1_logistic(x, y, np.ones((1, len(y))), 1e8)[0] == pytest.approx(theirs, abs=1e-6)


def liblinear(x: np.ndarray, y: np.ndarray, weight: np.ndarray, c: float) -> np.ndarray:
    """The way of AlpacaEval: every row twice, weights y and 1 - y."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions spell the penalty otherwise
        model = LogisticRegression(
            penalty="l1", solver="liblinear", C=c, fit_intercept=False, tol=1e-10, max_iter=100000, random_state=123
        )
        model.fit(np.concatenate([x, x]), np.repeat([1, 0], len(y)), np.concatenate([y, 1 - y]) * np.tile(weight, 2))
    return np.asarray(model.coef_[0])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.01, 0.1, 1.0, 30.0]), st.integers(1, 3))
def test_l1_fit_equals_liblinear(seed: int, c: float, columns: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.concatenate([np.ones((40, 1)), rng.normal(size=(40, 2))], 1)[:, :columns]
    y, weight = rng.random(40), rng.choice([0.1, 1.0, 2.0], 40)
    ours = l1_logistic(x, y, weight[None], c)[0]

    def loss(beta: np.ndarray) -> float:
        q = x @ beta
        return float(np.abs(beta).sum() + c * (weight * (np.logaddexp(0, q) - y * q)).sum())

    theirs = liblinear(x, y, weight, c)
    assert loss(ours) <= loss(theirs) + 1e-7
    assert ours == pytest.approx(theirs, abs=2e-3)


def test_cross_validation_equals_scikit_learn_fits() -> None:
    x, y = features(judged(3, n=60, phi=-1.0))
    fold, losses = np.arange(60) % 5, []
    for c in np.logspace(-4, 4, 10):
        held = []
        for k in range(5):
            beta = liblinear(x[fold != k], y[fold != k], np.ones(48), c)
            q = np.clip(expit(x[fold == k] @ beta), 1e-15, 1 - 1e-15)
            t = y[fold == k]
            held.append(-np.mean(t * np.log(q) + (1 - t) * np.log(1 - q)))
        losses.append(np.mean(held))
    assert cross_validated(x, y, np.ones(60), np.arange(60)) == STRENGTHS[int(np.argmin(losses))]


def test_batch_equals_single_fits() -> None:
    x, y = features(judged(1, n=50))
    weight = np.random.default_rng(0).multinomial(50, np.full(50, 1 / 50), size=9).astype(float)
    batch = l1_logistic(x, y, weight, 2.0)
    for row, beta in zip(weight, batch):
        assert l1_logistic(x, y, row[None], 2.0)[0] == pytest.approx(beta, abs=1e-7)


def longest(one: np.ndarray, two: np.ndarray) -> dict[str, np.ndarray]:
    """A judge that prefers the longer answer, whatever it says."""
    return {"outcome": (1 + np.sign(two - one)) / 2, "length_1": one, "length_2": two}


def test_a_judge_that_only_sees_length() -> None:
    rng = np.random.default_rng(0)
    one, two = rng.normal(1000, 200, 600).round(), rng.normal(1000, 200, 600).round()
    got = evaluate("length_controlled_win_rate", longest(one, two), resamples=100)
    assert got.value == pytest.approx(0.5, abs=0.03)
    shifted = evaluate("length_controlled_win_rate", judged(1, n=600, theta=0, phi=-4, shift=250), resamples=100)
    assert shifted.parts["win_rate"] > 0.75
    assert shifted.value == pytest.approx(0.5, abs=0.12)
    assert "far from the plain win rate" in shifted.note


def test_a_judge_that_does_not_see_length() -> None:
    got = evaluate("length_controlled_win_rate", judged(7, n=800, theta=0.6, shift=100), resamples=200)
    assert got.value == pytest.approx(got.parts["win_rate"], abs=0.03)
    assert got.low < expit(0.6) < got.high
    assert got.note == ""


def test_interval_equals_refits_in_a_loop() -> None:
    data = judged(2, n=120, theta=0.3, phi=-1.0, shift=60)
    got = evaluate("length_controlled_win_rate", data, c=5.0, resamples=2000)
    (x, y), rng, found = features(data), np.random.default_rng(9), []
    for _ in range(400):
        at = rng.integers(0, 120, 120)
        found.append(expit(liblinear(x[at], y[at], np.ones(120), 5.0)[0]))
    assert [got.low, got.high] == pytest.approx(np.quantile(found, [0.025, 0.975]), abs=0.02)


def test_all_wins_and_equal_lengths() -> None:
    sweep = evaluate(
        "length_controlled_win_rate",
        {"preference": [2] * 12, "length_1": [9] * 12, "length_2": [9] * 12},
        resamples=100,
    )
    assert 0.9 < sweep.value < 1
    assert "no length term" in sweep.note
    assert "fewer than 30" in sweep.note


def test_texts_are_measured_in_characters() -> None:
    rows = {
        "preference": [2, 1, 2, 1, 1.5],
        "output_1": ["a", "bb", " c ", "", "e"],
        "output_2": ["aaa", "b", "c", "dd", "e"],
    }
    sizes = {"preference": rows["preference"], "length_1": [1, 2, 3, 0, 1], "length_2": [3, 1, 1, 2, 1]}
    texts, numbers = (evaluate("length_controlled_win_rate", r, c=1.0, resamples=100) for r in (rows, sizes))
    assert texts.value == pytest.approx(numbers.value)
    assert texts.parts["phi"] == pytest.approx(numbers.parts["phi"])


def with_gamed(n: int = 60) -> Records:
    rng = np.random.default_rng(4)
    hard, prompt = rng.normal(size=n), np.arange(n)
    blocks = []
    for name, theta, size in (("", 0.7, 900), ("concise", -1.5, 300), ("verbose", -0.2, 2000)):
        one, two = rng.normal(1000, 100, n).round(), rng.normal(size, 100, n).round()
        won = rng.random(n) < expit(theta + 0.6 * hard)
        blocks.append([np.where(won, 2.0, 1.0), one, two, hard, prompt, np.repeat(name, n)])
    columns = [np.concatenate(c) for c in zip(*blocks)]
    return Records(dict(zip(("preference", "length_1", "length_2", "difficulty", "prompt", "gamed"), columns)))


def test_alpaca_eval_form_equals_its_glm() -> None:
    data = with_gamed()
    got = evaluate("length_controlled_win_rate", data, convention="alpaca_eval", c=3.0, resamples=100)
    delta = np.asarray(data["length_1"]) - np.asarray(data["length_2"])
    for block in (slice(0, 60), slice(60, 120), slice(120, 180)):
        delta[block] /= np.std(delta[block], ddof=1)
    own = np.repeat([1.0, 0.0, 0.0], 60)
    x = np.stack([own, np.tanh(delta), np.asarray(data["difficulty"])], 1)
    beta = liblinear(x, np.asarray(data["preference"]) - 1, np.where(own == 1, 1, 0.1), 3.0)
    expected = expit(beta[0] + beta[2] * np.asarray(data["difficulty"])[:60]).mean()
    assert got.value == pytest.approx(expected, abs=1e-4)
    assert got.parts["form"] == "alpaca_eval"
    predicted = expit(beta[0] + beta[2] * np.asarray(data["difficulty"])[:60])
    assert got.parts["standard_error"] == pytest.approx(predicted.std(ddof=1) / math.sqrt(60), abs=1e-4)
    assert got.n == 60
    assert got.parts["gamed_rows"] == 120
    assert got.missing == 0
    assert got.low < got.value < got.high


def test_gamed_rows_are_left_out_and_counted_in_the_plain_form() -> None:
    got = evaluate("length_controlled_win_rate", with_gamed(), resamples=100)
    assert got.parts["form"] == "difficulty"
    assert got.missing == 120
    assert got.parts["gamed_rows"] == 0


def test_given_differences_are_used_as_they_are() -> None:
    data = dict(judged(5))
    delta = features(judged(5))[0][:, 1]
    given = evaluate("length_controlled_win_rate", data | {"std_delta_len": np.arctanh(delta)}, resamples=100)
    assert given.value == pytest.approx(evaluate("length_controlled_win_rate", data, resamples=100).value, abs=1e-9)
    halved = evaluate("length_controlled_win_rate", data | {"std_delta_len": np.zeros(200)}, resamples=100)
    assert "phi" not in halved.parts


def test_warning_of_alpaca_eval_by_hand() -> None:
    # their docstring: raw 0.2 warns below 0.1 or above 0.4; raw 0.5 below 0.375 or above 0.625
    assert [deviates(0.2, v) for v in (0.09, 0.11, 0.39, 0.41)] == [True, False, False, True]
    assert [deviates(0.5, v) for v in (0.37, 0.38, 0.62, 0.63)] == [True, False, False, True]
