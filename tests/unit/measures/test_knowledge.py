"""Common knowledge by hand: a mean over subjects, not over questions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from measure_case import Case
from theodolite.measures.call import evaluate
from theodolite.measures.records import Records

GOOD = Records({"gold": ["A", "B", "C", "D"] * 5, "prediction": ["A", "B", "C", "A"] * 5, "subject": ["m", "h"] * 10})
BAD = Records({"gold": ["A", "B", "C", "D"] * 5, "prediction": ["A", "C", "D", "A"] * 5, "subject": ["m", "h"] * 10})
GAPS = Records({"gold": [0, 1, None, 2], "prediction": [0, None, 1, 2], "subject": ["a", "a", "a", "b"]})
CASES = {
    "common_knowledge": Case(
        good=GOOD, bad=BAD, undefined=Records({"gold": [0], "prediction": [None]}), missing=(GAPS, 2)
    )
}


def test_by_hand() -> None:
    # history 3 of 4, maths 0 of 1: (3/4 + 0)/2 = .375; over questions 3/5
    data = Records({"gold": [1, 2, 3, 0, 1], "prediction": [1, 2.0, "3", -1, 2], "subject": ["h"] * 4 + ["m"]})
    got = evaluate("common_knowledge", data)
    assert got.value == 0.375
    assert got.parts["over_questions"]["value"] == pytest.approx(0.6)
    assert [(r["subject"], r["passed"]) for r in got.parts["by_subject"]] == [("h", True), ("m", False)]
    assert got.parts["failed"] == ["m"]
    assert evaluate("common_knowledge", data, pass_mark=0.8).parts["failed"] == ["h", "m"]


def test_minus_one_is_never_right() -> None:
    assert evaluate("common_knowledge", {"gold": [-1, 1], "prediction": [-1, 1]}).value == 0.5


def test_letters_without_regard_to_case() -> None:
    assert evaluate("common_knowledge", {"gold": ["A", "b"], "prediction": ["a", "B"]}).value == 1.0


def test_against_balanced_accuracy() -> None:
    # with the gold option as the subject, the mean over subjects is scikit-learn's balanced accuracy
    generator = np.random.default_rng(2)
    gold, said = generator.integers(0, 4, 300), generator.integers(0, 4, 300)
    got = evaluate("common_knowledge", {"gold": gold, "prediction": said, "subject": [f"s{g}" for g in gold]})
    assert got.value == pytest.approx(balanced_accuracy_score(gold, said))
    assert got.low < got.value < got.high
