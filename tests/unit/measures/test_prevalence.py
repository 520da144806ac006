"""Corrected rates: by hand, on a known world, at the ends, and where the classifier knows nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from measure_case import Case
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.judges.prevalence import Counts, corrected, draws_interval
from theodolite.measures.records import Records


def sample(flagged: int, n: int, found: int, positives: int, passed: int, negatives: int) -> Records:
    return Records(
        {
            "flag": [1] * flagged + [0] * (n - flagged),
            "judge": [1] * found + [0] * (positives - found) + [0] * passed + [1] * (negatives - passed),
            "human": [1] * positives + [0] * negatives,
        }
    )


def apart(data: Records, rng: np.random.Generator) -> Records:
    """Flags in one order, labelled rows in another: they are different items."""
    flag, order = np.asarray(data["flag"]), rng.permutation(len(data["judge"]))
    return Records(
        {
            "flag": rng.permutation(flag),
            "judge": np.asarray(data["judge"])[order],
            "human": np.asarray(data["human"])[order],
        }
    )


CASES = {
    "corrected_rate": Case(
        good=sample(30, 100, 8, 10, 9, 10),
        undefined=sample(30, 100, 5, 10, 5, 10),
        missing=(
            Records({"flag": [1, None, 0, 1], "judge": [1, 0, None, 0, 1], "human": [1, 0, 1, None, 1]}),
            3,
        ),
        shuffle=apart,
    )
}


def test_by_hand() -> None:
    # p = .3, TPR = .8, TNR = .9: (.3 + .9 - 1)/(.8 + .9 - 1) = 2/7
    got = evaluate("corrected_rate", CASES["corrected_rate"].good)
    assert got.value == pytest.approx(2 / 7)
    assert (got.parts["observed"], got.parts["tpr"], got.parts["tnr"]) == pytest.approx((0.3, 0.8, 0.9))
    assert (got.n, got.parts["labelled"]) == (100, 20)
    assert got.low < 2 / 7 < got.high


def test_a_perfect_classifier_changes_nothing_but_its_own_doubt_stays() -> None:
    got = evaluate("corrected_rate", sample(30, 100, 20, 20, 20, 20))
    sure = evaluate("corrected_rate", sample(30, 100, 20_000, 20_000, 20_000, 20_000))
    assert got.value == sure.value == pytest.approx(0.3)
    assert got.high - got.low > 1.1 * (sure.high - sure.low)
    assert (sure.low, sure.high) == pytest.approx((0.2189, 0.3959), abs=0.01)  # about Wilson's for 30 of 100


def test_both_samples_add_to_the_width() -> None:
    small = evaluate("corrected_rate", sample(3000, 10_000, 8, 10, 9, 10))
    large = evaluate("corrected_rate", sample(3000, 10_000, 800, 1000, 900, 1000))
    assert large.value == pytest.approx(small.value)
    assert large.high - large.low < 0.25 * (small.high - small.low)


def test_it_recovers_the_truth() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(20_000) < 0.1
    judged = np.where(truth, rng.random(20_000) < 0.85, rng.random(20_000) < 0.2)
    data = {
        "flag": judged[:18_000].astype(int),
        "judge": judged[18_000:].astype(int),
        "human": truth[18_000:].astype(int),
    }
    got = evaluate("corrected_rate", data)
    assert got.parts["observed"] > 0.25
    assert got.low < 0.1 < got.high < 0.2


def test_clipped_at_the_ends_and_it_says_so() -> None:
    got = evaluate("corrected_rate", sample(2, 100, 9, 10, 8, 10))
    assert got.value == 0.0
    assert got.parts["unclipped"] == pytest.approx((0.02 + 0.8 - 1) / 0.7)
    assert "clipped" in got.note
    assert got.low == 0.0


def test_undefined_says_why() -> None:
    for data, why in (
        (sample(30, 100, 5, 10, 4, 10), "no better than chance"),
        (sample(30, 100, 5, 10, 0, 0), "both positives and negatives"),
        (Records({"flag": [None, None], "judge": [1, 0], "human": [1, 0]}), "target set is empty"),
    ):
        got = evaluate("corrected_rate", data)
        assert math.isnan(got.value)
        assert why in got.note


def test_draws_that_say_nothing_widen() -> None:
    draws = np.r_[np.full(90, 0.5), np.full(10, math.nan)]
    span = draws_interval(draws, 0.95)
    assert (span.low, span.high) == (0.0, 1.0)


def test_padding_is_not_missing() -> None:
    flag = [1, 0, 0, 1, 0, 1]
    data = {"flag": flag, "judge": [1, 0, 1, "", "", ""], "human": [1, 0, 1, "", "", ""]}
    got = evaluate("corrected_rate", data)
    assert (got.missing, got.n, got.parts["labelled"]) == (0, 6, 3)
    short = {"flag": [1, 0, "", ""], "judge": [1, 0, 1, 0], "human": [1, 0, 1, 0]}
    assert evaluate("corrected_rate", short).missing == 0


def test_letter_for_unequal_labels() -> None:
    with pytest.raises(DataError, match="judge and human must be equally long, got 2 and 1"):
        evaluate("corrected_rate", {"flag": [1], "judge": [1, 0], "human": [1]})


def test_formula_alone() -> None:
    assert corrected(Counts(30, 100, 8, 10, 9, 10))[0] == pytest.approx(2 / 7)
