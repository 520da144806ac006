"""Hellinger distance and reliability by hand, and what must hold for all distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from measure_case import Case
from theodolite.errors import DataError, UsageError
from theodolite.measures.call import evaluate
from theodolite.measures.likeness.visual_alignment import PAYOFFS, hellinger, with_abstention
from theodolite.measures.records import Records

NAN = math.nan
GOOD = Records({
    "p": [[0.9, 0.1], [0.2, 0.8], [0.5, 0.5], [0.6, 0.4]] * 3, "a": [0.0, 0.1, 0.9, 0.3] * 3,
    "g": [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.4, 0.2, 0.4]] * 3, "category": ["x", "x", "y", "z"] * 3,
    "group": ["act", "act", "abstain", "uncertain"] * 3, "label": [0, 1, None, 0] * 3,
})  # fmt: skip
BAD = Records(dict(GOOD.columns) | {"p": [[0.1, 0.9], [0.8, 0.2], [0.5, 0.5], [0.1, 0.9]] * 3, "a": [0.1] * 12})
GAPS = Records(dict(GOOD.columns) | {"a": [None, *GOOD["a"][1:]]})
EMPTY = Records({"p": [[0.5, 0.5]], "a": [None], "g": [[0, 0, 1]], "group": ["act"], "label": [0]})
CASES = {
    "visual_alignment_distance": Case(good=GOOD, bad=BAD, undefined=EMPTY, missing=(GAPS, 1)),
    "reliability_score": Case(good=GOOD, bad=BAD, undefined=EMPTY, missing=(GAPS, 1)),
}


def test_limits() -> None:
    for p, a, g, want in (
        ([0.25, 0.75], 0.2, [0.2, 0.6, 0.2], 0.0),  # the same distribution
        ([1, 0], 0.0, [0, 1, 0], 1.0),  # nothing in common
        ([0.5, 0.5], 1.0, [0, 0, 1], 0.0),  # abstaining where one must
    ):
        assert evaluate("visual_alignment_distance", {"p": [p], "a": [a], "g": [g]}).value == pytest.approx(want)


def test_mean_over_categories_by_hand() -> None:
    # x: 0 and 1, y: sqrt(1 - sqrt(1/2)); (1/2 + .5412)/2
    data = {
        "p": [[1, 0], [0, 1], [1, 0]],
        "a": [0, 0, 0],
        "g": [[1, 0, 0], [1, 0, 0], [0.5, 0.5, 0]],
        "category": "xxy",
    }
    data["category"] = list(data["category"])
    got = evaluate("visual_alignment_distance", data)
    assert got.value == pytest.approx((0.5 + math.sqrt(1 - math.sqrt(0.5))) / 2)
    assert [r["category"] for r in got.parts["by_category"]] == ["x", "y"]


@given(st.integers(0, 10**6))
def test_hellinger_is_symmetric_and_one_minus_the_affinity(seed: int) -> None:
    q, g = np.random.default_rng(seed).dirichlet(np.ones(4), (2, 5))
    h = hellinger(q, g)
    assert h == pytest.approx(hellinger(g, q))
    assert h**2 == pytest.approx(1 - np.sqrt(q * g).sum(1))
    assert ((h >= 0) & (h <= 1)).all()


def test_abstaining_takes_its_share() -> None:
    assert with_abstention(np.array([[0.5, 0.5]]), np.array([0.4])) == pytest.approx(np.array([[0.3, 0.3, 0.4]]))


def test_reliability_by_hand() -> None:
    data = Records({
        "p": [[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.5, 0.5], [0.9, 0.1], [0.6, 0.4]],
        "a": [0.0, 0.0, 0.8, 0.9, 0.1, 0.7],
        "group": ["act", "act", "act", "abstain", "abstain", "uncertain"],
        "label": [0, 1, 0, None, None, 1],
    })  # fmt: skip
    # right +1, wrong -c, abstain 0 | abstain +1, act -c | abstain 0: 2 - 2c with c = cost * 6
    for cost in (0.0, 0.5, 1.0):
        assert evaluate("reliability_score", data, cost=cost).value == pytest.approx(2 - 2 * cost * 6)
    got = evaluate("reliability_score", data)
    assert [r["value"] for r in got.parts["by_cost"]] == pytest.approx([2, -4, -10])
    assert got.parts["by_group"][0] == {"group": "abstain", "n": 2, "right": 0.0, "abstain": 0.5, "wrong": 0.5}
    kind = {g: dict(v) for g, v in PAYOFFS.items()} | {"uncertain": {"right": 1, "abstain": 1, "wrong": -1}}
    assert evaluate("reliability_score", data, cost=0, payoffs=kind).value == 3
    with pytest.raises(UsageError, match="incomplete: abstain, uncertain"):
        evaluate("reliability_score", data, payoffs={"act": {"right": 1, "abstain": 0, "wrong": -1}})


def test_a_label_is_needed_where_acting_can_be_right() -> None:
    got = evaluate(
        "reliability_score", {"p": [[1, 0], [1, 0]], "a": [0, 0], "group": ["act", "abstain"], "label": [None, None]}
    )
    assert got.why == {"no label": 1}
    assert got.parts["by_cost"][0]["value"] == 0


def test_letters() -> None:
    with pytest.raises(DataError, match="'p', row 1, is not a distribution"):
        evaluate("visual_alignment_distance", {"p": [[0.5, 0.6]], "a": [0], "g": [[1, 0, 0]]})
    with pytest.raises(DataError, match="one entry more"):
        evaluate("visual_alignment_distance", {"p": [[0.5, 0.5]], "a": [0], "g": [[1, 0]]})
    with pytest.raises(DataError, match="'a' must lie in"):
        evaluate("visual_alignment_distance", {"p": [[0.5, 0.5]], "a": [2], "g": [[1, 0, 0]]})
    with pytest.raises(DataError, match="act, abstain or uncertain"):
        evaluate("reliability_score", {"p": [[0.5, 0.5]], "a": [0], "group": ["maybe"]})
