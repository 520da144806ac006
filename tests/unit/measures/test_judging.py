"""Judges: each number by hand, what is missing, where nothing can be said, known-good and known-bad judges."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from measure_case import Case
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.judges.judge_bias import place, sign_p, size_of
from theodolite.measures.records import Records
from theodolite.stats import Interval, newcombe_paired

N = None


def records(**columns: list[object]) -> Records:
    return Records(columns)


# 60 right answers, of which the judge passes 48; 40 wrong ones, of which it passes 16: TPR .8, TNR .6
LENIENT = records(judge=[1] * 48 + [0] * 12 + [1] * 16 + [0] * 24, human=[1] * 60 + [0] * 40)
STEADY = records(first_order=["A"] * 6 + ["B"] * 5 + ["tie"], swapped_order=["A"] * 6 + ["B"] * 4 + ["A", "tie"])
MOVED = records(first_order=["A"] * 9 + ["B"] * 3, swapped_order=["B"] * 9 + ["A"] * 2 + ["B"])
CASES = {
    "leniency": Case(
        good=LENIENT,
        undefined=records(judge=[1, 0, 1], human=[1, 1, 1]),
        missing=(records(judge=[1, 0, 1, 0, 1, N, 1], human=[1, 0, 0, 1, 1, 1, N]), 2),
    ),
    "judge_accuracy": Case(
        good=records(verdict=["A", "B", "A", "B", "tie", "A"], human=["A", "B", "A", "B", "tie", "B"]),
        bad=records(verdict=["A", "B", "A", "B", "tie", "A"], human=["B", "A", "A", "A", "A", "B"]),
        undefined=records(verdict=["", "A"], human=["A", ""]),
        missing=(records(verdict=["A", "", "B", "A"], human=["A", "B", "B", N]), 2),
    ),
    "position_bias": Case(
        good=STEADY,
        bad=MOVED,
        undefined=records(first_order=["A", N], swapped_order=[N, "B"]),
        missing=(records(first_order=["A", "B", N, "A"], swapped_order=["A", N, "B", "B"]), 2),
    ),
    "swap_consistency": Case(
        good=STEADY,
        bad=MOVED,
        undefined=records(first_order=["A", N], swapped_order=[N, "B"]),
        missing=(records(first_order=["A", "B", N, "A"], swapped_order=["A", N, "B", "B"]), 2),
    ),
    "self_preference": Case(
        good=records(judge_prefers_own=[1, 1, 1, 0, 1, 0], human_prefers_own=[1, 0, 1, 0, 0, 0]),
        undefined=records(judge_prefers_own=[1, N], human_prefers_own=[N, 0]),
        missing=(records(judge_prefers_own=[1, N, 0], human_prefers_own=[1, 0, N]), 2),
    ),
}


def test_leniency_by_hand() -> None:
    got = evaluate("leniency", LENIENT)
    # P_c = .8 + .6 - 1 = .4, P+ = .4/.6
    assert got.value == pytest.approx(0.4 / 0.6)
    assert got.parts["p_known"] == pytest.approx(0.4)
    assert (got.parts["tpr"], got.parts["tnr"]) == pytest.approx((0.8, 0.6))
    assert got.parts["score_delta"] == pytest.approx(0.64 - 0.60)
    assert got.low < got.value < got.high


def test_leniency_recovers_the_judge_it_assumes() -> None:
    rng = np.random.default_rng(0)
    human = rng.integers(0, 2, 40_000)
    judge = np.where(rng.random(40_000) < 0.7, human, rng.random(40_000) < 0.8)
    got = evaluate("leniency", {"judge": judge.astype(int), "human": human})
    assert got.low < 0.8 < got.high
    assert got.high - got.low < 0.04
    assert got.parts["p_known"] == pytest.approx(0.7, abs=0.01)


def test_leniency_is_undefined_where_the_spec_says() -> None:
    for judge, human, why in (
        ([1, 0], [1, 1], "alike"),
        ([0, 1, 0, 1], [1, 0, 1, 0], "worse than chance"),
        ([1, 0], [1, 0], "always right"),
        ([], [], "no answer"),
    ):
        got = evaluate("leniency", {"judge": judge, "human": human})
        assert math.isnan(got.value)
        assert why in got.note


def test_order_of_exam_takers() -> None:
    taker = ["x"] * 4 + ["y"] * 4 + ["z"] * 4
    human = [1, 1, 1, 0, 1, 1, 0, 0, 1, 0, 0, 0]
    judge = [1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0]  # means 1, 1/4, 3/4 against 3/4, 1/2, 1/4: ranks 3 1 2 against 3 2 1
    got = evaluate("leniency", {"judge": judge, "human": human, "taker": taker})
    assert got.parts["taker_rank_correlation"] == pytest.approx(0.5)


def test_judge_accuracy_by_hand() -> None:
    verdict = ["A", "B", "tie", "A", "", "B", "a", 1]
    human = [1, 2, 1, 2, 1, "tie", "A", ""]
    got = evaluate("judge_accuracy", {"verdict": verdict, "human": human})
    # rows with both: A=A, B=B, tie/A, A/B, B/tie, A=A -> 3 of 6
    assert (got.value, got.n) == (pytest.approx(3 / 6), 6)
    assert got.why == {"no human": 1, "no verdict": 1}
    assert got.parts["counting_missing_as_wrong"] == pytest.approx(3 / 7)
    assert got.parts["where_people_saw_a_winner"] == pytest.approx(3 / 5)
    want = cohen_kappa_score(["A", "B", "t", "A", "B", "A"], ["A", "B", "A", "B", "t", "A"])
    assert got.parts["kappa"] == pytest.approx(want)
    assert got.parts["table"][0] == {"verdict": "A", "A": 2, "B": 1, "tie": 0}
    assert got.method == "wilson"


def test_rows_of_one_item_are_one_unit() -> None:
    data = {"verdict": list("AAABBB"), "human": list("AABBBA"), "item": ["x", "x", "x", "y", "z", "z"]}
    got = evaluate("judge_accuracy", data)
    assert got.value == pytest.approx((2 / 3 + 1 + 1 / 2) / 3)
    assert (got.n, got.parts["rows"]) == (3, 6)
    many = {k: v * 30 for k, v in data.items()} | {"item": [f"{i}-{j}" for j in range(30) for i in "xxxyzz"]}
    rows = {k: v for k, v in many.items() if k != "item"}
    assert evaluate("judge_accuracy", many).low < evaluate("judge_accuracy", many).value
    assert evaluate("judge_accuracy", rows).value == pytest.approx(4 / 6)


def test_a_verdict_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"'verdict' must hold A, B or tie .* got 'neither' in row 2"):
        evaluate("judge_accuracy", {"verdict": ["A", "neither"], "human": ["A", "B"]})
    with pytest.raises(DataError, match=r"'judge' must hold 1 or 0, got 0\.5 in row 1"):
        evaluate("leniency", {"judge": [0.5], "human": [1]})
    with pytest.raises(DataError, match="equally long"):
        evaluate("leniency", {"judge": [0, 1], "human": [1]})


def test_position_bias_by_hand() -> None:
    # pairs: first place twice (+1); A both times (0); tie then A: the second place once (-1/2); second place twice (-1)
    got = evaluate("position_bias", {"first_order": ["A", "A", "tie", "B"], "swapped_order": ["B", "A", "A", "A"]})
    assert place([1, 1, 0, 2], [2, 1, 1, 1]) == pytest.approx([1, 0, -0.5, -1])
    assert got.parts["signed"] == pytest.approx(-0.5 / 4)
    assert got.value == pytest.approx(0.5 / 4)
    assert got.parts["share_first"] == pytest.approx(3 / 8)
    assert got.parts["share_second"] == pytest.approx(4 / 8)
    assert got.parts["share_first"] - got.parts["share_second"] == pytest.approx(got.parts["signed"])


def test_a_judge_of_places_and_a_fair_one() -> None:
    first = {"first_order": ["A"] * 40, "swapped_order": ["B"] * 40}
    got = evaluate("position_bias", first)
    assert (got.value, got.parts["signed"], got.high) == (1.0, 1.0, 1.0)
    assert 0.8 < got.low < 1
    assert got.p_value is not None
    assert got.p_value < 1e-3
    assert evaluate("swap_consistency", first).value == 0.0
    rng = np.random.default_rng(0)
    honest = ["A" if x else "B" for x in rng.integers(0, 2, 400)]
    fair = evaluate("position_bias", {"first_order": honest, "swapped_order": honest})
    assert (fair.value, fair.low, fair.p_value) == (0.0, 0.0, 1.0)
    guess = evaluate("position_bias", {"first_order": honest, "swapped_order": list(rng.permutation(honest))})
    assert guess.low == 0.0
    assert guess.p_value is not None
    assert guess.p_value > 0.01


def test_exchanging_the_places_flips_the_sign() -> None:
    data = {"first_order": ["A", "A", "A", "B", "tie"], "swapped_order": ["B", "B", "A", "B", "B"]}
    other = {"first_order": data["swapped_order"], "swapped_order": data["first_order"]}
    a, b = (evaluate("position_bias", d) for d in (data, other))
    assert a.parts["signed"] == -b.parts["signed"] == pytest.approx(0.5)
    assert a.value == b.value


def test_size_of_an_interval_and_the_p_values_limit() -> None:
    assert size_of(Interval(-0.3, 0.1, 0.95, "")) == Interval(0.0, 0.3, 0.95, "")
    assert size_of(Interval(-0.3, -0.1, 0.95, "")) == Interval(0.1, 0.3, 0.95, "")
    rng = np.random.default_rng(0)
    b = np.r_[np.ones(1040), -np.ones(970)]
    assert sign_p(b, rng) == pytest.approx(binomtest(1040, 2010).pvalue, abs=0.01)
    assert sign_p(np.zeros(4), rng) == 1.0


def test_swap_consistency_by_hand() -> None:
    got = evaluate(
        "swap_consistency",
        {"first_order": ["A", "A", "tie", "B", "tie"], "swapped_order": ["A", "B", "tie", "tie", "A"]},
    )
    assert got.value == pytest.approx(2 / 5)
    assert (got.parts["opposite"], got.parts["one_tie"]) == pytest.approx((1 / 5, 2 / 5))
    assert got.parts["table"][0] == {"verdict": "A", "A": 1, "B": 1, "tie": 0}


def test_self_preference_by_hand() -> None:
    judge = [1] * 30 + [0] * 20
    human = [1] * 20 + [0] * 10 + [1] * 2 + [0] * 18
    got = evaluate("self_preference", {"judge_prefers_own": judge, "human_prefers_own": human})
    assert got.value == pytest.approx(30 / 50 - 22 / 50)
    span = newcombe_paired(20, 10, 2, 18)
    assert (got.low, got.high) == (span.low, span.high)
    assert got.p_value == pytest.approx(binomtest(2, 12).pvalue)
    assert got.parts["judge_where_people_did_not"] == pytest.approx(10 / 28)


def test_one_annotator_judged_by_another(shared: Path) -> None:
    rows = json.loads((shared / "preference/pandalm_testset_v1.json").read_text(encoding="utf-8"))
    data = {"verdict": [r["annotator1"] for r in rows], "human": [r["annotator2"] for r in rows]}
    got = evaluate("judge_accuracy", data)
    same = np.mean(np.array(data["verdict"]) == np.array(data["human"]))
    assert got.value == pytest.approx(same)
    assert got.parts["kappa"] == pytest.approx(cohen_kappa_score(data["verdict"], data["human"]))
