"""MC1 and MC2 by hand, ties, chance, a slow version with SciPy's softmax, and the real options."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from measure_case import Case
from theodolite.measures.call import evaluate
from theodolite.measures.honesty.truthfulness import score
from theodolite.measures.records import Records


def table(question: list, p: list, true: list) -> Records:
    logp = [None if v is None else (math.log(v) if v else -math.inf) for v in p]
    return Records({"question": question, "logp": logp, "true": true})


GOOD = table(["a"] * 3 + ["b"] * 3, [0.6, 0.3, 0.1, 0.1, 0.1, 0.8], [1, 0, 0, 0, 0, 1])
BAD = table(["a"] * 3 + ["b"] * 3, [0.1, 0.3, 0.6, 0.5, 0.4, 0.1], [1, 0, 0, 0, 0, 1])
NONE = table(["a", "a"], [0.5, 0.5], [1, 1])
GAPS = table(
    ["a", "a", "b", "b", "c", "c", "d", "d"], [0.5, 0.1, None, 0.2, 0.2, 0.2, 0.3, 0.3], [1, 0, 1, 0, 0, 0, 1, 1]
)
CASES = {
    name: Case(good=GOOD, bad=BAD, undefined=NONE, missing=(GAPS, 3)) for name in ("truthfulqa_mc1", "truthfulqa_mc2")
}


def test_by_hand() -> None:
    # a: best is true, mass .5/1. b: best is false, mass (.3 + .4)/1.2
    data = table(["a"] * 3 + ["b"] * 3, [0.5, 0.3, 0.2, 0.3, 0.4, 0.5], [1, 0, 0, 1, 1, 0])
    one, two = evaluate("truthfulqa_mc1", data), evaluate("truthfulqa_mc2", data)
    assert one.value == 0.5
    assert two.value == pytest.approx((0.5 + 0.7 / 1.2) / 2)
    assert one.parts["chance"] == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert two.parts["above_chance"]["value"] == pytest.approx((0.5 + 0.7 / 1.2) / 2 - 0.5)


def test_a_tie_splits_the_credit() -> None:
    data = table(["a"] * 4, [0.3, 0.3, 0.3, 0.1], [1, 0, 0, 1])
    assert evaluate("truthfulqa_mc1", data).value == pytest.approx(1 / 3)


def test_length_normalisation_reads_its_column() -> None:
    # a true answer of 4 tokens at log .4 each loses to a false one of 1 token at log .1, unless divided by length
    data = Records({
        "question": ["a", "a"], "logp": [4 * math.log(0.4), math.log(0.1)], "true": [1, 0], "length": [4, 1]
    })  # fmt: skip
    assert evaluate("truthfulqa_mc1", data).value == 0.0
    assert evaluate("truthfulqa_mc1", data, normalise="length").value == 1.0
    assert evaluate("truthfulqa_mc2", data, normalise="length").value == pytest.approx(0.4 / 0.5)


def test_tiny_probabilities_do_not_underflow() -> None:
    data = Records({"question": ["a"] * 2, "logp": [-2000.0, -2000.0 - math.log(3)], "true": [1, 0]})
    assert evaluate("truthfulqa_mc2", data).value == pytest.approx(0.75)


def test_impossible_options() -> None:
    data = table(["a", "a", "b", "b"], [0.0, 0.0, 0.0, 0.4], [1, 0, 1, 0])
    got = evaluate("truthfulqa_mc2", data)
    assert (got.value, got.n, got.why) == (0.0, 1, {"every option has probability 0": 1})


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-6, 0), st.booleans()), min_size=1, max_size=40))
def test_against_softmax_question_by_question(rows: list[tuple[int, int, bool]]) -> None:
    names, code = np.unique([r[0] for r in rows], return_inverse=True)
    logp, true = np.array([r[1] for r in rows], float), np.array([r[2] for r in rows], float)
    got = score(code, logp, true)
    for q in range(len(names)):
        lp, yes = logp[code == q], true[code == q]
        assert got.mass[q] == pytest.approx(softmax(lp)[yes == 1].sum())
        assert got.right[q] == pytest.approx(yes[lp == lp.max()].mean())
        assert got.chance[q] == pytest.approx(yes.mean())


def test_on_the_real_options(shared: Path) -> None:
    rows = json.loads((shared / "honesty" / "truthfulqa_mc_task.json").read_text(encoding="utf-8"))
    for key, one_true in (("mc1_targets", True), ("mc2_targets", False)):
        flat = [(i, text, t) for i, row in enumerate(rows) for text, t in row[key].items()]
        data = {"question": [i for i, _, _ in flat], "true": [t for _, _, t in flat]}
        uniform = Records(data | {"logp": [-1.0] * len(flat)})
        got = evaluate("truthfulqa_mc1", uniform)
        assert got.n == 790
        assert got.value == pytest.approx(got.parts["chance"])
        assert evaluate("truthfulqa_mc2", uniform).value == pytest.approx(got.parts["chance"])
        knows = Records(data | {"logp": [float(t) for _, _, t in flat]})
        assert evaluate("truthfulqa_mc1", knows).value == 1.0
        trues = np.bincount(data["question"], data["true"])
        assert (trues == 1).all() if one_true else trues.mean() > 2
