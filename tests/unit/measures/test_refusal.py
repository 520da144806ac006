"""Rates of refusal by hand, the interval against statsmodels, and XSTest's human labels."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep

from measure_case import Case
from theodolite.errors import DataError
from theodolite.measures.call import evaluate
from theodolite.measures.honesty.refusal import unpaired_difference
from theodolite.measures.records import Records

R, P, C = "refusal", "partial", "compliance"


def table(label: list, verdict: list, **more: list) -> Records:
    return Records({"label": label, "verdict": verdict, **more})


GOOD = table(["safe"] * 10 + ["unsafe"] * 10, [C] * 9 + [R] + [R] * 9 + [C])
BAD = table(["safe"] * 10 + ["unsafe"] * 10, [R] * 6 + [C] * 4 + [C] * 5 + [R] * 5)
NONE = table(["safe", "unsafe"], ["", None])
GAPS = table(["safe", "safe", None, "unsafe", "unsafe"], [C, "", R, R, C])
CASES = {
    "refusal_rate": Case(good=GOOD, undefined=NONE, missing=(GAPS, 1)),
    "over_refusal": Case(good=GOOD, bad=BAD, undefined=NONE, missing=(GAPS, 2)),
    "refusal_gap": Case(good=GOOD, bad=BAD, undefined=NONE, missing=(GAPS, 2)),
}


def test_by_hand() -> None:
    data = table(["safe"] * 5 + ["unsafe"] * 3, [C, C, R, P, C, R, R, P], type=["a", "a", "b", "b", "b", "x", "x", "x"])
    over, gap, rate = (evaluate(n, data) for n in ("over_refusal", "refusal_gap", "refusal_rate"))
    assert over.value == pytest.approx(1 / 5)
    assert over.parts["partial"]["value"] == pytest.approx(1 / 5)
    assert over.parts["unsafe"]["value"] == pytest.approx(2 / 3)
    assert [(r["type"], r["value"], r["n"]) for r in over.parts["by_type"]] == [
        ("a", 0, 2),
        ("b", pytest.approx(1 / 3), 3),
    ]
    assert gap.value == pytest.approx(2 / 3 - 1 / 5)
    assert rate.value == pytest.approx(3 / 8)
    assert [r["type"] for r in rate.parts["by_type"]] == ["a", "b", "x"]


def test_answers_are_judged_where_there_is_no_verdict() -> None:
    data = Records(
        {"label": ["safe", "unsafe", "safe"], "answer": ["Sure, here it is.", "I’m sorry, but I can’t.", " "]}
    )
    got = evaluate("refusal_gap", data)
    assert got.value == 1.0
    assert got.why == {"no answer": 1}
    assert got.parts["judged_by"] == "string classifier"
    german = Records({"answer": ["Es tut mir leid, aber ich kann dabei nicht helfen."]})
    assert evaluate("refusal_rate", german, languages=["de"]).value == 1.0
    assert evaluate("refusal_rate", german).value == 0.0


def test_letters() -> None:
    with pytest.raises(DataError, match=r"'refused' is no verdict.*refusal"):
        evaluate("refusal_rate", {"verdict": ["refused"]})
    with pytest.raises(DataError, match=r"column 'verdict'.*or a column 'answer'"):
        evaluate("refusal_rate", {"response": ["x"]})
    with pytest.raises(DataError, match="neither safe nor unsafe"):
        evaluate("over_refusal", {"verdict": [R], "label": ["harmless"]})
    with pytest.raises(DataError, match="equally long"):
        evaluate("over_refusal", {"verdict": [R, C], "label": ["safe"]})


@given(st.integers(1, 80), st.integers(1, 80), st.data())
def test_interval_agrees_with_statsmodels(n1: int, n2: int, data: st.DataObject) -> None:
    k1, k2 = data.draw(st.integers(0, n1)), data.draw(st.integers(0, n2))
    span = unpaired_difference(k1, n1, k2, n2)
    theirs = confint_proportions_2indep(k1, n1, k2, n2, method="newcomb", compare="diff")
    assert (span.low, span.high) == pytest.approx(theirs, abs=1e-9)


def test_interval_of_an_empty_group() -> None:
    assert math.isnan(unpaired_difference(0, 0, 1, 2).low)


def test_on_xstests_own_labels(shared: Path) -> None:
    path = shared / "safety" / "xstest_completions_mistralinstruct_human.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    label = ["unsafe" if r["type"].startswith("contrast") else "safe" for r in rows]
    data = Records({"label": label, "verdict": [r["final_label"] for r in rows], "type": [r["type"] for r in rows]})
    got = evaluate("over_refusal", data)
    safe = [r["final_label"] for r, of in zip(rows, label) if of == "safe"]
    assert (got.n, got.missing) == (250, 0)
    assert got.value == pytest.approx(safe.count("2_full_refusal") / 250)
    assert len(got.parts["by_type"]) == 10
    assert sum(r["n"] for r in got.parts["by_type"]) == 250
    assert evaluate("refusal_gap", data).value > 0.1
