"""KorNAT's agreements by hand, and what must hold for every model and people."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from measure_case import Case
from theodolite.errors import ConfigError, DataError
from theodolite.measures.call import evaluate
from theodolite.measures.records import Records
from theodolite.measures.values.survey_values import merged, people_agreeing

NAMES = ("social_value_agreement", "aggregated_social_value_agreement", "neutral_social_value_agreement")
PEOPLE = [[0.1, 0.1, 0.1, 0.2, 0.5], [0.4, 0.3, 0.1, 0.1, 0.1], [0.2, 0.1, 0.4, 0.2, 0.1]] * 4


def table(people: list, answer: list, **more: list) -> Records:
    return Records({"distribution": people, "answer": answer, **more})


GOOD, BAD = table(PEOPLE, [4, 0, 2] * 4), table(PEOPLE, [0, 4, 0] * 4)
GAPS = table(PEOPLE[:3], [4, None, 2])
CASES = {n: Case(good=GOOD, bad=BAD, undefined=table(PEOPLE[:1], [None]), missing=(GAPS, 1)) for n in NAMES}


def test_by_hand() -> None:
    data = table(PEOPLE[:3], [3, 1, 0])
    # shares of the answers: .2, .3, .2; of their sides: .2 + .5, .4 + .3, .2 + .1; third has no side above one half
    sva, asva, nsva = (evaluate(n, data) for n in NAMES)
    assert sva.value == pytest.approx((0.2 + 0.3 + 0.2) / 3)
    assert asva.value == pytest.approx((0.7 + 0.7 + 0.3) / 3)
    assert nsva.value == pytest.approx((0.7 + 0.7 + 0.0) / 3)
    assert nsva.parts["without_majority"] == pytest.approx(1 / 3)
    assert evaluate(NAMES[2], table(PEOPLE[:3], [3, 1, 2])).value == pytest.approx((0.7 + 0.7 + 1) / 3)
    assert sva.parts["best_achievable"] == pytest.approx((0.5 + 0.4 + 0.4) / 3)
    assert sva.parts["random_respondent"] == pytest.approx((0.32 + 0.28 + 0.26) / 3)
    assert (sva.parts["uniform_guess"], asva.parts["uniform_guess"]) == (0.2, pytest.approx(1 / 3))


def test_rule_of_the_majority_is_an_option() -> None:
    data = table(PEOPLE[2:3], [0])
    assert evaluate(NAMES[2], data).value == 0.0
    assert evaluate(NAMES[2], data, majority=0.35).value == pytest.approx(0.3)


def test_invalid_answers() -> None:
    data = table(PEOPLE[:2], [-1, 0])
    got = evaluate(NAMES[0], data)
    assert (got.value, got.n, got.parts["invalid"]) == (pytest.approx(0.2), 2, 1)
    dropped = evaluate(NAMES[0], data, invalid="drop")
    assert (dropped.value, dropped.n, dropped.why) == (pytest.approx(0.4), 1, {"the answer names no option": 1})
    for answer in (5, -2, 1.5):
        with pytest.raises(DataError, match="must be an option's index"):
            evaluate(NAMES[0], table(PEOPLE[:1], [answer]))


def test_people_must_add_up() -> None:
    with pytest.raises(DataError, match="row 1, is not a distribution"):
        evaluate(NAMES[0], table([[0.5, 0.4, 0.0, 0.0, 0.0]], [0]))
    assert evaluate(NAMES[0], table([[0.5, 0.4, 0.0, 0.0, 0.0]], [0]), tolerance=0.2).value == pytest.approx(5 / 9)
    with pytest.raises(DataError, match="with a middle; got 4 options"):
        evaluate(NAMES[1], table([[0.25] * 4], [0]))
    with pytest.raises(DataError, match="one length"):
        evaluate(NAMES[0], table([[0.5, 0.5], [1.0]], [0, 0]))
    with pytest.raises(ConfigError, match="majority"):
        evaluate(NAMES[0], GOOD, majority=0.4)


def test_missing_people() -> None:
    got = evaluate(NAMES[0], table([None, [math.nan] * 5, PEOPLE[0]], [0, 0, 4]))
    assert (got.value, got.why) == (0.5, {"no human distribution": 2})


def test_respondents_widen_the_interval() -> None:
    few = evaluate(NAMES[0], table(PEOPLE, [4, 0, 2] * 4, respondents=[5] * 12))
    many = evaluate(NAMES[0], table(PEOPLE, [4, 0, 2] * 4, respondents=[10**6] * 12))
    plain = evaluate(NAMES[0], GOOD)
    assert few.value == many.value == plain.value
    assert few.high - few.low > 2 * (plain.high - plain.low)
    assert many.high - many.low == pytest.approx(plain.high - plain.low, rel=0.1)
    assert few.method == "bootstrap over questions and respondents"
    # variance of the mean: the spread between the 12 questions, and p(1 - p)/5 of the five people asked
    p = np.array([0.5, 0.4, 0.4] * 4)
    sd = math.sqrt((p.var() + (p * (1 - p) / 5).mean()) / 12)
    assert (few.high - few.low) / (2 * 1.96) == pytest.approx(sd, rel=0.15)


@st.composite
def surveys(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 8))
    counts = np.array(
        draw(st.lists(st.lists(st.integers(0, 5), min_size=5, max_size=5), min_size=n, max_size=n)), float
    )
    counts[:, 0] += counts.sum(1) == 0
    return counts / counts.sum(1, keepdims=True), np.array(draw(st.lists(st.integers(-1, 4), min_size=n, max_size=n)))


@given(surveys())
def test_what_always_holds(survey: tuple[np.ndarray, np.ndarray]) -> None:
    people, answer = survey
    agreed = people_agreeing(people, answer)
    assert agreed == pytest.approx([people[q, m] if m >= 0 else 0.0 for q, m in enumerate(answer)])
    assert (people_agreeing(*merged(people, answer)) >= agreed - 1e-12).all()
    mode = people.argmax(1)
    got = evaluate(NAMES[0], table(people.tolist(), mode.tolist()), resamples=100)
    assert got.value == pytest.approx(got.parts["best_achievable"])
    sure = np.eye(5)[mode]
    assert evaluate(NAMES[0], table(sure.tolist(), answer.tolist()), resamples=100).value == np.mean(answer == mode)
